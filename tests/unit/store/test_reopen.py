"""A retry in the store: several generations of one run, what may be reopened, and what a crash may leave beside it."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest

from batchctl.errors import CorruptionError
from batchctl.files import RealDisk
from batchctl.model.job import Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Scored
from batchctl.model.records import Committed, Quarantined, Reopened, Reopening
from batchctl.store.commit import Group, ProtocolError
from batchctl.store.creation import RunState, create_run, run_state
from batchctl.store.finish import finish, open_finished
from batchctl.store.inspection import inspect_log
from batchctl.store.layout import RunLayout
from batchctl.store.ledger import ContradictionError, Ledger
from batchctl.store.payloads import pack_reopened, unpack_reopened
from batchctl.store.recover import Recovered, recover
from batchctl.store.reopen import reopen_finished
from batchctl.store.replay import read_records
from batchctl.store.standing import committed, quarantined, short
from batchctl.store.verify import Verification, verify

RUN, DISK, BOUNDS = "r", RealDisk(), (0, 2, 4, 6)
FAILURE = Failure(FailureKind.FAILED, "ValueError", "no", phase="run", peak_memory=7)
GIVEN_UP = Reopening(1, 2, 2, 0, 0, 0)


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path / "out", "p.csv")


def begin(layout: RunLayout, **more: Any) -> Recovered:
    return recover(DISK, layout, run_id=RUN, bounds=BOUNDS, boot_id="boot", version="0", **more)


def scored(batch: int, rows: bytes, *, failed: int = 0) -> Scored:
    lease = Lease(batch, BOUNDS[batch], 2, 1)
    return Scored(lease, rows, len(rows), zlib.crc32(rows), rows.count(b"\n"), 2 - failed, failed, 5)


def first_generation(layout: RunLayout, order: Order = Order.PLAN, *, finished: bool = True) -> None:
    """Mini-batch 2 before 0, which lacks an element; 1 is given up."""
    create_run(DISK, layout, job_document={"run_id": RUN}, plan_chunks=[b"plan"])
    committer = begin(layout).committer
    committer.commit(Group(scored=[scored(2, b"4\n5\n"), scored(0, b"0\n", failed=1)], columns=b"h\n"))
    committer.commit(Group(quarantined=[Quarantined(Lease(1, 2, 2, 3), FAILURE)]))
    if finished:
        finish(DISK, layout, committer=committer, order=order)
    else:
        committer.close(clean=True)


def reopen(layout: RunLayout, *ranges: Reopening) -> None:
    reopen_finished(DISK, layout, run_id=RUN, bounds=BOUNDS, ranges=ranges)


def check(layout: RunLayout) -> Verification:
    return verify(DISK, layout, run_id=RUN, bounds=BOUNDS)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        pytest.param(Order.PLAN, [b"h\n0\n2\n3\n4\n5\n", b"h\n0\n1\n2\n3\n4\n5\n"], id="plan"),
        pytest.param(Order.COMPLETION, [b"h\n4\n5\n0\n2\n3\n", b"h\n4\n5\n2\n3\n0\n1\n"], id="completion"),
    ],
)
def test_each_generation_takes_the_place_of_the_one_before(
    layout: RunLayout, order: Order, expected: list[bytes]
) -> None:
    first_generation(layout, order)
    again = [(GIVEN_UP, scored(1, b"2\n3\n")), (Reopening(0, 0, 2, 1, 1, 1), scored(0, b"0\n1\n"))]
    for generation, (one, result) in enumerate(again, 1):
        old = layout.final.read_bytes()
        reopen(layout, one)
        assert run_state(DISK, layout) is RunState.STARTED
        assert (check(layout).problems, check(layout).finished) == ((), False)
        found = begin(layout)
        assert (found.generation, found.epoch, found.columns) == (generation, generation + 1, b"h\n")
        found.committer.commit(Group(scored=[result], columns=b"h\n"))
        assert layout.final.read_bytes() == old
        assert check(layout).problems == ()
        finish(DISK, layout, committer=found.committer, order=order)
        assert layout.final.read_bytes() == expected[generation - 1]
        assert run_state(DISK, layout) is RunState.FINISHED
        assert not layout.partial.exists()
        assert (check(layout).problems, check(layout).finished) == ((), True)
        assert open_finished(DISK, layout, run_id=RUN, bounds=BOUNDS, locked=True).generation == generation
    told = [line for line in inspect_log(DISK, layout, run_id=RUN) if line["type"] == "REOPEN"]
    assert [(line["generation"], line["first"], line["ok"], line["failed"]) for line in told] == [
        (1, 2, 0, 0),
        (2, 0, 1, 1),
    ]


def test_an_open_run_is_reopened_with_its_epoch(layout: RunLayout) -> None:
    first_generation(layout, finished=False)
    found = begin(layout, reopening=[GIVEN_UP])
    assert (found.generation, found.ledger.quarantined, found.ledger.open_ranges(1)) == (1, 0, [(2, 2)])
    assert [record for record in found.records if isinstance(record, Reopened)] == [Reopened(1, (GIVEN_UP,))]
    found.committer.commit(Group(scored=[scored(1, b"2\n3\n")]))
    finish(DISK, layout, committer=found.committer, order=Order.PLAN)
    assert layout.final.read_bytes() == b"h\n0\n2\n3\n4\n5\n"
    assert check(layout).problems == ()


def test_what_stands_is_what_was_not_reopened(layout: RunLayout) -> None:
    def told() -> tuple[list[int], list[int], list[int]]:
        records = read_records(DISK, layout, run_id=RUN)
        standing = [record.lease.first for record in quarantined(records)]
        return standing, [one.first for one in committed(records)], [one.first for one in short(records)]

    first_generation(layout)
    assert told() == ([2], [4, 0], [0])
    reopen(layout, GIVEN_UP, Reopening(0, 0, 2, 1, 1, 1))
    assert told() == ([], [4], [])
    committer = begin(layout).committer
    committer.commit(Group(quarantined=[Quarantined(Lease(1, 2, 2, 1), FAILURE)], scored=[scored(0, b"0\n1\n")]))
    assert told() == ([2], [4, 0], [])
    committer.close(clean=True)


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(Reopening(1, 2, 1, 0, 0, 0), id="a part of what was concluded"),
        pytest.param(Reopening(1, 2, 2, 0, 2, 0), id="a commit where a quarantine was"),
        pytest.param(Reopening(2, 4, 2, 0, 0, 0), id="a quarantine where a commit was"),
        pytest.param(Reopening(0, 1, 2, 0, 0, 0), id="another place"),
        pytest.param(Reopening(3, 6, 2, 0, 0, 0), id="no such mini-batch"),
    ],
)
def test_only_what_was_concluded_so_is_reopened_and_nothing_is_written_otherwise(
    layout: RunLayout, one: Reopening
) -> None:
    first_generation(layout)
    log = layout.log.read_bytes()
    with pytest.raises(ProtocolError):
        reopen(layout, GIVEN_UP, one)
    assert (layout.log.read_bytes(), layout.partial.exists()) == (log, False)
    assert run_state(DISK, layout) is RunState.FINISHED


def test_a_finished_run_is_not_recovered_and_a_sealed_one_is_not_reopened_so(layout: RunLayout) -> None:
    first_generation(layout)
    with pytest.raises(ProtocolError):
        begin(layout, reopening=[GIVEN_UP])


@pytest.mark.parametrize("tail", [b"\0" * 30, b"\xb7Fr1\x0a half", b"x" * 200], ids=["zeros", "half", "garbage"])
def test_a_torn_reopening_is_cut_beside_its_rows_and_corruption_without(layout: RunLayout, tail: bytes) -> None:
    first_generation(layout)
    log = layout.log.read_bytes()
    layout.log.write_bytes(log + tail)
    with pytest.raises(CorruptionError):
        open_finished(DISK, layout, run_id=RUN, bounds=BOUNDS, locked=True)
    assert check(layout).problems
    layout.partial.touch(mode=0o600)
    assert run_state(DISK, layout) is RunState.FINISHED
    assert check(layout).problems == ()
    open_finished(DISK, layout, run_id=RUN, bounds=BOUNDS, locked=True)
    assert (layout.log.read_bytes(), layout.partial.exists()) == (log, False)


DAMAGE = {
    "the old result": lambda layout: layout.final.write_bytes(layout.final.read_bytes().replace(b"4", b"9")),
    "the old result is shorter": lambda layout: layout.final.write_bytes(layout.final.read_bytes()[:-1]),
    "the old result is gone": lambda layout: layout.final.unlink(),
    "the new rows are gone": lambda layout: layout.partial.unlink(),
    "the new rows": lambda layout: layout.partial.write_bytes(b"2\n9\n"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_during_a_retry_is_found_and_never_repaired(layout: RunLayout, name: str) -> None:
    first_generation(layout)
    reopen(layout, GIVEN_UP)
    committer = begin(layout).committer
    committer.commit(Group(scored=[scored(1, b"2\n3\n")]))
    committer.close(clean=True)
    DAMAGE[name](layout)
    assert check(layout).problems
    with pytest.raises((CorruptionError, ProtocolError)) as caught:
        if run_state(DISK, layout) is RunState.FINISHED:
            open_finished(DISK, layout, run_id=RUN, bounds=BOUNDS, locked=True)
        finish(DISK, layout, committer=begin(layout).committer, order=Order.PLAN)
    assert caught.type is CorruptionError


def test_a_reopened_range_is_carried_whole() -> None:
    reopened = Reopened(3, (GIVEN_UP, Reopening(0, 0, 2, 1, 1, 1)))
    assert unpack_reopened(pack_reopened(reopened)) == reopened


def test_the_ledger_forgets_parts_one_by_one_and_then_takes_the_whole() -> None:
    ledger = Ledger((0, 4))
    ledger.commit([Committed(0, 0, 2, 1, 0, 4, 9, 2, 2, 0)])
    ledger.quarantine(Lease(0, 2, 1, 2))
    ledger.quarantine(Lease(0, 3, 1, 2))
    ledger.reopen(Reopening(0, 2, 1, 0, 0, 0))
    assert (ledger.quarantined, ledger.open_ranges(0)) == (1, [(2, 1)])
    with pytest.raises(ContradictionError):
        ledger.reopen(Reopening(0, 2, 1, 0, 0, 0))
    ledger.reopen(Reopening(0, 0, 2, 2, 2, 0))
    ledger.reopen(Reopening(0, 3, 1, 0, 0, 0))
    assert (ledger.open_ranges(0), ledger.committed, ledger.ok, ledger.n_rows) == ([(0, 4)], 0, 0, 0)
    ledger.commit([Committed(0, 0, 4, 1, 4, 4, 9, 4, 4, 0)])
    assert ledger.complete
