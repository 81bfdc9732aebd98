"""Results on their way into a commit group: in plan order, where that costs next to nothing.

Workers finish a little out of turn. Rows that were committed in plan order need no second copy of them at the end
(store/finish.py), so a result that is ahead of a mini-batch still under way waits for it: for half a second at most,
and only while all rows so far are in plan order. One that takes longer ends that for the run, and nothing is held back
any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from batchctl.model.outcome import Scored

HOLD_S = 0.5


class Cut(NamedTuple):
    """Results to be committed now, in this order, and those that are held back."""

    now: Sequence[Scored]
    later: Sequence[Scored]


class PlanOrder:
    """`earliest_out` tells the first mini-batch in plan order that is with a worker, -1 where none is."""

    def __init__(self, earliest_out: Callable[[], int]) -> None:
        self._earliest_out = earliest_out
        self._reached = -1  # the last mini-batch of those that were let through
        self._since: float | None = None  # when results began to be held back
        self._kept = True

    def cut(self, scored: Sequence[Scored], *, now: float, whole: bool) -> Cut:
        """Those that may go now, by `now` (seconds); with `whole` all of them."""
        if not (self._kept and scored):
            return Cut(scored, ())
        ordered = sorted(scored, key=_lease)
        late = ordered[0][0][0] < self._reached
        too_long = self._since is not None and now - self._since >= HOLD_S
        if whole or late or too_long:
            self._since = None
            self._kept = not (late or too_long)
            self._reached = ordered[-1][0][0]
            return Cut(ordered, ())
        out, count = self._earliest_out(), len(ordered)
        while out >= 0 and count and ordered[count - 1][0][0] > out:
            count -= 1
        if count:
            self._reached = ordered[count - 1][0][0]
            self._since = None
        if count < len(ordered) and self._since is None:
            self._since = now
        return Cut(ordered[:count], ordered[count:])


def _lease(one: Scored) -> tuple[int, ...]:
    return one[0]
