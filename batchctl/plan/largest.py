"""The mini-batches by size, largest first. Pure: the plan's columns in, an order of numbers out."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, islice, pairwise
from operator import eq

_DIGIT = 16  # bits that one pass sorts by
_MASK = (1 << _DIGIT) - 1
_FEW = 1 << _DIGIT  # up to so many mini-batches `sorted` is quicker, and its objects take 5 MB


def largest_first(bounds: Sequence[int], sizes: Sequence[int]) -> array[int]:
    """Numbers of all mini-batches (u32), those with most bytes first, equal ones in plan order.

    `bounds`: the first item of each mini-batch, closed by the number of items; `sizes`: bytes of each item, sums below
    2^64. Costs 26 bytes a mini-batch while it works, and no object each; the result takes 4.
    """
    each = iter(sizes)
    totals = array("Q", (sum(islice(each, end - first)) for first, end in pairwise(bounds)))
    if len(totals) <= _FEW:
        return array("I", sorted(range(len(totals)), key=totals.__getitem__, reverse=True))  # equals stay in order
    order = array("I", range(len(totals)))
    # By what a mini-batch lacks to the largest, lowest digit first; each pass keeps the order of equals. `sorted` would
    # make objects: 70 MB for a million.
    lacks = array("Q", map(max(totals).__sub__, totals))
    for shift in range(0, max(lacks).bit_length(), _DIGIT):
        order = _by_digit(order, array("H", (lack >> shift & _MASK for lack in lacks)))
    return order


def are_alike(bounds: Sequence[int], sizes: Sequence[int], *, order: Sequence[int]) -> bool:
    """Is the largest mini-batch less than a quarter larger than the smallest, or `order`, `largest_first`'s, the plan's
    own?"""
    if all(map(eq, order, range(len(order)))):
        return True
    most, least = (sum(sizes[bounds[batch] : bounds[batch + 1]]) for batch in (order[0], order[-1]))
    return 4 * most < 5 * least


def _by_digit(order: array[int], digits: array[int]) -> array[int]:
    """`order` sorted by the digit of each number; equals keep their order."""
    counts = Counter(digits)
    places = list(accumulate((counts[digit] for digit in range(_MASK)), initial=0))
    found = array("I", bytes(4 * len(order)))
    for batch in order:
        digit = digits[batch]
        found[places[digit]] = batch
        places[digit] += 1
    return found
