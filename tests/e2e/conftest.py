"""A job of its own for each test, and a machine that has GPUs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.driver import REPO, Job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Empty inputs, no script yet."""
    return Job(tmp_path / "job")


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which a machine has two GPUs, or others if FAKE_NVML says so (tests/doubles/libnvidia-ml.c)."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (cc): the fake driver library cannot be built")
    folder = tmp_path_factory.mktemp("driver")
    source = REPO / "tests/doubles/libnvidia-ml.c"
    words = [compiler, "-shared", "-fPIC", "-o", str(folder / "libnvidia-ml.so.1"), str(source)]
    subprocess.run(words, check=True, timeout=60)
    return {"LD_LIBRARY_PATH": str(folder)}
