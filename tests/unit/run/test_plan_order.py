"""Which results go into a commit group, and in which order; on given times."""

from __future__ import annotations

import pytest

from batchctl.model.lease import Lease
from batchctl.run.plan_order import HOLD_S, PlanOrder
from tests.unit.run.stage import result


def cut(order: PlanOrder, *batches: int, now: float = 0.0, whole: bool = False) -> tuple[list[int], list[int]]:
    found = order.cut([result(Lease(batch, batch, 1, 1)) for batch in batches], now=now, whole=whole)
    return [one.lease.batch for one in found.now], [one.lease.batch for one in found.later]


# name: what has come, the first that is out -> what goes now, what waits
CASES: dict[str, tuple[tuple[int, ...], int, list[int], list[int]]] = {
    "in plan order": ((0, 1, 2), 3, [0, 1, 2], []),
    "out of turn, none ahead": ((2, 0, 1), 3, [0, 1, 2], []),
    "one is ahead of the one that is out": ((0, 3, 1), 2, [0, 1], [3]),
    "all are": ((4, 3), 2, [], [3, 4]),
    "none is out": ((4, 3), -1, [3, 4], []),
    "nothing has come": ((), 2, [], []),
}


@pytest.mark.parametrize("case", CASES)
def test_what_goes_and_what_waits(case: str) -> None:
    batches, out, now, later = CASES[case]
    assert cut(PlanOrder(lambda: (-1, out)), *batches) == (now, later)


def test_parts_of_a_mini_batch_go_in_the_order_of_their_items() -> None:
    parts = [result(Lease(0, first, 2, 2)) for first in (4, 0, 2)]
    found = PlanOrder(lambda: (-1, -1)).cut(parts, now=0.0, whole=False)
    assert [one.lease.first for one in found.now] == [0, 2, 4]


def test_what_waits_goes_when_the_one_before_it_has_come() -> None:
    out = [1]
    order = PlanOrder(lambda: (-1, out[0]))
    assert cut(order, 0, 2, 3) == ([0], [2, 3])
    out[0] = 4
    assert cut(order, 2, 3, 1) == ([1, 2, 3], [])


def test_nothing_waits_when_all_is_wanted() -> None:
    assert cut(PlanOrder(lambda: (-1, 1)), 3, 2, whole=True) == ([2, 3], [])


def test_nothing_waits_longer_than_that() -> None:
    order = PlanOrder(lambda: (-1, 1))
    assert cut(order, 2, now=10.0) == ([], [2])
    assert cut(order, 2, 3, now=10.0 + HOLD_S - 0.01) == ([], [2, 3])
    assert cut(order, 2, 3, now=10.0 + HOLD_S) == ([2, 3], [])
    assert cut(order, 5, 4, now=10.0 + HOLD_S) == ([5, 4], [])  # as they came: there is nothing to gain any more


def test_a_wait_begins_anew_when_all_that_waited_have_gone() -> None:
    out = [1]
    order = PlanOrder(lambda: (-1, out[0]))
    assert cut(order, 2, 3, now=10.0) == ([], [2, 3])
    out[0] = 4
    assert cut(order, 1, 2, 3, 6, now=10.4) == ([1, 2, 3], [6])
    assert cut(order, 6, now=10.6) == ([], [6])
    assert cut(order, 6, now=10.4 + HOLD_S) == ([6], [])


def test_it_does_not_begin_anew_with_each_result_of_a_slow_worker() -> None:
    """Others are ahead of all that this one has in hand."""
    out = [0]
    order = PlanOrder(lambda: (-1, out[0]))
    assert cut(order, 20, now=10.0) == ([], [20])
    out[0] = 1
    assert cut(order, 0, 20, 21, now=10.4) == ([0], [20, 21])
    assert cut(order, 20, 21, 22, now=10.0 + HOLD_S) == ([20, 21, 22], [])


def test_rows_that_were_out_of_order_before_this_epoch_are_not_waited_for() -> None:
    order = PlanOrder(lambda: (8, 5))
    assert cut(order, 3, 7) == ([3, 7], [])
    assert cut(order, 9, 6) == ([9, 6], [])


def test_once_one_came_too_late_nothing_waits_any_more() -> None:
    order = PlanOrder(lambda: (-1, 1))
    assert cut(order, 5, 2, whole=True) == ([2, 5], [])
    assert cut(order, 7, 3) == ([3, 7], [])
    assert cut(order, 9, 8) == ([9, 8], [])  # as they came: there is nothing to gain
