"""Small files for monitors: whole, or as they were before."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from batchctl.errors import StorageError
from batchctl.report.atomic import replace_file


def test_a_file_that_finds_no_room_leaves_the_old_one_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    replace_file(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, before[1]))  # as on a full disk: what is longer fails midway
    try:
        with pytest.raises(StorageError):
            replace_file(path, b"newer")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
