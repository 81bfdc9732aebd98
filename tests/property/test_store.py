"""Random groups, random ends of epochs, then finish: always the bytes that the items alone decide."""

from __future__ import annotations

import zlib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from batchctl.model.job import Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Scored
from batchctl.model.records import Charged, Quarantined
from batchctl.store.commit import Group
from batchctl.store.creation import create_run
from batchctl.store.finish import finish, open_finished
from batchctl.store.layout import RunLayout
from batchctl.store.recover import Recovered, recover
from batchctl.store.verify import verify
from tests.doubles.disk import MemoryDisk

FAILURE = Failure(FailureKind.FAILED, "E", "m")
LAYOUT = RunLayout(Path("/out"), "p.jsonl")


def rows_of(first: int, count: int) -> bytes:
    return b"".join(b"%d" % item + b"x" * (item % 7) + b"\n" for item in range(first, first + count))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_history_ends_in_the_same_bytes(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=8))
    bounds = [sum(sizes[:n]) for n in range(len(sizes) + 1)]
    guilty = data.draw(st.sets(st.integers(0, bounds[-1] - 1)))
    parts = [
        Lease(batch, bounds[batch] + at, 1 if split else size, 1)
        for batch, size in enumerate(sizes)
        for split in [data.draw(st.booleans()) or any(bounds[batch] <= g < bounds[batch + 1] for g in guilty)]
        for at in (range(size) if split else (0,))
    ]
    waiting = data.draw(st.permutations(parts))
    disk = MemoryDisk()
    create_run(disk, LAYOUT, job_document={"run_id": "r"}, plan_chunks=[b"plan"])
    run = opened(disk, bounds)
    while waiting:
        size = data.draw(st.integers(1, 4))
        now, waiting = waiting[:size], waiting[size:]
        scored, bad = [], []
        for lease in now:
            if lease.first in guilty:
                bad.append(lease)
            else:
                rows = rows_of(lease.first, lease.count)
                scored.append(Scored(lease, rows, len(rows), zlib.crc32(rows), lease.count, lease.count, 0, 1))
        charged = [Charged(lease, FAILURE) for lease in bad]
        run.committer.commit(Group(now, scored, charged, [Quarantined(lease, FAILURE) for lease in bad]))
        if data.draw(st.booleans()):
            run.committer.close(clean=data.draw(st.booleans()))
            run = opened(disk, bounds)
            assert all(run.ledger.concluded(lease) for lease in parts if lease not in waiting)
            assert not any(run.ledger.concluded(lease) for lease in waiting)
    finish(disk, LAYOUT, committer=run.committer, order=Order.PLAN)
    expected = b"".join(rows_of(item, 1) for item in range(bounds[-1]) if item not in guilty)
    assert disk.read(LAYOUT.final) == expected
    assert verify(disk, LAYOUT, run_id="r", bounds=bounds).problems == ()
    found = open_finished(disk, LAYOUT, run_id="r", bounds=bounds, locked=True)
    assert (found.ledger.quarantined, found.done.size) == (len(guilty), len(expected))


def opened(disk: MemoryDisk, bounds: list[int]) -> Recovered:
    return recover(disk, LAYOUT, run_id="r", bounds=bounds, boot_id="b", version="0")
