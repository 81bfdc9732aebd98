"""The order of recovery's steps: what the model checker once found to matter."""

from __future__ import annotations

import zlib
from pathlib import Path

from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored
from batchctl.store.commit import Group
from batchctl.store.creation import create_run
from batchctl.store.layout import RunLayout
from batchctl.store.recover import Recovered, recover
from tests.doubles.disk import MemoryDisk, Piece

LAYOUT = RunLayout(Path("/out"), "p.csv")


def begin(disk: MemoryDisk) -> Recovered:
    return recover(disk, LAYOUT, run_id="r", bounds=(0, 1), boot_id="b", version="0")


def torn_commit() -> MemoryDisk:
    """A run whose only commit lost its last byte; its rows are there."""
    disk = MemoryDisk()
    create_run(disk, LAYOUT, job_document={"run_id": "r"}, plan_chunks=[b""])
    begin(disk).committer.commit(
        Group(scored=[Scored(Lease(0, 0, 1, 1), b"row\n", 4, zlib.crc32(b"row\n"), 1, 1, 0, 1)])
    )
    log = disk.inode(LAYOUT.log)
    disk.files[log] = disk.files[log]._replace(view=disk.files[log].view[:-1])
    return disk


def test_rows_are_cut_only_after_the_new_epoch_is_durable() -> None:
    """Seed 2: the cut tail of the log came back and was completed by zeros, its rows had been cut already."""
    disk = torn_commit()
    log, rows = disk.inode(LAYOUT.log), disk.inode(LAYOUT.partial)
    steps: list[str] = []

    def note(disk: MemoryDisk, operation: str, ino: int, piece: Piece | None) -> None:
        steps.append(f"{operation} {'log' if ino == log else 'rows' if ino == rows else ''}".strip())

    disk.hook = note
    found = begin(disk)
    assert (found.epoch, found.cut_rows, found.ledger.committed) == (2, 4, 0)
    assert steps.index("truncate rows") > len(steps) - 1 - steps[::-1].index("sync log")
    assert steps.index("truncate log") < steps.index("sync log") < len(steps) - 1 - steps[::-1].index("write log")


def test_the_first_start_makes_the_name_of_job_json_durable_before_there_is_a_log() -> None:
    """Seed 1: the log's name outlived a power cut that the name of job.json did not."""
    disk = MemoryDisk()
    create_run(disk, LAYOUT, job_document={"run_id": "r"}, plan_chunks=[b""])
    steps: list[str] = []
    disk.hook = lambda disk, operation, ino, piece: steps.append(operation)
    begin(disk)
    assert steps.index("sync_dir") < steps.index("create")
