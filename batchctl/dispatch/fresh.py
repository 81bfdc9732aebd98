"""The mini-batches that nobody has had yet: handed out in plan order, or in an order that is given.

A million of them cost a byte each (the queue's) and, with an order, four more (the caller's). No object each.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from batchctl.model.lease import Lease
from batchctl.model.records import failed_of, ok_of

# States of a mini-batch that are known here. FRESH must be 0: a new bytearray is all fresh and find(0) is the step in
# plan order. No mini-batch becomes fresh again.
FRESH, TAKEN = 0, 1

# Half the time of Lease(...), once per mini-batch.
_new_lease = tuple.__new__


class FreshBatches:
    """A cursor over the states of a queue. `left` is how many are fresh: who takes one away from here counts it off."""

    __slots__ = ("_bounds", "_cursor", "_order", "_state", "left")

    def __init__(self, bounds: Sequence[int], state: bytearray, *, order: Sequence[int] | None = None) -> None:
        """`state` is the queue's, a byte for each mini-batch, all FRESH. `order`: all numbers of mini-batches, each
        once, as they are to be handed out; None: plan order. `bounds` and `order` are kept, never copied."""
        if order is not None and len(order) != len(state):
            raise ValueError(f"an order of {len(order)} for {len(state)} mini-batches")
        self._bounds = bounds
        self._state = state
        self._order = order
        self._cursor = 0  # nothing fresh lies before it, in plan order or in `order`
        self.left = len(state)

    def next(self) -> int:
        """The number of the next one, which stays where it is; there is one left."""
        state, order, at = self._state, self._order, self._cursor
        if order is None:
            at = state.find(FRESH, at)
        else:
            while state[order[at]] != FRESH:
                at += 1
        self._cursor = at
        return at if order is None else order[at]

    def conclude(self, records: Sequence[tuple[int, ...]], *, state: int) -> tuple[list[tuple[int, ...]], int, int]:
        """Of these commits (fields of Committed), those of whole mini-batches that are fresh are taken into account:
        their mini-batches have `state` from now on. Returns the others, and how many items of all are ok and failed."""
        states, bounds, n = self._state, self._bounds, len(self._state)
        others: list[tuple[int, ...]] = []
        for record in records:
            batch, first, count, _, _, _, _, _, _, _ = record
            fresh = batch < n and states[batch] == FRESH
            if fresh and first == bounds[batch] and first + count == bounds[batch + 1]:
                states[batch] = state
            else:
                others.append(record)
        self.left -= len(records) - len(others)
        return others, sum(map(ok_of, records)), sum(map(failed_of, records))

    def take(self, n: int) -> list[Lease]:
        """The next `n` of them, all that are left where those are fewer; they are TAKEN from now on."""
        if n > self.left:  # noqa: PLR1730  min() is a tenth of all this
            n = self.left
        state, bounds, order, at = self._state, self._bounds, self._order, self._cursor
        leases: list[Lease] = []
        if order is None and n:
            at = state.find(FRESH, at)
            end = at + n
            if state.count(FRESH, at, end) == n:  # as nearly always: nothing in between has a history
                cuts = bounds[at : end + 1]
                leases = [
                    _new_lease(Lease, (batch, first, following - first, 1))
                    for batch, (first, following) in enumerate(pairwise(cuts), at)
                ]
                state[at:end] = bytes((TAKEN,)) * n
                self._cursor = end
                self.left -= n
                return leases
        for _ in range(n):
            if order is None:
                batch = at = state.find(FRESH, at)
            else:
                while state[order[at]] != FRESH:
                    at += 1
                batch = order[at]
            first = bounds[batch]
            leases.append(_new_lease(Lease, (batch, first, bounds[batch + 1] - first, 1)))
            state[batch] = TAKEN
            at += 1
        self._cursor = at
        self.left -= n
        return leases
