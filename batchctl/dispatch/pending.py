"""What the file queue tells about itself: counts, and what is left with its history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from batchctl.dispatch.isolate import WAITING, Part
from batchctl.model.lease import Lease


class Counts(NamedTuple):
    """Where the run stands. `waiting` and `leased` count leases (mini-batches or parts), suspects included."""

    items: int
    ok: int
    failed: int  # elements that a successful run() did not return
    quarantined: int
    batches: int
    done: int
    waiting: int
    leased: int


class PendingPart(NamedTuple):
    """Outstanding work with a history: a retry, a returned lease, a part, or a suspect."""

    lease: Lease  # the next one, or the one that is out
    charges: int
    suspect: bool
    leased: bool
    cause: tuple[str, str, str] | None


@dataclass(frozen=True, slots=True)
class Pending:
    """What is left: mini-batches never handed out, leases out that have no history, and all that has one."""

    fresh: int
    leased: int
    parts: tuple[PendingPart, ...]


def told(part: Part, *, suspect: bool) -> PendingPart:
    """A part of the queue, as others may see it."""
    cause = part.failure.cause if part.failure else None
    return PendingPart(part.lease(), part.charges, suspect, part.state != WAITING, cause)
