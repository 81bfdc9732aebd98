"""The packed file is run once, before it is delivered: its version, and every module and library that is inside.

Whatever the build environment's own Python can import and do, the embedded one must do as well, with the same results.

    python build/smoke.py FILE
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import packages
import stdlib

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED = "--batchctl-embedded-python"  # batchctl/frozen.py
_SHOWN = 20


def smoke(file: Path) -> list[str]:
    """Complaints; none means that all of it works. The cache folder is a temporary one."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        env = {"PATH": os.environ.get("PATH", os.defpath), "BATCHCTL_CACHE": str(cache), "HOME": folder}
        first = subprocess.run([file, "--version"], env=env, capture_output=True, text=True, check=False)
        if first.returncode != 0 or not first.stdout.startswith("batchctl "):
            return [f"--version: exit code {first.returncode}: {first.stdout}{first.stderr}"]
        names = Path(folder) / "names.json"
        site = Path(sysconfig.get_path("purelib"))
        names.write_text(json.dumps([*stdlib.modules(), *packages.modules(ROOT / "requirements.lock", site)]))
        inside = _exercise([str(file), EMBEDDED, "-I"], names, env)
        outside = _exercise([sys.executable, "-I"], names, env)
    complaints = [f"{what}: {why}" for what, why in sorted(inside["failed"].items()) if what not in outside["failed"]]
    if len(complaints) > _SHOWN:
        complaints[_SHOWN:] = [f"and {len(complaints) - _SHOWN} more"]
    differ = [what for what, said in inside["results"].items() if said != outside["results"].get(what)]
    return complaints + [
        f"{what}: {inside['results'][what]}, and unfrozen {outside['results'].get(what)}" for what in differ
    ]


def _exercise(python: list[str], names: Path, env: dict[str, str]) -> dict[str, Any]:
    command = [*python, str(ROOT / "build" / "exercise.py"), str(names)]
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {"failed": {" ".join(python): f"exit code {done.returncode}: {done.stderr[-2000:]}"}, "results": {}}
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    found = smoke(Path(sys.argv[1]).resolve())
    print("\n".join(found) or "all parts work")
    raise SystemExit(bool(found))
