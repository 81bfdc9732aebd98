"""The mini-batches by size: named cases, then any sizes beside a plain sort."""

from __future__ import annotations

from array import array
from itertools import accumulate

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchctl.plan import largest
from batchctl.plan.largest import are_alike, largest_first

# name: items of each mini-batch, by size
CASES: dict[str, tuple[list[list[int]], list[int]]] = {
    "largest first": ([[1], [3], [2]], [1, 2, 0]),
    "ties in plan order": ([[2], [1, 1], [3], [0, 2]], [2, 0, 1, 3]),
    "all alike": ([[0], [0], [0]], [0, 1, 2]),
    "by the sum, not by the count": ([[1, 1, 1], [4], [2, 2, 2]], [2, 1, 0]),
    "one": ([[7]], [0]),
    "none": ([], []),
    "differences beyond 16, 32 and 48 bits": (
        [[0], [1 << 16], [(1 << 32) + 1], [1 << 32], [1 << 50], [1]],
        [4, 2, 3, 1, 5, 0],
    ),
    "the largest sums": ([[(1 << 63) - 1, 1 << 63], [0], [(1 << 64) - 1]], [0, 2, 1]),
}


def order_of(batches: list[list[int]]) -> list[int]:
    bounds = array("I", accumulate(map(len, batches), initial=0))
    return largest_first(bounds, array("Q", [size for batch in batches for size in batch])).tolist()


@pytest.fixture(params=["few", "many"])
def amount(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two ways: by `sorted`, and by digits, which is for many."""
    if request.param == "many":
        monkeypatch.setattr(largest, "_FEW", 0)


@pytest.mark.usefixtures("amount")
@pytest.mark.parametrize("case", CASES)
def test_order(case: str) -> None:
    batches, expected = CASES[case]
    assert order_of(batches) == expected


@pytest.mark.usefixtures("amount")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # it stays the same for all examples
@given(st.lists(st.lists(st.integers(0, 1 << 40) | st.integers(0, 3), min_size=1, max_size=4), max_size=40))
def test_as_a_stable_sort_has_it(batches: list[list[int]]) -> None:
    assert order_of(batches) == sorted(range(len(batches)), key=lambda batch: -sum(batches[batch]))


# name: bytes of the files of each mini-batch -> are they as good as equal?
ALIKE: dict[str, tuple[list[list[int]], bool]] = {
    "equal": ([[4], [4], [4]], True),
    "just not a quarter larger": ([[4000], [4999], [4500]], True),
    "a quarter larger": ([[4000], [5000]], False),
    "by the sum": ([[1, 9], [5, 5]], True),
    "a short one at the end": ([[4, 4], [4, 4], [4]], True),
    "a short one that is not": ([[4, 4], [4], [4, 4]], False),
    "empty ones": ([[0], [0]], True),
    "empty ones and others": ([[0], [1]], False),
    "one": ([[7]], True),
    "none": ([], True),
}


@pytest.mark.parametrize("case", ALIKE)
def test_whether_an_order_is_worth_it(case: str) -> None:
    batches, expected = ALIKE[case]
    bounds = array("I", accumulate(map(len, batches), initial=0))
    sizes = array("Q", [size for batch in batches for size in batch])
    assert are_alike(bounds, sizes, order=order_of(batches)) is expected
