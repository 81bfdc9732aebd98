"""What of the locked packages goes inside: their modules, a few data files, and what is left out of each.

The packages are read from the files that pip recorded (RECORD), not guessed from names: tomli's wheel, for one, holds a
compiled module with a hash for a name, which no import that can be seen refers to, and without which it dies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

from stdlib import EXTENSIONS

# Never inside, although the build environment holds them: tools, and what the packages import only in their own tests.
EXCLUDED = (
    *("PyInstaller", "_pyinstaller_hooks_contrib", "altgraph", "packaging", "pip", "zstandard"),
    *("setuptools", "pkg_resources", "_distutils_hack", "wheel", "pytest", "hypothesis", "IPython", "matplotlib"),
)
_OUT = re.compile(
    r"""
    (.*\.)?(tests|conftest|_pyinstaller|__main__)(\..*)?$
    | example$                                # a top-level module that nvidia-ml-py brings by mistake
    | numpy\.(distutils|_core\.(.*_tests|cversions)|_configtool)(\..*)?$
    | numpy\.f2py\._backends\._distutils$       # of numpy.distutils, which goes with Python 3.11
    | pyarrow\.(_cuda|cuda|flight|_flight|_s3fs|_gcsfs|_azurefs|_hdfs|orc|_orc|_dataset_orc|benchmark)$
    | pyarrow\.(parquet\.encryption|_parquet_encryption|_dataset_parquet_encryption|_pyarrow_cpp_tests|cffi)$
    | pyarrow\.(libarrow.*|conda|include.*|src.*)$
    | pandas\.(_testing\._hypothesis)$
    | dateutil\.tzwin$
    | psutil\.(_psaix|_psbsd|_psosx|_pssunos|_pswindows)$
    | tzdata(\..*)?$                          # goes into an archive of its own: data.py
    """,
    re.VERBOSE,
)
# Libraries that only left-out modules need: Flight alone is the largest single saving.
LIBRARIES_OUT = re.compile(
    r"lib(arrow_(python_)?(flight|parquet_encryption)|arrow_s3|arrow_python_parquet_encryption|readline)\b"
)


def locked(lock: Path) -> dict[str, str]:
    """Package name (as pip normalises it) to version, from a lock file."""
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^\s;]+)", lock.read_text(encoding="utf-8"), flags=re.MULTILINE))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(site: Path) -> dict[str, PathDistribution]:
    """Name to distribution, for each that is installed in this folder."""
    found = (Distribution.at(path) for path in sorted(site.glob("*.dist-info")))
    return {normal(each.metadata["Name"]): each for each in found}


def modules(lock: Path, site: Path) -> list[str]:
    """Dotted names of all modules of the locked packages that belong inside, sorted. None is imported."""
    here = installed(site)
    found = {name for package in locked(lock) for name in _modules(here[package])}
    return sorted(name for name in found if not left_out(name))


def left_out(name: str) -> bool:
    """Whether this module of a package stays outside, on purpose."""
    return bool(_OUT.match(name)) or name.partition(".")[0] in EXCLUDED


def _modules(package: PathDistribution) -> Iterator[str]:
    for file in package.files or ():
        if file.suffix == ".py":
            parts = file.with_suffix("").parts
        elif file.name.endswith(EXTENSIONS):
            parts = (*file.parent.parts, file.name.partition(".")[0])
        else:
            continue
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if parts and parts[0] != ".." and not parts[0].endswith(".libs"):
            yield ".".join(parts)


def dotted(file: str) -> str:
    """The module that an extension file of the tree is: `pandas/_libs/lib.cpython-311-x86_64-linux-gnu.so`."""
    path = Path(file)
    parts = [part for part in path.parent.parts if part not in {"lib-dynload", "python3"}]
    return ".".join([*parts, path.name.partition(".")[0]])


def wanted_data(file: str) -> bool:
    """Whether a data file that one of PyInstaller's hooks collected belongs inside."""
    return file in _DATA


_DATA = frozenset({"base_library.zip"})
