"""Does a worker hold more and more? Pure.

A worker breathes: run() takes memory and gives it back, and a reading may fall into any moment of that. So what counts
is the least of the readings of a stretch that holds the end of at least one mini-batch: a leak raises the floor. A
*growth* is a row of floors of which none fell; it is a leak where it rose several times, over at least eight
mini-batches, and the worker holds

- more than the larger of 1.5 x what it held after its first mini-batch, and that + 256 MiB, or
- more than its share of the memory, having grown by at least a tenth of what it held after its first.

A floor that rose once and stays (a large file, a cache that is full) is no leak. A place that was recycled before is
allowed twice as much growth each time: a cache that has to be filled anew in every life must not cost more time than
the memory is worth. The share is not widened.
"""

from __future__ import annotations

from batchctl.named_tuple import NamedTuple

MIB = 1 << 20

READINGS = 2  # in a stretch, at least; twice as many after every floor that fell: this worker breathes deeply
MOST_READINGS = 32
BATCHES = 8  # over which it must have grown
RISES = 3
ALLOWANCE = 256 * MIB
MOST_DOUBLINGS = 6


class Grown(NamedTuple):
    """A leak: bytes at the begin and now, and over how many mini-batches."""

    before: int
    now: int
    batches: int

    @property
    def each(self) -> float:
        return (self.now - self.before) / self.batches


class Leak:
    """One worker's life, from its first mini-batch on. `doublings`: how often its place was recycled before."""

    __slots__ = ("_base", "_begin", "_doublings", "_floor", "_from", "_last", "_level", "_readings", "_rises", "_width")

    def __init__(self, *, doublings: int = 0) -> None:
        self._doublings = min(doublings, MOST_DOUBLINGS)
        self._base = 0  # held after its first mini-batch; 0: not known yet
        self._begin = (0, 0)  # where the growth began: bytes, mini-batches
        self._last = (0, 0)  # the last floor
        self._level = 0  # the last floor that was a rise
        self._rises = 0
        self._floor = 0  # of the stretch under way, which began at `_from` mini-batches
        self._readings = 0
        self._width = READINGS
        self._from = 1

    def see(self, held: int, batches: int) -> None:
        """A reading, after so many mini-batches (at least one)."""
        self._floor = min(self._floor, held) if self._readings else held
        self._readings += 1
        if self._readings < self._width or (self._base and batches <= self._from):
            return
        self._close(self._floor, batches)
        self._from = batches
        self._readings = 0

    def _close(self, floor: int, batches: int) -> None:
        if not self._base:
            self._base = max(1, floor)
            self._restart(floor, batches)
        elif floor < self._level - max(4 * MIB, self._level // 50):
            self._width = min(2 * self._width, MOST_READINGS)
            self._restart(floor, batches)
        elif floor > self._level + max(MIB, self._level // 200):
            self._rises += 1
            self._level = floor
        self._last = (floor, batches)

    def _restart(self, floor: int, batches: int) -> None:
        self._begin = (floor, batches)
        self._level = floor
        self._rises = 0

    def grown(self, share: int) -> Grown | None:
        """The leak, if it is one by now. `share`: bytes that one worker of the crew may hold."""
        floor, batches = self._last
        since = batches - self._begin[1]
        if since < BATCHES or self._rises < RISES or floor < self._level:
            return None
        allowed = self._base + (max(self._base // 2, ALLOWANCE) << self._doublings)
        beyond = floor > share and floor - self._begin[0] > self._base // 10
        return Grown(self._begin[0], floor, since) if floor > allowed or beyond else None
