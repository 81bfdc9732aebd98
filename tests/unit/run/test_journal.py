"""What waits to become durable: when groups close, what a full disk does, what is refused; on an injected clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from batchctl.errors import NoSpaceError, StoppedError, StorageError
from batchctl.model.lease import Lease
from batchctl.model.records import Charged, Quarantined
from batchctl.run.journal import GROUP_BYTES, GROUP_RESULTS, GROUP_S, HELD_BYTES, LATER_BYTES, Journal
from batchctl.run.plan_order import HOLD_S, PlanOrder
from batchctl.store.commit import Group
from batchctl.store.publish import FilesRefusedError
from tests.unit.run.stage import FAILURE, Clock, Committer, result

A, B, C = (Lease(number, number, 1, 1) for number in range(3))
FULL = NoSpaceError("no room", where="/out")


class Bench:
    """A journal, and `step`: pump until the commit under way, if any, has been collected."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.committer = Committer()
        self.committed = threading.Event()
        self.journal = Journal(
            self.committer,  # type: ignore[arg-type]
            clock=self.clock,
            wake=self.committed.set,
            pause_max=10.0,
        )

    def pump(self, *, idle: bool = False) -> Group | None:
        return self.journal.pump(idle=idle)

    def step(self, *, idle: bool = False) -> Group | None:
        """Begin what is due, wait for it, collect it (and begin what is due then)."""
        self.committed.clear()
        before = len(self.committer.tried)
        self.pump(idle=idle)
        if not self.journal._flusher.busy:
            assert len(self.committer.tried) == before
            return None
        assert self.committed.wait(10)
        return self.pump()


@pytest.fixture
def bench() -> Iterator[Bench]:
    found = Bench()
    yield found
    found.journal.close()


def wary(journal: Journal) -> None:
    journal.wary = True
    journal.claim([A], alone=False)


# name: (what is added, seconds that pass, idle) -> is the group closed?
CLOSING: dict[str, tuple[Callable[[Journal], None], float, bool, bool]] = {
    "nothing, idle": (lambda journal: None, 10.0, True, False),
    "claims alone": (lambda journal: journal.claim([A], alone=False), 0.9, True, False),
    "claims alone, for a second": (lambda journal: journal.claim([A], alone=False), 1.0, False, True),
    "claims alone, after the machine went down": (wary, 0.0, False, True),
    "a result, at once": (lambda journal: journal.add_scored([result(A)]), 0.0, False, False),
    "a result, just before its time": (lambda journal: journal.add_scored([result(A)]), GROUP_S - 0.01, False, False),
    "a result, in time": (lambda journal: journal.add_scored([result(A)]), GROUP_S + 0.001, False, True),
    "a result, all workers wait": (lambda journal: journal.add_scored([result(A)]), 0.0, True, True),
    "a charge, in time": (lambda journal: journal.add_records([Charged(A, FAILURE)]), GROUP_S + 0.001, False, True),
    "8 MiB": (lambda journal: journal.add_scored([result(A, rows=bytes(GROUP_BYTES))]), 0.0, False, True),
    "as many as one packs at once": (
        lambda journal: journal.add_scored([result(A)] * GROUP_RESULTS),
        0.0,
        False,
        True,
    ),
    "almost 8 MiB, with the object": (
        lambda journal: journal.add_scored([result(A, rows=bytes(GROUP_BYTES - 1000))]),
        0.0,
        False,
        False,
    ),
}


@pytest.mark.parametrize("case", CLOSING)
def test_when_a_group_closes(bench: Bench, case: str) -> None:
    add, seconds, idle, closed = CLOSING[case]
    add(bench.journal)
    bench.clock.now += seconds
    assert (bench.step(idle=idle) is not None) is closed
    assert len(bench.committer.groups) == closed


def test_the_time_counts_from_the_first_of_the_group(bench: Bench) -> None:
    journal = bench.journal
    assert journal.due_in(bench.clock()) == 60.0
    journal.add_scored([result(A)])
    assert journal.due_in(bench.clock()) == pytest.approx(GROUP_S)
    bench.clock.now += 0.06
    journal.add_scored([result(B)])
    assert journal.due_in(bench.clock()) == pytest.approx(0.04)
    bench.clock.now += 1
    assert journal.due_in(bench.clock()) == 0.0
    group = bench.step()
    assert group is not None
    assert [scored.lease for scored in group.scored] == [A, B]
    assert journal.empty


def test_a_group_holds_all_that_was_told_in_order(bench: Bench) -> None:
    journal = bench.journal
    assert journal.empty
    journal.claim([A, B], alone=False)
    assert journal.empty  # claims alone hold nobody up
    journal.set_columns(b"a,b\n")
    journal.add_scored([result(A)])
    journal.add_records([Charged(B, FAILURE), Quarantined(B, FAILURE), Charged(C, FAILURE)])
    assert not journal.empty
    group = bench.step(idle=True)
    assert group is not None
    assert (group.claims, group.columns) == ((A, B), b"a,b\n")
    assert [record.lease for record in group.charged] == [B, C]
    assert [record.lease for record in group.quarantined] == [B]
    journal.add_scored([result(C)])
    later = bench.step(idle=True)
    assert later is not None
    assert (later.claims, later.columns, later.charged) == ((), b"", ())


def test_the_claim_of_a_suspect_is_durable_before_it_is_handed_out(bench: Bench) -> None:
    bench.journal.claim([A], alone=False)
    bench.journal.claim([B], alone=True)
    assert [group.claims for group in bench.committer.groups] == [(A, B)]
    assert bench.journal.due_in(bench.clock()) == 60.0  # and is not written again
    bench.journal.claim([], alone=True)
    assert len(bench.committer.groups) == 1


def test_a_claim_that_finds_no_room_goes_with_the_next_group(bench: Bench) -> None:
    bench.committer.troubles = [FULL]
    bench.journal.claim([A], alone=True)
    assert (bench.committer.groups, bench.journal.paused_since) == ([], None)
    bench.journal.add_scored([result(A)])
    group = bench.step(idle=True)
    assert group is not None
    assert group.claims == (A,)


def test_one_group_at_a_time(bench: Bench) -> None:
    gate, journal = threading.Event(), bench.journal
    commit = bench.committer.commit

    def slow(group: Group) -> None:
        assert gate.wait(10)
        commit(group)

    bench.committer.commit = slow  # type: ignore[method-assign]
    journal.add_scored([result(A)])
    assert bench.pump(idle=True) is None
    journal.add_scored([result(B)])
    bench.clock.now += 5
    assert bench.pump(idle=True) is None
    assert journal.due_in(bench.clock()) == 60.0  # the flusher wakes the loop
    bench.committed.clear()
    gate.set()
    assert bench.committed.wait(10)
    bench.committed.clear()
    group = bench.pump()
    assert group is not None
    assert [scored.lease for scored in group.scored] == [A]
    assert bench.committed.wait(10)
    second = bench.pump()
    assert second is not None
    assert [scored.lease for scored in second.scored] == [B]


def test_too_much_uncommitted_holds_up_the_granting(bench: Bench) -> None:
    journal = bench.journal
    journal.add_scored([result(A, rows=bytes(HELD_BYTES - 1000))])
    assert not journal.is_full
    journal.add_scored([result(B, rows=b"x")])
    assert journal.is_full
    bench.step()
    assert not journal.is_full


def test_a_full_disk_is_tried_again(bench: Bench) -> None:
    journal = bench.journal
    bench.committer.troubles = [FULL, FULL]
    journal.set_columns(b"h\n")
    journal.add_scored([result(A)])
    for _ in range(2):
        assert bench.step(idle=True) is None
        assert journal.paused_since == 1000.0
        assert journal.is_full
        assert not journal.empty
        assert "no room (/out)" in journal.pause_reason
        assert bench.step(idle=True) is None  # not before a second has passed
        assert journal.due_in(bench.clock()) == pytest.approx(1.0)
        bench.clock.now += 1.0
    journal.add_scored([result(B)])  # waits for the first group
    bench.committed.clear()
    bench.pump()
    assert bench.committed.wait(10)
    bench.pump()
    assert journal.paused_since is None
    assert [len(group.scored) for group in bench.committer.tried[:3]] == [1, 1, 1]
    assert bench.committer.groups[0].columns == b"h\n"


def test_a_worker_without_room_holds_leases_back(bench: Bench) -> None:
    """The longer the more often it was so, and until something is committed after that."""
    journal = bench.journal
    for wait in (1.0, 2.0, 4.0):
        journal.no_room("no room for files")
        journal.no_room("no room for files")  # another worker, at the same moment
        journal.add_scored([result(A)])
        assert bench.step(idle=True) is not None  # what is in hand is committed meanwhile
        assert (journal.paused_since, journal.pause_reason) == (1000.0, "no room for files")
        assert journal.is_full
        bench.clock.now += wait
        assert not journal.is_full  # it is tried again
    journal.add_scored([result(B)])
    assert bench.step(idle=True) is not None
    assert journal.paused_since is None


def test_a_worker_that_never_finds_room_stops_the_run(bench: Bench) -> None:
    bench.journal.no_room("no room for files")
    bench.clock.now += 9.9
    bench.journal.no_room("no room for files")
    bench.clock.now += 0.1
    with pytest.raises(StoppedError, match="no room for files"):
        bench.journal.no_room("no room for files")


def test_a_disk_that_stays_full(bench: Bench) -> None:
    bench.committer.troubles = [FULL] * 100
    bench.journal.add_scored([result(A)])
    with pytest.raises(StoppedError) as stopped:
        for _ in range(50):
            bench.step(idle=True)
            bench.clock.now += 1.0
    assert bench.clock.now == 1010.0
    assert isinstance(stopped.value.__cause__, NoSpaceError)
    assert (stopped.value.where, bool(stopped.value.remedy)) == ("/out", True)


def test_the_pause_begins_anew_after_a_commit(bench: Bench) -> None:
    bench.committer.troubles = [FULL] * 8 + [None] + [FULL] * 8
    for lease in (A, B):
        bench.journal.add_scored([result(lease)])
        for _ in range(9):
            bench.step(idle=True)
            bench.clock.now += 1.0
    assert [scored.lease for group in bench.committer.groups for scored in group.scored] == [A, B]


def test_a_group_that_is_given_up_keeps_the_header_for_those_after_it(bench: Bench) -> None:
    journal = bench.journal
    bench.committer.troubles = [FULL]
    journal.set_columns(b"a,b\n")
    journal.add_scored([result(A)])
    assert bench.step(idle=True) is None
    journal.add_scored([result(B)])
    journal.give_up_pause()
    group = bench.step(idle=True)
    assert group is not None
    assert [scored.lease for scored in group.scored] == [B]
    assert group.columns == b"a,b\n"
    assert journal.empty


@pytest.mark.parametrize("error", [StorageError("EIO"), ValueError("a bug")])
def test_any_other_trouble_passes_through(bench: Bench, error: Exception) -> None:
    bench.committer.troubles = [error]
    bench.journal.add_scored([result(A)])
    with pytest.raises(type(error)):
        bench.step(idle=True)


def test_a_refused_file_costs_its_lease_and_the_rest_is_committed(bench: Bench) -> None:
    journal = bench.journal
    bench.committer.troubles = [FilesRefusedError("a.txt", lease=B, path="a.txt")]
    journal.claim([A, B, C], alone=False)
    for lease in (A, B, C):
        journal.add_scored([result(lease)])
    with pytest.raises(FilesRefusedError) as refused:
        bench.step(idle=True)
    rejected = journal.reject(refused.value.lease)
    assert rejected is not None
    assert rejected.lease == B
    assert not journal.empty
    group = bench.step()
    assert group is not None
    assert [scored.lease for scored in group.scored] == [A, C]
    assert group.claims == (A, B, C)
    assert journal.empty


def test_close_waits_for_the_commit_under_way(bench: Bench) -> None:
    bench.journal.add_scored([result(A)])
    bench.pump(idle=True)
    bench.journal.close()
    assert bench.committer.committed() == [A]


def test_many_small_rows_that_wait_for_a_slow_disk_are_too_much(bench: Bench) -> None:
    journal = bench.journal
    journal.add_scored([result(A, rows=b"x")] * (HELD_BYTES // 1000))
    assert not journal.is_full
    journal.add_scored([result(B, rows=b"x")] * (HELD_BYTES // 1000))
    assert journal.is_full


# --- plan order -------------------------------------------------------------------------------------------------------


@pytest.fixture
def ordered() -> Iterator[Bench]:
    """Mini-batch 0 is out."""
    found = Bench()
    found.journal._order = PlanOrder(lambda: (-1, 0))
    yield found
    found.journal.close()


def test_a_result_that_waits_for_another_is_in_no_group(ordered: Bench) -> None:
    ordered.journal.add_scored([result(B)])
    ordered.clock.now += GROUP_S
    assert ordered.step() is None
    assert not ordered.journal.empty
    assert ordered.journal.due_in(ordered.clock()) == pytest.approx(GROUP_S)
    ordered.journal.add_scored([result(A)])
    ordered.clock.now += GROUP_S
    group = ordered.step()
    assert group is not None
    assert [one.lease for one in group.scored] == [A]
    ordered.clock.now += HOLD_S
    group = ordered.step()
    assert group is not None
    assert [one.lease for one in group.scored] == [B]
    assert ordered.journal.empty


def test_what_is_given_up_counts_together_with_what_succeeded_beside_it(ordered: Bench) -> None:
    ordered.journal.add_scored([result(B)])
    ordered.journal.add_records([Quarantined(C, FAILURE)])
    ordered.clock.now += GROUP_S
    group = ordered.step()
    assert group is not None
    assert ([one.lease for one in group.scored], len(group.quarantined)) == ([B], 1)


def test_where_much_has_come_the_order_is_lost_for_good(ordered: Bench) -> None:
    ordered.journal.add_scored([result(C, rows=bytes(LATER_BYTES))])
    assert ordered.step() is not None
    ordered.journal.add_scored([result(A)])
    ordered.clock.now += GROUP_S
    assert ordered.step() is not None
    ordered.journal.add_scored([result(B)])  # ahead of what is out, but nothing waits any more
    ordered.clock.now += GROUP_S
    assert ordered.step() is not None
    assert ordered.journal.empty


def test_claims_and_charges_do_not_wait_with_it(ordered: Bench) -> None:
    ordered.journal.claim([C], alone=False)
    ordered.journal.add_scored([result(B)])
    ordered.clock.now += GROUP_S
    assert ordered.step() is None
    ordered.journal.add_records([Charged(C, FAILURE)])
    ordered.clock.now += GROUP_S
    group = ordered.step()
    assert group is not None
    assert (group.claims, group.scored, len(group.charged)) == ((C,), (), 1)


def test_what_fills_a_group_goes_as_far_as_it_is_in_order(ordered: Bench) -> None:
    for lease in (B, A):
        ordered.journal.add_scored([result(lease, rows=b"x" * GROUP_BYTES)])
    group = ordered.step()
    assert group is not None
    assert [one.lease for one in group.scored] == [A]


def test_what_is_held_back_does_not_fill_the_next_group(ordered: Bench) -> None:
    ordered.journal.add_scored([result(B)] * GROUP_RESULTS)
    assert ordered.step() is None
    ordered.journal.add_scored([result(A)])
    assert ordered.step() is None
    assert ordered.journal.due_in(ordered.clock()) == pytest.approx(GROUP_S)
    ordered.journal.add_scored([result(C)] * GROUP_RESULTS)
    group = ordered.step()
    assert group is not None
    assert [one.lease for one in group.scored] == [A]


@pytest.mark.parametrize(("rows", "idle"), [(b"x", True), (b"x" * LATER_BYTES, False)], ids=["idle", "much"])
def test_nothing_waits_where_the_run_waits_or_much_has_come(ordered: Bench, rows: bytes, idle: bool) -> None:
    ordered.journal.add_scored([result(B, rows=rows)])
    group = ordered.step(idle=idle)
    assert group is not None
    assert [one.lease for one in group.scored] == [B]
