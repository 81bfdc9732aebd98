"""Environments of users that tests score in: made from the pinned lists in tests/environments/, once per checkout."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
# Making one takes a minute or two, so they are kept: .build/ is scratch that `make clean` removes.
ENVIRONMENTS = REPO / ".build" / "user-environments"
# Of `make bench`, which makes them itself: gigabytes that no test wants.
FOR_BENCHES = ("bench", "bench-model")


def environment(name: str) -> Path:
    """The Python of a virtual environment with what tests/environments/`name`.lock pins, made anew when that changes.

    Skips, naming the log, where pip cannot get the packages.
    """
    found = make(name)
    if found is None:
        pytest.skip(f"not run: pip cannot install {name}.lock here ({ENVIRONMENTS / name}.log)")
    return found


def make(name: str) -> Path | None:
    """The same; None where pip cannot get the packages."""
    lock_file = REPO / "tests" / "environments" / f"{name}.lock"
    folder, log_file = ENVIRONMENTS / name, ENVIRONMENTS / f"{name}.log"
    stamp, python = folder / ".made", folder / "bin" / "python"
    wanted = f"{sys.version} {hashlib.sha256(lock_file.read_bytes()).hexdigest()}"
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with (ENVIRONMENTS / f".{name}.lock").open("w") as held, log_file.open("a") as log:
        fcntl.flock(held, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return python
        log.truncate(0)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, stdout=log, stderr=log)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*pip, "--require-hashes", "-r", lock_file], stdout=log, stderr=log, check=False)
        if done.returncode == 0:
            stamp.write_text(wanted)
            return python
    return None


if __name__ == "__main__":  # all of them, as a part of the installation: tests that need one make it else
    for path in sorted((REPO / "tests" / "environments").glob("*.lock")):
        if path.stem in FOR_BENCHES:
            continue
        print(f"{path.stem}: {make(path.stem) or 'not made, see ' + str(ENVIRONMENTS / path.stem) + '.log'}")
