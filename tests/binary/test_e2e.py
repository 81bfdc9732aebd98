"""The end-to-end suite of the main job once more, by the packaged file in place of the sources (long form only)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.binary.packaged import FULL, REPO, Packaged


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_end_to_end_suite_passes_on_the_packaged_file(warm: Packaged, tmp_path: Path) -> None:
    if not FULL:
        pytest.skip("long form only (make test-binary)")
    env = {**os.environ, "BATCHCTL_BINARY_E2E": str(warm.path), "BATCHCTL_CACHE": str(warm.cache)}
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/e2e",
        f"--basetemp={tmp_path / 'e2e'}",
    ]
    with (tmp_path / "said").open("w+") as said:
        done = subprocess.run(words, cwd=REPO, env=env, stdout=said, stderr=said, check=False)
        said.seek(0)
        text = said.read()
    assert done.returncode == 0, text[-8000:]
