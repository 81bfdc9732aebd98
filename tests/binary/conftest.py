"""The packaged file, unpacked once for all tests that do not ask for an empty cache.

Without the file every test that needs it is reported as not run. Nothing here builds it: `make binary` does.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.binary import packaged
from tests.binary.packaged import Packaged
from tests.binary.scoring import Scoring


@pytest.fixture(scope="session")
def packaged_file() -> Path:
    """The file under test."""
    if not packaged.FILE.is_file():
        pytest.skip(packaged.ABSENT)
    return packaged.FILE


@pytest.fixture(scope="session")
def warm(packaged_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packaged]:
    """The file with a cache that holds its tree. Tests leave that tree as they find it."""
    folder = tmp_path_factory.mktemp("warm")
    home = folder / "home"
    home.mkdir()
    # The folder is named as XDG_CACHE_HOME would have it, so that the same cache can be reached by either variable.
    found = Packaged(packaged_file, folder / "batchctl", home)
    found.run("--version").expect(0)
    yield found
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cold(packaged_file: Path, tmp_path: Path) -> Iterator[Packaged]:
    """The file with a cache folder that is not there yet."""
    home = tmp_path / "home"
    home.mkdir()
    yield Packaged(packaged_file, tmp_path / "cache", home)
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)


@pytest.fixture
def scoring(warm: Packaged, tmp_path: Path) -> Scoring:
    """A folder to run scoring scripts in, by the packaged file."""
    return Scoring(warm, tmp_path / "job")
