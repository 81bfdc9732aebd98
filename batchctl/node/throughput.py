"""Does a larger crew get more done? Judged by the time that items take in run(), and its noise. Pure.

The throughput of n workers is n / mean run time per item. A crew is compared with the largest smaller one of which
there are enough mini-batches. It has to gain a tenth of what proportion promises: from 4 to 8 workers (+100 %) at least
10 %. It is judged a failure only where the gain and two of its standard errors stay below that: noise lets a crew grow.
"""

from __future__ import annotations

from math import sqrt

from batchctl.named_tuple import NamedTuple

ENOUGH = 4  # mini-batches, or one per worker where that is more
SHARE_OF_PROPORTION = 0.1
STANDARD_ERRORS = 2.0


class Pace:
    """Run time per item of one size of crew: running mean and variance, weighted by items (mini-batches differ)."""

    __slots__ = ("_spread", "_squares", "_weight", "batches", "mean")

    def __init__(self) -> None:
        self.batches = 0
        self.mean = 0.0  # nanoseconds per item
        self._weight = 0.0
        self._squares = 0.0  # sum of squared weights
        self._spread = 0.0  # weighted sum of squared deviations from the mean

    def add(self, run_ns: int, items: int) -> None:
        weight = float(max(1, items))
        value = run_ns / weight
        self.batches += 1
        self._weight += weight
        self._squares += weight * weight
        off = value - self.mean
        self.mean += off * weight / self._weight
        self._spread += weight * off * (value - self.mean)

    @property
    def relative_error(self) -> float:
        """Standard error of the mean / mean; infinite where it cannot be told."""
        free = self._weight - self._squares / self._weight if self._weight else 0.0
        if free <= 0.0 or self.mean <= 0.0:
            return float("inf")
        variance = self._spread / free
        return sqrt(max(0.0, variance) * self._squares) / self._weight / self.mean


class Gain(NamedTuple):
    """By how much `larger` workers do more than `smaller` ones, as a fraction, and the standard error of that."""

    smaller: int
    larger: int
    gain: float
    error: float

    @property
    def wanted(self) -> float:
        return SHARE_OF_PROPORTION * (self.larger / self.smaller - 1.0)

    @property
    def in_vain(self) -> bool:
        return self.gain + STANDARD_ERRORS * self.error < self.wanted


class Throughput:
    """The pace of each size of crew that there was."""

    __slots__ = ("_paces",)

    def __init__(self) -> None:
        self._paces: dict[int, Pace] = {}

    def add(self, crew: int, *, run_ns: int, items: int) -> None:
        pace = self._paces.get(crew)
        if pace is None:
            pace = self._paces[crew] = Pace()
        pace.add(run_ns, items)

    def known(self, crew: int) -> bool:
        """Are there enough mini-batches of a crew of this size?"""
        pace = self._paces.get(crew)
        return pace is not None and pace.batches >= max(ENOUGH, crew)

    def gain(self, crew: int) -> Gain | None:
        """What this crew gained over the largest smaller one that is known; None where one of them is not."""
        if not self.known(crew):
            return None
        smaller = max((size for size in self._paces if size < crew and self._paces[size].batches >= ENOUGH), default=0)
        if not smaller:
            return None
        before, now = self._paces[smaller], self._paces[crew]
        if now.mean <= 0.0 or before.mean <= 0.0:
            return None  # a clock that did not move tells nothing
        ratio = (crew / now.mean) / (smaller / before.mean)
        error = ratio * sqrt(before.relative_error**2 + now.relative_error**2)
        return Gain(smaller, crew, ratio - 1.0, error)
