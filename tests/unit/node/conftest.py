"""The fake driver library, compiled once per module."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "doubles/libnvidia-ml.c"


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders for LD_LIBRARY_PATH: a new driver, an old one without MIG, a broken one."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (cc): the fake driver library cannot be built")
    folders = {}
    for name, flags in {"new": [], "old": ["-DOLD_DRIVER"], "broken": None}.items():
        folder = folders[name] = tmp_path_factory.mktemp(name)
        library = folder / "libnvidia-ml.so.1"
        if flags is None:
            library.write_bytes(b"not a library")
            continue
        subprocess.run([compiler, "-shared", "-fPIC", *flags, "-o", library, SOURCE], check=True, timeout=60)
    return folders
