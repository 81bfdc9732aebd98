"""Untouched mini-batches in plan order and in one that is given; what has a history keeps its place before them."""

from __future__ import annotations

from array import array

import pytest

from batchctl.dispatch.file_queue import FileQueue
from batchctl.dispatch.fresh import TAKEN, FreshBatches
from batchctl.dispatch.retry import RetryPolicy
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind
from batchctl.model.records import Claimed, Committed, EpochOpened, Reopened, Reopening

BOUNDS = memoryview(array("I", [0, 4, 8, 10, 11, 15]))
ORDER = array("I", [3, 0, 4, 2, 1])
WHOLE = [Lease(0, 0, 4, 1), Lease(1, 4, 4, 1), Lease(2, 8, 2, 1), Lease(3, 10, 1, 1), Lease(4, 11, 4, 1)]

# name: order, mini-batches that are not fresh, how many are taken at a time -> what is handed out
HANDED_OUT: dict[str, tuple[array[int] | None, set[int], list[int], list[list[int]]]] = {
    "plan order": (None, set(), [1, 1, 3], [[0], [1], [2, 3, 4]]),
    "plan order around those that are gone": (None, {0, 3}, [2, 1], [[1, 2], [4]]),
    "an order": (ORDER, set(), [1, 2, 2], [[3], [0, 4], [2, 1]]),
    "an order around those that are gone": (ORDER, {3, 4, 1}, [1, 1], [[0], [2]]),
    "more than there are": (ORDER, {0}, [9, 9], [[3, 4, 2, 1], []]),
    "none asked for": (ORDER, set(), [0, 1, 0], [[], [3], []]),
    "none left": (ORDER, {0, 1, 2, 3, 4}, [3], [[]]),
}


@pytest.mark.parametrize("case", HANDED_OUT)
def test_handed_out(case: str) -> None:
    order, gone, takes, expected = HANDED_OUT[case]
    state = bytearray(5)
    fresh = FreshBatches(BOUNDS, state, order=order)
    for batch in gone:
        state[batch] = 4
        fresh.left -= 1
    for n, batches in zip(takes, expected, strict=True):
        assert fresh.take(n) == [WHOLE[batch] for batch in batches]
        assert all(state[batch] == TAKEN for batch in batches)
    assert fresh.left == 5 - len(gone) - sum(map(len, expected))


def test_what_goes_meanwhile_is_passed_over() -> None:
    state = bytearray(5)
    fresh = FreshBatches(BOUNDS, state, order=ORDER)
    fresh.take(1)
    state[4] = 4
    fresh.left -= 1
    assert [lease.batch for lease in fresh.take(9)] == [0, 2, 1]


def test_an_order_of_another_plan_is_refused() -> None:
    with pytest.raises(ValueError, match="an order of 2 for 5 mini-batches"):
        FileQueue(BOUNDS, RetryPolicy(), order=array("I", [1, 0]))


def queue_after(*records: EpochOpened | Claimed | Committed | Reopened) -> FileQueue:
    queue = FileQueue(BOUNDS, RetryPolicy(max_retries=1, isolate=False), order=ORDER)
    for record in records:
        queue.replay(record)
    queue.settle()
    return queue


def row(lease: Lease) -> Committed:
    return Committed(*lease, 0, 0, 0, 0, lease.count, 0)


def taken(queue: FileQueue) -> list[int]:
    """Mini-batches one by one, each committed at once."""
    found: list[int] = []
    while leases := queue.take(1):
        found.append(leases[0].batch)
        assert queue.committed(leases[0], leases[0].count, 0)
    return found


def test_what_comes_back_goes_before_the_largest() -> None:
    queue = queue_after()
    assert queue.take(2) == [WHOLE[3], WHOLE[0]]
    queue.failed(WHOLE[0], Failure(FailureKind.FAILED, "ValueError", "bad"))
    queue.returned([WHOLE[3]])
    assert queue.take(3) == [WHOLE[3], WHOLE[0]._replace(attempt=2), WHOLE[4]]


def test_suspects_come_last_whatever_their_size() -> None:
    crashes = [(EpochOpened(n, f"boot-{n}", "0", "{}"), Claimed(WHOLE[3])) for n in (1, 2)]
    queue = queue_after(*crashes[0], *crashes[1], EpochOpened(3, "boot-3", "0", "{}"))
    assert taken(queue) == [0, 4, 2, 1, 3]


def test_a_replay_leaves_the_rest_in_order() -> None:
    assert taken(queue_after(row(WHOLE[0]), row(WHOLE[2]))) == [3, 4, 1]


def test_what_a_retry_reopened_goes_before_untouched_work() -> None:
    reopened = Reopened(1, (Reopening(1, 4, 4, 0, 4, 0),))
    assert taken(queue_after(row(WHOLE[1]), row(WHOLE[3]), reopened)) == [1, 0, 4, 2]
