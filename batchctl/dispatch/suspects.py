"""Which mini-batches may have taken the whole machine down, and which one has.

A mini-batch that was in flight when the coordinator died together with the machine (the next epoch has another boot
id, and the epoch was not closed) is innocent once: a machine crashes for many reasons. Twice makes it a suspect, to be
run alone and last, so that the rest of the job is safe by then. Where the machine goes down once more while a suspect
is the only lease that is out, that one is guilty: it is charged, or the job would never end. A coordinator that died
alone says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from batchctl.model.lease import Lease
from batchctl.model.outcome import MACHINE_DOWN, Failure, FailureKind
from batchctl.model.records import EpochClosed, EpochOpened

CRASHES_TO_SUSPECT = 2
_first = itemgetter(1)
_first_and_attempt = itemgetter(1, 3)


class CrashWatch:
    """Follows the checkpoint log from its start and names suspects and guilty leases. Keeps only the claims of the open
    epoch."""

    __slots__ = ("_alone", "_boot_id", "_crashes", "_guilty", "_open")

    def __init__(self) -> None:
        self._open: dict[int, Sequence[int]] = {}  # claims without an outcome (fields of Lease), by their first items
        self._crashes: dict[int, int] = {}
        self._guilty: dict[int, Lease] = {}  # not charged yet, by first items
        self._alone: Lease | None = None
        self._boot_id = ""

    def claimed(self, leases: Sequence[Sequence[int]]) -> None:
        """These (fields of Lease) were handed out, in this order. A suspect is handed out only when nothing else is
        out; whatever the log left open came back before."""
        self._open.update(zip(map(_first, leases), leases, strict=True))
        for last in leases[-1:]:
            self._alone = Lease(*last) if self._crashes.get(last[0], 0) >= CRASHES_TO_SUSPECT else None

    def committed(self, records: Sequence[Sequence[int]]) -> None:
        """These commits (fields of Committed) are outcomes of what was claimed."""
        claims = self._open
        for first, attempt in map(_first_and_attempt, records):
            claim = claims.pop(first, None)
            if claim is not None and claim[3] > attempt:  # the next attempt's claim was written first
                claims[first] = claim
        if self._guilty:
            for first, attempt in map(_first_and_attempt, records):
                self._acquit(first, attempt=attempt)

    def resolved(self, first: int, *, attempt: int) -> None:
        """The claim of this attempt on the items from `first` has another outcome."""
        if first in self._open and self._open[first][3] <= attempt:
            del self._open[first]
        self._acquit(first, attempt=attempt)

    def _acquit(self, first: int, *, attempt: int) -> None:
        if first in self._guilty and self._guilty[first].attempt <= attempt:
            del self._guilty[first]

    def epoch(self, record: EpochOpened | EpochClosed) -> None:
        """An epoch began or was closed. An unknown ("") boot id proves nothing."""
        if isinstance(record, EpochOpened):
            if self._boot_id and record.boot_id and record.boot_id != self._boot_id:
                for batch in {claim[0] for claim in self._open.values()}:
                    self._crashes[batch] = self._crashes.get(batch, 0) + 1
                if self._alone is not None and self._open.get(self._alone.first) == self._alone:  # as tuples
                    self._guilty[self._alone.first] = self._alone
            self._boot_id = record.boot_id
        self._open.clear()
        self._alone = None

    def suspects(self) -> tuple[int, ...]:
        """Mini-batches in flight at two or more machine crashes, in plan order; some may be done by now."""
        return tuple(sorted(b for b, crashes in self._crashes.items() if crashes >= CRASHES_TO_SUSPECT))

    def guilty(self) -> tuple[Lease, ...]:
        """Leases of suspects that were out alone when the machine went down, and that the log does not charge yet."""
        return tuple(self._guilty.values())


def machine_down() -> Failure:
    """How a guilty lease failed."""
    told = "took the machine down: it went down twice with this in flight, and again when nothing else was running"
    return Failure(FailureKind.LOST, MACHINE_DOWN, told, phase="run")
