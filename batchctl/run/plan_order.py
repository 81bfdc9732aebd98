"""Results on their way into a commit group: in plan order, where that costs next to nothing.

Workers finish a little out of turn. Rows that were committed in plan order need no second copy of them at the end
(store/finish.py), so a result that is ahead of a mini-batch still under way waits for it: for half a second, or twice
that where others came meanwhile, and only while all rows so far are in plan order. One that takes longer ends that for
the run, and nothing is held back any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from batchctl.model.outcome import Scored
from batchctl.named_tuple import NamedTuple

HOLD_S = 0.5


class Cut(NamedTuple):
    """Results to be committed now, in this order, and those that are held back."""

    now: Sequence[Scored]
    later: Sequence[Scored]


class PlanOrder:
    """`frontier` tells, in plan order, the last mini-batch that is done and the first that is with a worker; -1 for one
    that there is none of."""

    def __init__(self, frontier: Callable[[], tuple[int, int]]) -> None:
        self._frontier = frontier
        self._reached = -1  # the last mini-batch of those that were let through
        self._since: float | None = None  # when the oldest that are held back began to be
        self._awaited = -1  # the last mini-batch of those
        self._kept = True

    def cut(self, scored: Sequence[Scored], *, now: float, whole: bool) -> Cut:
        """Those that may go now, by `now` (seconds); with `whole` all of them."""
        if not (self._kept and scored):
            return Cut(scored, ())
        ordered = sorted(scored, key=_lease)
        done, out = self._frontier()
        late = ordered[0][0][0] < max(self._reached, done)
        too_long = self._since is not None and now - self._since >= HOLD_S
        if whole or late or too_long:
            self._kept = not (late or too_long)
            self._since = None
            self._reached = ordered[-1][0][0]
            return Cut(ordered, ())
        count = len(ordered)
        while out >= 0 and count and ordered[count - 1][0][0] > out:
            count -= 1
        if count:
            self._reached = ordered[count - 1][0][0]
        if count == len(ordered):
            self._since = None
        elif self._since is None or self._reached >= self._awaited:
            self._since, self._awaited = now, ordered[-1][0][0]
        return Cut(ordered[:count], ordered[count:])


def _lease(one: Scored) -> tuple[int, ...]:
    return one[0]
