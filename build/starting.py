"""The modules that a start of batchctl imports: seen, not guessed, by running a small job from the sources."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

_SCRIPT = "def run(mini_batch):\n    return mini_batch\n"
_JOB = """
import os, sys
sys.path.insert(0, sys.argv[1])
from batchctl.cli.main import main
code = main(["run", "score.py", "in", "-o", "out", "-q", "--python", sys.executable])
sys.stdout.flush()
os.write(3, " ".join(sorted(sys.modules)).encode())
os._exit(code)
"""


@cache
def modules(root: Path) -> frozenset[str]:
    """Their dotted names. `root` holds the sources; CalledProcessError where the job fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "score.py").write_text(_SCRIPT, encoding="utf-8")
        (folder / "in").mkdir()
        (folder / "in" / "a").write_bytes(b"")
        with (folder / "modules").open("w+b") as told:
            shell = ["/bin/sh", "-c", 'exec 3>modules; exec "$@"', "sh"]
            subprocess.run([*shell, sys.executable, "-c", _JOB, str(root)], cwd=folder, check=True, capture_output=True)
            return frozenset(told.read().decode().split())
