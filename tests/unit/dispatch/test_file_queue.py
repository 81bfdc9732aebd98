"""The file queue, told as stories: what goes in, what is handed out, what must be logged."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import pytest

from batchctl.dispatch.file_queue import FileQueue
from batchctl.dispatch.retry import Decision, RetryPolicy
from batchctl.dispatch.suspects import machine_down
from batchctl.errors import CorruptionError
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind
from batchctl.model.records import Charged, Claimed, Committed, EpochClosed, EpochOpened, Quarantined, Record

BOUNDS = memoryview(array("I", [0, 4, 8, 10]))  # mini-batches of 4, 4 and 2 items
PART = Lease(0, 1, 1, 3)
WHOLE = [Lease(0, 0, 4, 1), Lease(1, 4, 4, 1), Lease(2, 8, 2, 1)]


def failure(message: str = "bad", kind: FailureKind = FailureKind.FAILED) -> Failure:
    return Failure(kind, "ValueError", message)


def row(lease: Lease, failed: int = 0) -> Committed:
    return Committed(*lease, 0, 0, 0, 0, lease.count - failed, failed)


def epoch(number: int, boot: str) -> EpochOpened:
    return EpochOpened(number, boot, "0", "{}")


def queue_of(
    records: Iterable[Record] = (), *, max_retries: int = 0, isolate: bool = True
) -> tuple[FileQueue, tuple[Charged | Quarantined, ...]]:
    queue = FileQueue(BOUNDS, RetryPolicy(max_retries=max_retries, isolate=isolate))
    for record in records:
        queue.replay(record)
    return queue, queue.settle()


def taken(queue: FileQueue) -> list[Lease]:
    """Everything that is still handed out, one by one, each committed at once."""
    leases: list[Lease] = []
    while some := queue.take(1):
        leases += some
        assert queue.committed(some[0], some[0].count, 0)
    return leases


def test_plan_order_and_counts() -> None:
    queue, _ = queue_of()
    assert queue.take(0) == []
    assert queue.take(2) == WHOLE[:2]
    assert queue.counts == (10, 0, 0, 0, 3, 0, 1, 2, 0)
    assert queue.committed(WHOLE[1], 3, 1)
    assert queue.counts == (10, 3, 1, 0, 3, 1, 1, 1, 0)
    assert queue.take(9) == WHOLE[2:]
    assert queue.take(9) == []
    assert queue.committed(WHOLE[0], 4, 0)
    assert queue.committed(WHOLE[2], 2, 0)
    assert queue.finished
    assert queue.counts == (10, 9, 1, 0, 3, 3, 0, 0, 0)


def test_an_empty_plan_is_finished() -> None:
    queue = FileQueue([0], RetryPolicy())
    assert queue.finished
    assert queue.take(1) == []


NOT_OUT = {
    "never taken": WHOLE[2],
    "done": WHOLE[1],
    "another attempt": WHOLE[0]._replace(attempt=2),
    "another range": WHOLE[0]._replace(count=2),
    "another first item": WHOLE[0]._replace(first=1, count=3),
    "not in the plan": Lease(7, 0, 4, 1),
}


@pytest.mark.parametrize("case", NOT_OUT)
def test_an_outcome_for_a_lease_that_is_not_out_changes_nothing(case: str) -> None:
    queue, _ = queue_of()
    queue.take(2)
    queue.committed(WHOLE[1], 4, 0)
    before = queue.counts
    lease = NOT_OUT[case]
    assert not queue.is_current(lease)
    assert not queue.scored(lease)
    assert not queue.committed(lease, lease.count, 0)
    assert queue.failed(lease, failure()) is None
    assert queue.returned([lease]) == ()
    assert queue.counts == before


def test_once_its_rows_have_arrived_a_lease_takes_no_second_outcome() -> None:
    queue, _ = queue_of(max_retries=1)
    queue.take(1)
    queue.failed(WHOLE[0], failure())
    again = queue.take(2)
    assert again == [WHOLE[0]._replace(attempt=2), WHOLE[1]]
    for lease in again:
        assert queue.scored(lease)
        assert not queue.is_current(lease)
        assert not queue.scored(lease)
        assert queue.failed(lease, failure()) is None
        assert queue.returned([lease]) == ()
        assert queue.committed(lease, 4, 0)
        assert not queue.committed(lease, 4, 0)


def test_retry_comes_before_untouched_work_and_is_charged() -> None:
    queue, _ = queue_of(max_retries=1)
    queue.take(1)
    verdict = queue.failed(WHOLE[0], failure())
    assert verdict is not None
    assert verdict.decision is Decision.RETRY
    assert verdict.records == (Charged(WHOLE[0], failure()),)
    assert queue.take(2) == [WHOLE[0]._replace(attempt=2), WHOLE[1]]


def test_isolation_down_to_the_guilty_item() -> None:
    queue, _ = queue_of()
    guilty, quarantined, attempts = 6, [], {}
    while leases := queue.take(1):
        lease = leases[0]
        attempts[lease[1:3]] = lease.attempt
        if lease.first <= guilty < lease.first + lease.count:
            verdict = queue.failed(lease, failure())
            assert verdict is not None
            quarantined += [r.lease for r in verdict.records if isinstance(r, Quarantined)]
        else:
            queue.committed(lease, lease.count, 0)
    assert quarantined == [Lease(1, 6, 1, 3)]
    assert attempts == {(0, 4): 1, (4, 4): 1, (4, 2): 2, (6, 2): 2, (6, 1): 3, (7, 1): 3, (8, 2): 1}
    assert queue.finished
    assert queue.counts[1:4] == (9, 0, 1)


def test_without_isolation_the_whole_mini_batch_is_given_up() -> None:
    queue, _ = queue_of(isolate=False)
    queue.take(1)
    verdict = queue.failed(WHOLE[0], failure())
    assert verdict is not None
    assert verdict.records == (Charged(WHOLE[0], failure()), Quarantined(WHOLE[0], failure()))
    assert queue.counts.quarantined == 4
    assert queue.counts.done == 1


def test_returned_leases_come_first_in_plan_order_uncharged() -> None:
    queue, _ = queue_of(max_retries=3)
    queue.take(3)
    queue.failed(WHOLE[0], failure())
    assert queue.returned([WHOLE[2], WHOLE[1]]) == ()
    assert queue.take(3) == [WHOLE[1], WHOLE[2], WHOLE[0]._replace(attempt=2)]


def test_a_lease_that_was_taken_back_and_is_waiting_is_not_out() -> None:
    queue, _ = queue_of()
    queue.returned(queue.take(1))
    assert not queue.is_current(WHOLE[0])
    assert not queue.committed(WHOLE[0], 4, 0)
    assert queue.take(1) == [WHOLE[0]]


def test_a_lease_that_began_has_another_attempt_number() -> None:
    queue, _ = queue_of()
    queue.returned(queue.take(1), began=True)
    assert queue.take(1) == [WHOLE[0]._replace(attempt=2)]


def test_the_sixth_return_is_charged_as_lost() -> None:
    queue, _ = queue_of(max_retries=1)
    for _ in range(5):
        assert queue.returned(queue.take(1)) == ()
    (verdict,) = queue.returned(queue.take(1))
    (charged,) = verdict.records
    assert isinstance(charged, Charged)
    assert charged.failure.kind is FailureKind.LOST
    assert verdict.decision is Decision.RETRY
    for _ in range(5):
        assert queue.returned(queue.take(1)) == ()
    assert queue.returned(queue.take(1))[0].decision is Decision.SPLIT


def test_what_the_whole_run_waits_for_is_never_charged() -> None:
    queue, _ = queue_of(max_retries=1)
    for number in range(20):
        (lease,) = queue.take(1)
        assert lease == WHOLE[0]._replace(attempt=number + 1)
        assert queue.returned([lease], began=True, counted=False) == ()


# name: how it came back the first and the second time, (began, counted) -> it is unclear whose fault that was
RETURNS = {
    "before it began": ((False, True), (False, True), True),
    "with one that answers for it, before it began": ((False, False), (False, False), False),
    "with one that answers for it": ((True, False), (True, False), True),
    "with one that answers for it, then alone": ((True, False), (True, True), True),
    "once as it waited": ((False, False), (True, False), False),
}


@pytest.mark.parametrize("case", RETURNS)
@pytest.mark.parametrize("end", ["committed", "charged", "suspect"])
def test_what_often_came_back_with_others_is_unclear_until_it_is_concluded(case: str, end: str) -> None:
    *returns, unclear = RETURNS[case]
    queue, _ = queue_of(max_retries=3)
    for began, counted in returns:
        assert queue.counts.unclear == 0
        queue.returned(queue.take(1), began=began, counted=counted)
    assert queue.counts.unclear == unclear
    if end == "suspect":
        queue.suspects([0])
    else:
        (lease,) = queue.take(1)
        assert queue.counts.unclear == unclear
        assert queue.committed(lease, 4, 0) if end == "committed" else queue.failed(lease, failure())
    assert queue.counts.unclear == 0
    if end == "charged":
        queue.returned(queue.take(1), began=True)
        assert queue.counts.unclear == 0  # it begins anew


# name: log, max_retries, isolate -> leases handed out (attempts included), quarantines decided at once
REPLAYS: dict[str, tuple[list[Record], int, bool, list[Lease], list[Lease]]] = {
    "empty": ([], 0, True, WHOLE, []),
    "committed ones are skipped": ([row(WHOLE[1])], 0, True, [WHOLE[0], WHOLE[2]], []),
    "a claim is no outcome": ([Claimed(WHOLE[0])], 0, True, WHOLE, []),
    "charges count across resumes": (
        [Charged(WHOLE[0], failure("a")), Charged(WHOLE[0]._replace(attempt=2), failure("b"))],
        2, True, [WHOLE[0]._replace(attempt=3), *WHOLE[1:]], [],
    ),
    "attempt numbers go on where the log stopped": (
        [Charged(WHOLE[0]._replace(attempt=3), failure())], 2, True, [WHOLE[0]._replace(attempt=4), *WHOLE[1:]], [],
    ),
    "spent attempts split": (
        [Charged(WHOLE[2], failure())], 0, True, [Lease(2, 8, 1, 2), Lease(2, 9, 1, 2), *WHOLE[:2]], [],
    ),
    "one cause twice is spent": (
        [Charged(WHOLE[2], failure()), Charged(WHOLE[2]._replace(attempt=2), failure())],
        5, True, [Lease(2, 8, 1, 3), Lease(2, 9, 1, 3), *WHOLE[:2]], [],
    ),
    "a charge whose quarantine was cut off": (
        [Charged(WHOLE[2], failure())], 0, False, WHOLE[:2], [WHOLE[2]],
    ),
    "fewer retries allowed than were charged": (
        [Charged(WHOLE[2], failure("a")), Charged(WHOLE[2]._replace(attempt=2), failure("b"))],
        0, False, WHOLE[:2], [WHOLE[2]._replace(attempt=2)],
    ),
    "a part was done: the rest is in isolation": (
        [Charged(WHOLE[0], failure()), row(Lease(0, 0, 2, 2))], 3, True, [Lease(0, 2, 2, 2), *WHOLE[1:]], [],
    ),
    "a part in the middle was quarantined": (
        [Charged(WHOLE[0], failure()), Charged(PART, failure()), Quarantined(PART, failure())],
        3, True, [Lease(0, 0, 1, 2), Lease(0, 2, 2, 2), *WHOLE[1:]], [],
    ),
    "a part has one attempt": (
        [Charged(WHOLE[0], failure()), Charged(Lease(0, 0, 2, 2), failure())],
        3, True, [Lease(0, 0, 1, 3), Lease(0, 1, 1, 3), Lease(0, 2, 2, 2), *WHOLE[1:]], [],
    ),
    "isolation was on and is off: failed parts are given up": (
        [Charged(WHOLE[0], failure()), Charged(Lease(0, 0, 2, 2), failure())],
        0, False, [Lease(0, 2, 2, 2), *WHOLE[1:]], [Lease(0, 0, 2, 2)],
    ),
    "all is done": ([row(WHOLE[0]), Quarantined(WHOLE[1], failure()), row(WHOLE[2])], 0, True, [], []),
}  # fmt: skip


@pytest.mark.parametrize("case", REPLAYS)
def test_replay(case: str) -> None:
    log, max_retries, isolate, leases, given_up = REPLAYS[case]
    queue, decided = queue_of(log, max_retries=max_retries, isolate=isolate)
    assert [record.lease for record in decided] == given_up
    assert taken(queue) == leases
    assert queue.finished


CONTRADICTIONS: dict[str, list[Record]] = {
    "two commits": [row(WHOLE[0]), row(WHOLE[0])],
    "overlapping commits": [row(Lease(0, 0, 2, 2)), row(Lease(0, 1, 2, 2))],
    "a charge after the commit": [row(WHOLE[0]), Charged(WHOLE[0], failure())],
    "a quarantine after the commit": [row(WHOLE[0]), Quarantined(WHOLE[0], failure())],
    "a mini-batch that is not": [row(Lease(3, 10, 1, 1))],
    "a range of another mini-batch": [row(Lease(0, 4, 4, 1))],
    "a range across two": [row(Lease(0, 2, 4, 1))],
    "no items": [row(Lease(0, 0, 0, 1))],
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_log_that_contradicts_itself_is_corrupt(case: str) -> None:
    with pytest.raises(CorruptionError):
        queue_of(CONTRADICTIONS[case])


def test_replay_then_settle_then_take_in_this_order() -> None:
    queue = FileQueue(BOUNDS, RetryPolicy())
    queue.replay(row(WHOLE[0]))
    with pytest.raises(RuntimeError, match="settle"):
        queue.take(1)
    queue.settle()
    queue.take(1)
    with pytest.raises(RuntimeError, match="replay"):
        queue.replay(row(WHOLE[0]))


CLAIM = Claimed(WHOLE[0])

# name: log -> mini-batches that run alone and last
CRASHES: dict[str, tuple[list[Record], list[int]]] = {
    "once with the machine": ([epoch(1, "a"), CLAIM, epoch(2, "b")], []),
    "twice with the machine": ([epoch(1, "a"), CLAIM, epoch(2, "b"), CLAIM, epoch(3, "c")], [0]),
    "twice without the machine": ([epoch(1, "a"), CLAIM, epoch(2, "a"), CLAIM, epoch(3, "a")], []),
    "with the machine, a plain crash between": (
        [epoch(1, "a"), CLAIM, epoch(2, "b"), CLAIM, epoch(3, "b"), CLAIM, epoch(4, "c")], [0],
    ),
    "one crash with two parts of it": (
        [epoch(1, "a"), Claimed(Lease(0, 0, 2, 2)), Claimed(Lease(0, 2, 2, 2)), epoch(2, "b")], [],
    ),
    "closed before the machine went": (
        [epoch(1, "a"), CLAIM, epoch(2, "b"), CLAIM, EpochClosed(2), epoch(3, "c")], [],
    ),
    "the boot id is not known": ([epoch(1, ""), CLAIM, epoch(2, "b"), CLAIM, epoch(3, "")], []),
    "failed in between, in flight again": (
        [epoch(1, "a"), CLAIM, epoch(2, "b"), CLAIM, Charged(WHOLE[0], failure()), epoch(3, "c")], [],
    ),
    "committed in the end": ([epoch(1, "a"), CLAIM, epoch(2, "b"), CLAIM, epoch(3, "c"), CLAIM, row(WHOLE[0])], []),
}  # fmt: skip


@pytest.mark.parametrize("case", CRASHES)
def test_suspects(case: str) -> None:
    log, suspects = CRASHES[case]
    queue, _ = queue_of(log, max_retries=3)
    assert [part.lease.batch for part in queue.pending().parts if part.suspect] == suspects
    if suspects:
        others = queue.take(9)
        assert others == WHOLE[1:]
        assert queue.take(1) == []  # not while anything else is out
        queue.committed(others[0], 4, 0)
        assert queue.take(1) == []
        queue.committed(others[1], 2, 0)
        assert queue.take(9) == [WHOLE[0]]


def test_suspects_that_are_split_stay_alone_and_a_spent_one_is_given_up() -> None:
    crashes: list[Record] = [epoch(1, "a"), CLAIM, epoch(2, "b"), CLAIM, epoch(3, "c")]
    queue, _ = queue_of([*crashes, row(WHOLE[1]), row(WHOLE[2])])
    assert queue.take(9) == [WHOLE[0]]
    queue.failed(WHOLE[0], failure())
    assert queue.take(9) == [Lease(0, 0, 2, 2)]
    assert queue.take(9) == []
    queue, decided = queue_of([*crashes, Charged(WHOLE[0], failure())], isolate=False)
    assert len(decided) == 1
    assert taken(queue) == WHOLE[1:]


TWICE: list[Record] = [epoch(1, "a"), CLAIM, epoch(2, "b"), CLAIM, epoch(3, "c")]
HALF = Lease(0, 0, 2, 2)
BOTH: list[Record] = [Claimed(WHOLE[0]), Claimed(WHOLE[1])]

# name: what follows two crashes -> leases that are charged for the machine's end
GUILTY: dict[str, tuple[list[Record], list[Lease]]] = {
    "down again, alone": ([CLAIM, epoch(4, "d")], [WHOLE[0]]),
    "down again before it was handed out": ([epoch(4, "d")], []),
    "the coordinator alone died": ([CLAIM, epoch(4, "c")], []),
    "stopped in order, then another boot": ([CLAIM, EpochClosed(3), epoch(4, "d")], []),
    "it was done": ([CLAIM, row(WHOLE[0]), epoch(4, "d")], []),
    "it had failed": ([CLAIM, Charged(WHOLE[0], failure()), epoch(4, "d")], []),
    "another was claimed after it had come back": ([CLAIM, Claimed(WHOLE[1]), epoch(4, "d")], []),
    "no boot id": ([CLAIM, epoch(4, "")], []),
    "the charge did not get into the log": ([CLAIM, epoch(4, "d"), epoch(5, "d")], [WHOLE[0]]),
    "the charge did, after the next claim": (
        [CLAIM, epoch(4, "d"), Claimed(HALF), Charged(WHOLE[0], machine_down()), epoch(5, "d")], [],
    ),
    "the half of it, alone": (
        [CLAIM, epoch(4, "d"), Charged(WHOLE[0], machine_down()), Claimed(HALF), epoch(5, "e")], [HALF],
    ),
    "the half, claimed before the whole was charged": (
        [CLAIM, epoch(4, "d"), Claimed(HALF), Charged(WHOLE[0], machine_down()), epoch(5, "e")], [HALF],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GUILTY)
def test_a_suspect_that_takes_the_machine_down_alone_is_charged(case: str) -> None:
    log, guilty = GUILTY[case]
    others: list[Record] = [row(WHOLE[2])]
    queue, decided = queue_of([*TWICE, *others, *log], max_retries=3)
    assert [record.lease for record in decided] == guilty
    again, nothing = queue_of([*TWICE, *others, *log, *decided], max_retries=3)
    assert nothing == ()
    assert again.pending() == queue.pending()


def test_the_guilty_file_is_found_and_given_up_and_the_rest_is_scored() -> None:
    log: list[Record] = [*TWICE, row(WHOLE[1]), row(WHOLE[2]), CLAIM]
    guilty, boots = 3, 3  # item 3 takes the machine down
    while True:
        boots += 1
        log.append(epoch(boots, str(boots)))
        queue, decided = queue_of(log, max_retries=3)
        log += decided
        while leases := queue.take(9):
            assert len(leases) == 1
            log.append(Claimed(leases[0]))
            if leases[0].first <= guilty < leases[0].first + leases[0].count:
                break
            log.append(row(leases[0]))
            queue.committed(leases[0], leases[0].count, 0)
        if queue.finished:
            break
        assert boots < 9
    assert queue.counts[:4] == (10, 9, 0, 1)
    assert [r.lease[1:3] for r in log if isinstance(r, Quarantined)] == [(3, 1)]
    assert boots == 6  # the whole, its half, the file itself


def test_without_isolation_the_mini_batch_is_given_up_as_a_whole() -> None:
    queue, decided = queue_of([*TWICE, CLAIM, epoch(4, "d")], max_retries=3, isolate=False)
    assert [type(record) for record in decided] == [Charged, Quarantined]
    assert decided[0].failure.error == "MachineDown"
    assert taken(queue) == WHOLE[1:]


def test_two_suspects_are_told_apart() -> None:
    """Both were in flight twice; alone, only one takes the machine with it."""
    log: list[Record] = [epoch(1, "a"), *BOTH, epoch(2, "b"), *BOTH, epoch(3, "c"), row(WHOLE[2])]
    queue, _ = queue_of(log)
    assert queue.take(9) == [WHOLE[0]]
    log += [Claimed(WHOLE[0]), row(WHOLE[0]), Claimed(WHOLE[1]), epoch(4, "d")]
    queue, decided = queue_of(log, isolate=False)
    assert {record.lease for record in decided} == {WHOLE[1]}
    assert queue.finished


def test_suspects_can_be_named_by_hand_at_any_time() -> None:
    queue, _ = queue_of(max_retries=3)
    queue.take(1)
    queue.suspects([0, 1])
    assert queue.take(9) == [WHOLE[2]]
    queue.returned([WHOLE[0]])
    queue.committed(WHOLE[2], 2, 0)
    queue.suspects([2])
    assert queue.take(9) == [WHOLE[0]]
    assert queue.take(9) == []
    queue.committed(WHOLE[0], 4, 0)
    assert queue.take(9) == [WHOLE[1]]


def test_pending_tells_what_has_a_history() -> None:
    queue, _ = queue_of(max_retries=3)
    queue.take(2)
    queue.failed(WHOLE[0], failure())
    pending = queue.pending()
    assert (pending.fresh, pending.leased) == (1, 1)
    assert pending.parts == ((WHOLE[0]._replace(attempt=2), 1, False, False, failure().cause),)
