"""A retry in the file queue: what was concluded is handed out again, with all its attempts, and counted once."""

from __future__ import annotations

from batchctl.dispatch.file_queue import FileQueue
from batchctl.dispatch.retry import Decision, RetryPolicy
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind
from batchctl.model.records import (
    Charged,
    Claimed,
    Committed,
    EpochOpened,
    Quarantined,
    Record,
    Reopened,
    Reopening,
)

BOUNDS = (0, 4, 8)
FAILURE = Failure(FailureKind.FAILED, "ValueError", "no")
OTHER = Failure(FailureKind.FAILED, "KeyError", "no")
# Items 1, 2 and 3 of the first mini-batch were given up one by one; the second lacks an element.
HISTORY: list[Record] = [
    EpochOpened(1, "boot", "0", "{}"),
    Claimed(Lease(0, 0, 4, 1)),
    Charged(Lease(0, 0, 4, 1), FAILURE),
    Committed(0, 0, 1, 3, 0, 1, 0, 1, 1, 0),
    *(Quarantined(Lease(0, item, 1, 3), FAILURE) for item in (1, 2, 3)),
    Committed(1, 4, 4, 1, 1, 3, 0, 3, 3, 1),
]
GIVEN_UP = tuple(Reopening(0, item, 1, 0, 0, 0) for item in (1, 2, 3))
SHORT = Reopening(1, 4, 4, 3, 3, 1)


def queue(*records: Record, retries: int = 1) -> FileQueue:
    made = FileQueue(BOUNDS, RetryPolicy(retries, True))
    for record in (*HISTORY, *records, EpochOpened(2, "boot", "0", "{}")):
        made.replay(record)
    made.settle()
    return made


def test_neighbours_are_one_lease_and_counts_go_back() -> None:
    reopened = queue(Reopened(1, GIVEN_UP))
    assert not reopened.finished
    assert reopened.counts[:6] == (8, 4, 1, 0, 2, 1)
    (lease,) = reopened.take(9)
    assert lease == Lease(0, 1, 3, 1)
    assert reopened.scored(lease) and reopened.committed(lease, 3, 0)
    assert reopened.finished
    assert reopened.counts[:6] == (8, 7, 1, 0, 2, 2)


def test_what_fails_again_has_the_attempts_of_a_mini_batch_and_is_then_divided() -> None:
    reopened = queue(Reopened(1, GIVEN_UP))
    (lease,) = reopened.take(9)
    verdict = reopened.failed(lease, FAILURE)
    assert verdict is not None and verdict.decision is Decision.RETRY
    (lease,) = reopened.take(9)
    verdict = reopened.failed(lease, OTHER)
    assert verdict is not None and verdict.decision is Decision.SPLIT
    halves = reopened.take(9)
    assert [(half.first, half.count) for half in halves] == [(1, 2), (3, 1)]
    verdict = reopened.failed(halves[1], FAILURE)
    assert verdict is not None and verdict.decision is Decision.QUARANTINE
    assert reopened.counts.quarantined == 1


def test_a_short_mini_batch_is_whole_again() -> None:
    reopened = queue(Reopened(1, (SHORT,)))
    assert reopened.counts[:4] == (8, 1, 0, 3)
    (lease,) = reopened.take(9)
    assert lease == Lease(1, 4, 4, 1)
    assert reopened.scored(lease) and reopened.committed(lease, 4, 0)
    assert reopened.counts[:4] == (8, 5, 0, 3)


def test_the_log_of_a_retry_is_replayed_as_any_other() -> None:
    again = queue(
        Reopened(1, (*GIVEN_UP, SHORT)),
        EpochOpened(2, "boot", "0", "{}"),
        Charged(Lease(0, 1, 3, 1), OTHER),
        Committed(1, 4, 4, 1, 5, 4, 0, 4, 4, 0),
    )
    assert again.counts[:6] == (8, 5, 0, 0, 2, 1)
    (lease,) = again.take(9)
    assert lease == Lease(0, 1, 3, 2)


def test_what_was_in_flight_when_the_run_ended_makes_no_suspect() -> None:
    reopened = queue(Claimed(Lease(0, 1, 1, 3)), Reopened(1, GIVEN_UP))
    assert not any(part.suspect for part in reopened.pending().parts)
