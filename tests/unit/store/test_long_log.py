"""A log of many mini-batches: what is read, replayed and finished costs no object for each of them."""

from __future__ import annotations

import tracemalloc
import zlib
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchctl.dispatch.file_queue import FileQueue
from batchctl.dispatch.retry import RetryPolicy
from batchctl.dispatch.threshold import FailedBatches
from batchctl.files import RealDisk
from batchctl.model.job import ErrorThreshold, Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Scored
from batchctl.model.records import Charged, Claims, Commits, Quarantined, Record, Reopening
from batchctl.run.tally import Tally
from batchctl.store.commit import Group
from batchctl.store.creation import create_run
from batchctl.store.finish import finish, open_finished
from batchctl.store.layout import RunLayout
from batchctl.store.ledger import Ledger
from batchctl.store.recover import Recovered, recover
from batchctl.store.verify import verify

RUN = "r"
DISK = RealDisk()
BATCHES = 40_000
BOUNDS = array("I", range(BATCHES + 1))
ROW = b"a row\n"
FAILURE = Failure(FailureKind.FAILED, "ValueError", "no")


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    layout = RunLayout(tmp_path / "out", "p.csv")
    create_run(DISK, layout, job_document={"run_id": RUN}, plan_chunks=[b"plan"])
    return layout


def opened(layout: RunLayout) -> Recovered:
    return recover(DISK, layout, run_id=RUN, bounds=BOUNDS, boot_id="boot", version="0")


def scored(batch: int, *, failed: int = 0) -> Scored:
    return Scored(Lease(batch, batch, 1, 1), ROW, len(ROW), zlib.crc32(ROW), 1 - failed, 1 - failed, failed, 5)


def committed(layout: RunLayout) -> None:
    """All mini-batches, neighbours swapped, in groups that a plan order has to weave together."""
    committer = opened(layout).committer
    for low in range(0, BATCHES, 2000):
        numbers = [*range(low + 1, low + 2000, 2), *range(low, low + 2000, 2)]
        claims = [Lease(batch, batch, 1, 1) for batch in sorted(numbers)]
        committer.commit(Group(claims=claims, scored=[scored(batch) for batch in numbers]))
    committer.close(clean=True)


def peak_of(do: Callable[[], object]) -> int:
    """Bytes allocated at once while it ran, the result included."""
    tracemalloc.start()
    try:
        kept = do()
        peak = tracemalloc.get_traced_memory()[1]
        del kept
    finally:
        tracemalloc.stop()
    return peak


def test_memory_does_not_grow_by_objects(layout: RunLayout) -> None:
    committed(layout)
    # Of 64 bytes of log, 24 of ledger and one of queue for each; what goes through the hands is a group, or a window.
    ledger, hands = 24 * BATCHES, 6 << 20
    recovered: list[Recovered] = []
    assert peak_of(lambda: recovered.append(opened(layout))) < ledger + hands
    queue = FileQueue(BOUNDS, RetryPolicy(3, isolate=True))

    def take_up() -> None:
        for record in recovered[0].records.grouped():
            queue.replay(record)

    assert peak_of(take_up) < hands // 4
    queue.settle()
    assert queue.finished
    assert peak_of(lambda: finish(DISK, layout, committer=recovered[0].committer, order=Order.PLAN)) < hands
    finished = lambda: open_finished(DISK, layout, run_id=RUN, bounds=BOUNDS, locked=True)  # noqa: E731
    assert peak_of(finished) < ledger + hands
    assert layout.final.read_bytes() == ROW * BATCHES
    assert verify(DISK, layout, run_id=RUN, bounds=BOUNDS).sound


def test_grouped_records_say_what_single_ones_say(layout: RunLayout) -> None:
    recovered = opened(layout)
    recovered.committer.commit(
        Group(claims=[Lease(b, b, 1, 1) for b in range(6)], scored=[scored(0), scored(2, failed=1), scored(1)])
    )
    recovered.committer.commit(Group(charged=[Charged(Lease(3, 3, 1, 1), FAILURE)], scored=[scored(4)]))
    recovered.committer.commit(Group(quarantined=[Quarantined(Lease(3, 3, 1, 2), FAILURE)]))
    recovered.committer.close(clean=False)
    records = opened(layout).records
    single, grouped = list(records), list(records.grouped())
    assert len(grouped) < len(single)
    assert list(_apart(grouped)) == list(_apart(single))

    def books(told: list[Record]) -> tuple[object, ...]:
        queue, tally, failed = FileQueue(BOUNDS, RetryPolicy(1, isolate=True)), Tally(str), FailedBatches()
        for record in told:
            queue.replay(record)
            tally.replay(record)
            failed.replay(record)
        settled = queue.settle()
        counts = (queue.counts, tally.attempts, tally.rows, tally.by_kind, failed.count(ErrorThreshold(count=0)))
        return (*counts, settled, queue.take(3))

    assert books(grouped) == books(single)


def _apart(records: list[Record]) -> Iterator[object]:
    for record in records:
        if isinstance(record, Commits):
            yield from map(tuple, record.records)
        elif isinstance(record, Claims):
            yield from map(tuple, record.leases)
        else:
            yield record


def placed(ledger: Ledger) -> list[tuple[int, ...]]:
    return [(extent.first, extent.items, extent.offset, extent.length) for extent in ledger.extents()]


@pytest.mark.parametrize("by_offset", [False, True])
def test_pieces_and_places_with_parts_and_without(by_offset: bool) -> None:
    # Mini-batches of two; the second is given up, the fourth has no rows.
    whole, parts = Ledger((0, 2, 4, 6, 8)), Ledger((0, 2, 4, 6, 8))
    for ledger in (whole, parts):
        ledger.commit([(2, 4, 2, 1, 5, 7, 1, 2, 2, 0), (3, 6, 2, 1, 12, 0, 0, 0, 2, 0)])
        ledger.quarantine(Lease(1, 2, 2, 3))
    whole.commit([(0, 0, 2, 1, 12, 6, 2, 2, 2, 0)])
    parts.commit([(0, 0, 1, 1, 15, 3, 2, 1, 1, 0), (0, 1, 1, 1, 12, 3, 2, 1, 1, 0)])
    in_order = {False: [(12, 6), (5, 7)], True: [(5, 7), (12, 6)]}
    of_parts = {False: [(15, 3), (12, 3), (5, 7)], True: [(5, 7), (12, 3), (15, 3)]}
    assert list(whole.pieces(by_offset=by_offset)) == in_order[by_offset]
    assert list(parts.pieces(by_offset=by_offset)) == of_parts[by_offset]
    for ledger, expected in ((whole, in_order), (parts, of_parts)):
        extents = [(one.offset, one.length) for one in ledger.extents(by_offset=by_offset) if one.length]
        assert extents == expected[by_offset]
    whole.place(header=5, size=18, by_offset=by_offset)
    parts.place(header=5, size=18, by_offset=by_offset)
    at = {False: (5, 11, 18), True: (12, 5, 18)}[by_offset]  # of mini-batches 0, 2 and 3
    assert placed(whole) == [(0, 2, at[0], 6), (4, 2, at[1], 7), (6, 2, at[2], 0)]
    assert whole.rows_end == parts.rows_end == 18
    whole.reopen(Reopening(1, 2, 2, 0, 0, 0))
    assert whole.open_ranges(1) == [(2, 2)]
