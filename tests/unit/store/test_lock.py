"""The lock of a run."""

from __future__ import annotations

import resource
from pathlib import Path

from batchctl.files import RealDisk
from batchctl.store.layout import RunLayout
from batchctl.store.lock import held_lock, this_process

DISK = RealDisk()


def test_the_lock_is_held_where_its_note_cannot_be_written(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path / "out")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # as on a full disk: every write fails
    try:
        with held_lock(DISK, layout, holder=this_process()):
            assert DISK.lock(layout.lock) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert layout.lock.read_bytes() == b""
