"""The files of a lock, fetched where the network is and put where it is not.

pip is the host's, configured as the host's user has it (an index of one's own, a proxy, certificates): the root needs
none of that, because the build inside it has no network. Every file is checked against the lock's hashes here, and
again by the pip that installs it.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from root import ReleaseError

# glibc of the root, as wheels' tags put it; wheels for anything up to it are welcome.
NEWEST = 31
OLD_NAMES = ("manylinux1", "manylinux2010", "manylinux2014", "linux")
PYTHON = "3.11"
# Packages whose source is wanted as well (build/environment.py compiles the launcher with zstandard's zstd), and what
# pip needs to look at a source archive; all of the lock.
SOURCES, BUILDERS = ("zstandard",), ("setuptools", "packaging")


def fetch(lock: Path, place: Path) -> Path:
    """The folder below `place` that holds a wheel of every package of the lock, and the sources that are wanted too.

    Fetched unless it is there already. Raises ReleaseError.
    """
    folder = place / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    if folder.is_dir():
        return folder
    part, venv = folder.with_suffix(".part"), place / "pip"
    for old in (part, venv):
        shutil.rmtree(old, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin/python"), "-m", "pip", "-qq", "--disable-pip-version-check", "--no-input"]
    print(f"release: fetching the wheels of {lock.name}", flush=True)
    text = lock.read_text(encoding="utf-8")
    named = place / "sources.lock"
    pins = [re.search(rf"^{name}==(.*\\\n)*.*\n", text, flags=re.MULTILINE) for name in SOURCES]
    named.write_text("".join(pin[0] for pin in pins if pin), encoding="utf-8")
    wheels = [*pip, "download", "--no-deps", "--require-hashes", "--only-binary=:all:", *_target(), f"--dest={part}"]
    sources = [*pip, "download", "--no-deps", "--require-hashes", f"--no-binary={','.join(SOURCES)}", f"--dest={part}"]
    tools = [*pip, "install", "--upgrade", "--no-deps", "--no-index", f"--find-links={part}", *BUILDERS]
    for command in (
        [*wheels, f"--requirement={lock}"],
        tools,
        [*sources, "--no-build-isolation", f"--requirement={named}"],
    ):
        if subprocess.run(command, check=False).returncode != 0:
            raise ReleaseError(
                f"release: pip could not fetch {lock.name} for CPython {PYTHON} and glibc 2.{NEWEST}: see what it says "
                "above; a pin without such a wheel has to be lowered in the lock"
            )
    part.rename(folder)
    return folder


def _target() -> list[str]:
    """The root, as pip's options describe it."""
    machine = platform.machine()
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST, 4, -1)] + [f"{n}_{machine}" for n in OLD_NAMES]
    short = PYTHON.replace(".", "")
    options = ["--implementation=cp", f"--python-version={PYTHON}", f"--abi=cp{short}", "--abi=abi3", "--abi=none"]
    return [*options, *(f"--platform={tag}" for tag in tags)]
