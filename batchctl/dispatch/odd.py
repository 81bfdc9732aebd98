"""The books of mini-batches with a history: their outstanding parts, and in which order those that wait are taken."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping

from batchctl.dispatch.isolate import WAITING, Part
from batchctl.model.lease import Lease


class OddParts:
    """Outstanding parts by mini-batch and first item. A waiting one is in one of two queues: `next` takes what may run
    beside others, `next_held` what must run alone; the parts of `suspects` (mini-batches) are held."""

    def __init__(self) -> None:
        self._parts: dict[int, dict[int, Part]] = {}
        self._soon: OrderedDict[int, Part] = OrderedDict()  # waiting parts by first item, in the order of taking
        self._held: OrderedDict[int, Part] = OrderedDict()
        self.suspects: set[int] = set()
        self.unclear: set[int] = set()  # first items of parts that often came back with others in the same hands

    @property
    def by_batch(self) -> Mapping[int, Mapping[int, Part]]:
        return self._parts

    @property
    def soon(self) -> int:
        """How many wait and may run beside others."""
        return len(self._soon)

    @property
    def held(self) -> int:
        """How many wait to run alone."""
        return len(self._held)

    def __iter__(self) -> Iterator[Part]:
        """All outstanding parts in plan order; make a list of them before anything is changed."""
        for batch in sorted(self._parts):
            yield from (part for _, part in sorted(self._parts[batch].items()))

    def of(self, batch: int) -> dict[int, Part]:
        """The outstanding parts of a mini-batch by first item, to be changed by the caller; empty: it is not odd."""
        return self._parts.get(batch, {})

    def at(self, lease: Lease) -> Part | None:
        """The part that begins where this lease does."""
        return self._parts.get(lease.batch, {}).get(lease.first)

    def add(self, part: Part) -> None:
        """An outstanding part, in no queue yet."""
        self._parts.setdefault(part.batch, {})[part.first] = part

    def settle_gone(self, batch: int) -> bool:
        """Forget the mini-batch if nothing of it is outstanding any more. Was that so?"""
        if self._parts[batch]:
            return False
        del self._parts[batch]
        self.suspects.discard(batch)
        return True

    def replace(self, part: Part, pieces: Iterable[Part]) -> None:
        """`pieces` stand for `part` from now on; in no queue yet."""
        self.unclear.discard(part.first)
        parts = self._parts[part.batch]
        del parts[part.first]
        parts.update((piece.first, piece) for piece in pieces)

    def enqueue(self, part: Part, *, front: bool = False) -> None:
        """It waits, behind what waits already or before it."""
        queue = self._held if part.batch in self.suspects else self._soon
        part.state = WAITING
        queue[part.first] = part
        if front:
            queue.move_to_end(part.first, last=False)

    def hold(self, batch: int) -> None:
        """The mini-batch is a suspect: what waits of it is held, what is out will be when it returns."""
        self.suspects.add(batch)
        for first, part in sorted(self.of(batch).items()):
            self.unclear.discard(first)  # it will be alone as it is
            if part.state == WAITING:
                self._soon.pop(first, None)
                self._held[first] = part

    def next(self) -> Part:
        return self._soon.popitem(last=False)[1]

    def next_held(self) -> Part:
        return self._held.popitem(last=False)[1]

    def unqueue(self) -> None:
        """Nothing waits: everything is about to be enqueued anew."""
        self._soon.clear()
        self._held.clear()
