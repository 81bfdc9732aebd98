"""When rows are synced: once after each change of the file, and not once more."""

from __future__ import annotations

import zlib
from pathlib import Path

from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored
from batchctl.store.rows import RowsFile
from tests.doubles.disk import DIR, MemoryDisk


def scored(rows: bytes) -> Scored:
    return Scored(Lease(0, 0, 1, 1), rows, len(rows), zlib.crc32(rows), 1, 1, 0, 1)


def test_what_was_written_or_cut_is_synced_once() -> None:
    disk = MemoryDisk()
    disk.names["/out"] = disk.durable_names["/out"] = DIR
    handle = disk.open_append(Path("/out/rows"), create=True)
    rows = RowsFile(disk, handle, spill=Path("/out/spill"), base=0, synced=True)
    syncs: list[int] = []
    disk.hook = lambda disk, operation, ino, piece: syncs.append(ino) if operation == "sync" else None
    rows.sync()
    assert not syncs
    rows.append(b"", [scored(b"one\n")])
    rows.sync()
    rows.sync()
    assert (len(syncs), rows.durable) == (1, 4)
    rows.append(b"", [scored(b"two\n")])
    rows.cut(4)  # the size is as it was when it was synced; that the file was cut is not on the disk
    rows.sync()
    assert (len(syncs), rows.durable) == (2, 4)
    assert disk.files[handle.ino].durable == b"one\n"
