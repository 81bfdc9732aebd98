"""Outcomes many at a time come to what they come to one by one, whatever lies among the whole mini-batches."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import pytest

from batchctl.dispatch.file_queue import FileQueue
from batchctl.dispatch.retry import RetryPolicy
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Scored

BOUNDS = memoryview(array("I", [0, 4, 8, 10, 11, 15]))
WHOLE = [Lease(0, 0, 4, 1), Lease(1, 4, 4, 1), Lease(2, 8, 2, 1), Lease(3, 10, 1, 1), Lease(4, 11, 4, 1)]


def scored(lease: Lease, failed: int = 0) -> Scored:
    return Scored(lease, b"", 0, 0, 0, lease.count - failed, failed, 1)


# name: what comes in, and the numbers of those that are taken
ANSWERS: dict[str, tuple[Sequence[Scored], list[int]]] = {
    "whole ones": ([scored(WHOLE[1]), scored(WHOLE[2], 1)], [0, 1]),
    "a part among them": ([scored(WHOLE[1]), scored(Lease(0, 0, 2, 2)), scored(WHOLE[2])], [0, 1, 2]),
    "one twice": ([scored(WHOLE[1]), scored(WHOLE[1]), scored(WHOLE[2])], [0, 2]),
    "a part twice": ([scored(Lease(0, 2, 2, 2)), scored(Lease(0, 2, 2, 2), 1)], [0]),
    "one that is not out": ([scored(WHOLE[3]), scored(WHOLE[2])], [1]),
    "the whole of what is in parts": ([scored(WHOLE[0]), scored(WHOLE[2])], [1]),
    "another attempt": ([scored(WHOLE[1]._replace(attempt=2)), scored(WHOLE[2])], [1]),
    "another range": ([scored(WHOLE[1]._replace(count=3)), scored(WHOLE[2]._replace(first=7))], []),
    "no such mini-batch": ([scored(Lease(5, 15, 1, 1)), scored(WHOLE[1])], [1]),
    "nothing": ([], []),
}


def with_parts_out() -> FileQueue:
    """Mini-batch 0 in two parts, 1 and 2 whole: all of that is out. 3 and 4 wait."""
    queue = FileQueue(BOUNDS, RetryPolicy(max_retries=0))
    queue.settle()
    queue.take(1)
    assert queue.failed(WHOLE[0], Failure(FailureKind.FAILED, "ValueError", "bad"))
    assert queue.take(4) == [Lease(0, 0, 2, 2), Lease(0, 2, 2, 2), WHOLE[1], WHOLE[2]]
    return queue


@pytest.mark.parametrize("case", ANSWERS)
def test_many_are_as_each(case: str) -> None:
    found, expected = ANSWERS[case]
    one_by_one, at_once = with_parts_out(), with_parts_out()
    accepted = [number for number, one in enumerate(found) if one_by_one.scored(one.lease)]
    fresh = at_once.all_scored(found)
    assert accepted == expected
    assert [id(one) for one in fresh] == [id(found[number]) for number in expected]
    assert at_once.counts == one_by_one.counts
    for one in found:
        one_by_one.committed(one.lease, one.ok, one.failed)
    at_once.all_committed(found)
    assert at_once.counts == one_by_one.counts
    assert at_once.pending() == one_by_one.pending()


def test_committed_at_once_are_committed_for_good() -> None:
    queue = with_parts_out()
    found = [scored(WHOLE[1], 1), scored(WHOLE[2])]
    assert queue.all_scored(found) == found
    queue.all_committed(found)
    assert (queue.counts.done, queue.counts.ok, queue.counts.failed) == (2, 5, 1)
    queue.all_committed(found)
    assert not queue.all_scored(found)
    assert (queue.counts.done, queue.counts.ok, queue.counts.failed) == (2, 5, 1)
