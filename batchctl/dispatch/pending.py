"""What the file queue tells about itself: counts, and what is left with its history."""

from __future__ import annotations

from collections.abc import Container, Mapping

from batchctl.dispatch.isolate import WAITING, Part
from batchctl.model.lease import Lease
from batchctl.named_tuple import NamedTuple


class Counts(NamedTuple):
    """Where the run stands. `waiting` and `leased` count leases (mini-batches or parts), suspects included; `unclear`
    those that often came back with others of the same worker: where there are any, none is to hold more than one."""

    items: int
    ok: int
    failed: int  # elements that a successful run() did not return
    quarantined: int
    batches: int
    done: int
    waiting: int
    leased: int
    unclear: int = 0


class PendingPart(NamedTuple):
    """Outstanding work with a history: a retry, a returned lease, a part, or a suspect."""

    lease: Lease  # the next one, or the one that is out
    charges: int
    suspect: bool
    leased: bool
    cause: tuple[str, str, str] | None


class Pending(NamedTuple):
    """What is left: mini-batches never handed out, leases out that have no history, and all that has one."""

    fresh: int
    leased: int
    parts: tuple[PendingPart, ...]


def told(part: Part, *, suspect: bool) -> PendingPart:
    """A part of the queue, as others may see it."""
    cause = part.failure.cause if part.failure else None
    return PendingPart(part.lease(), part.charges, suspect, part.state != WAITING, cause)


def pending_of(odd: Mapping[int, Mapping[int, Part]], suspects: Container[int], *, fresh: int, leased: int) -> Pending:
    """What is left, from the queue's own books: `odd` are its parts by mini-batch and first item."""
    parts = [part for batch in sorted(odd) for _, part in sorted(odd[batch].items())]
    out = sum(part.state != WAITING for part in parts)
    described = tuple(told(part, suspect=part.batch in suspects) for part in parts)
    return Pending(fresh=fresh, leased=leased - out, parts=described)
