"""The clean environment that the build runs in: a venv holding the lock's packages and nothing else, and zstd's source.

PyInstaller's hooks collect whatever else they find installed, so neither the developer's venv nor the system's packages
may be in sight. This module runs before there is such an environment and imports the standard library only.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

_PROBE = """
import importlib.util, os, sys, sysconfig
of = sysconfig.get_config_var
library = os.path.join(of("LIBDIR") or "", of("INSTSONAME") or "")
shared = bool(of("Py_ENABLE_SHARED")) and os.path.isfile(library)
venv = all(map(importlib.util.find_spec, ("venv", "ensurepip")))
print(*sys.version_info[:2], int(shared), int(venv), sys.version)
"""


class Missing(Exception):
    """Something that the build needs is not on this machine; the text says what, and the remedy."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A venv at `folder` with exactly `lock` in it; `zstd` holds zstd.c and zstd.h of the zstandard that is locked."""

    folder: Path
    zstd: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"


def check_python(python: str) -> None:
    """Raises Missing where this interpreter cannot be put into the tree."""
    if shutil.which(python) is None:
        raise Missing(f"no such interpreter: {python}; name one with --python (make: PYTHON=...)")
    found = subprocess.run([python, "-c", _PROBE], check=True, text=True, stdout=subprocess.PIPE).stdout.split()
    if (int(found[0]), int(found[1])) < (3, 11):
        raise Missing(f"{python} is Python {found[0]}.{found[1]}; 3.11 or newer is needed")
    if found[2] != "1":
        raise Missing(
            f"{python} has no shared library, which PyInstaller needs. Remedy: for Debian's, apt-get install "
            f"libpython{found[0]}.{found[1]}; for one of your own, ./configure --enable-shared"
        )
    if found[3] != "1":
        raise Missing(f"{python} has no venv or no ensurepip; remedy: apt-get install python3-venv")


def check_tools() -> None:
    """gcc, make, strip, a C library to link statically: root on Debian gets them installed; else Missing is raised."""
    missing = _missing_tools()
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing with apt-get: {', '.join(missing)}", flush=True)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
        subprocess.run(command, check=False, env=quiet, stdout=subprocess.DEVNULL)
        missing = _missing_tools()
    if missing:
        raise Missing(f"tools are missing; remedy: apt-get install {' '.join(missing)}")


def _missing_tools() -> list[str]:
    """The Debian packages that would bring what is not there."""
    wanted = {"gcc": "gcc", "make": "make", "strip": "binutils", "objdump": "binutils", "ldconfig": "libc-bin"}
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    found = {package for tool, package in wanted.items() if shutil.which(tool, path=path) is None}
    if "gcc" not in found:
        answer = subprocess.run(["gcc", "-print-file-name=libc.a"], check=True, text=True, stdout=subprocess.PIPE)
        if not Path(answer.stdout.strip()).is_absolute():  # gcc repeats the bare name of what it does not find
            found.add("libc6-dev")
    return sorted(found)


def prepare(work: Path, *, python: str, lock: Path) -> Environment:
    """Make the environment below `work`, or use the one that an earlier call made of the same lock and interpreter."""
    result = Environment(folder=work / "env", zstd=work / "zstd")
    version = subprocess.run([python, "-c", _PROBE], check=True, text=True, stdout=subprocess.PIPE).stdout
    key = hashlib.sha256(lock.read_bytes() + f"{Path(shutil.which(python) or python)} {version}".encode()).hexdigest()
    stamp = work / "env.stamp"
    if stamp.is_file() and stamp.read_text(encoding="ascii") == key and result.python.exists():
        return result
    stamp.unlink(missing_ok=True)
    for folder in (result.folder, result.zstd):
        shutil.rmtree(folder, ignore_errors=True)
    print(f"build environment: the packages of {lock.name}", flush=True)
    subprocess.run([python, "-m", "venv", str(result.folder)], check=True)
    pip = [str(result.python), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, "install", "--only-binary", ":all:", "--require-hashes", "-r", str(lock)], check=True)
    _fetch_zstd(pip, work / "sdist", lock=lock, target=result.zstd)
    stamp.write_text(key, encoding="ascii")  # last: what was cut off midway is made again
    return result


def _fetch_zstd(pip: list[str], folder: Path, *, lock: Path, target: Path) -> None:
    """The source archive of zstandard, by the lock's hash: the compressor and the launcher have the same zstd."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pin = re.search(r"^zstandard==(.*\\\n)*.*\n", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if pin is None:
        raise Missing(f"{lock} does not pin zstandard")
    (folder / "zstandard.lock").write_text(pin[0], encoding="utf-8")
    options = [
        "--no-deps",
        "--no-build-isolation",
        "--no-binary",
        "zstandard",
        "--require-hashes",
        "--dest",
        str(folder),
    ]
    subprocess.run([*pip, "download", *options, "-r", str(folder / "zstandard.lock")], check=True)
    (archive,) = folder.glob("zstandard-*.tar.gz")
    target.mkdir()
    with tarfile.open(archive) as source:
        for name in ("zstd.c", "zstd.h", "zstd_errors.h", "zdict.h", "LICENSE"):
            member = source.extractfile(f"{archive.name.removesuffix('.tar.gz')}/zstd/{name}")
            assert member is not None
            (target / name).write_bytes(member.read())
