"""The modules that a start of batchctl imports: seen, not guessed, by running a small job from the sources."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

_SCRIPT = "def run(mini_batch):\n    return mini_batch\n"
# The packaged file has the guest made already; from the sources it depends on earlier runs whether it is made anew.
_GUEST = """
import sys
sys.path.insert(0, sys.argv[1])
from batchctl.engine.guest_zip import make_zip, sources
open("guest", "wb").write(make_zip(sources()))
"""
_JOB = """
import os, sys
sys.path.insert(0, sys.argv[1])
from batchctl.cli.main import main
from batchctl.engine import guest_zip
guest_zip.guest_zip = lambda: open("guest", "rb").read()
code = main(["run", "score.py", "in", "-o", "out", "-q", "--python", sys.executable])
sys.stdout.flush()
os.write(3, " ".join(sorted(sys.modules)).encode())
os._exit(code)
"""


@cache
def modules(root: Path) -> frozenset[str]:
    """Their dotted names. `root` holds the sources; RuntimeError says why the job failed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "score.py").write_text(_SCRIPT, encoding="utf-8")
        (folder / "in").mkdir()
        (folder / "in" / "a").write_bytes(b"")
        for code in (_GUEST, _JOB):
            shell = ["/bin/sh", "-c", 'exec 3>modules; exec "$@"', "sh"]
            done = subprocess.run(
                [*shell, sys.executable, "-c", code, str(root)], cwd=folder, check=False, capture_output=True, text=True
            )
            if done.returncode != 0:
                raise RuntimeError(f"a small job of batchctl's ended with {done.returncode}:\n{done.stderr}")
        return frozenset((folder / "modules").read_text(encoding="utf-8").split())
