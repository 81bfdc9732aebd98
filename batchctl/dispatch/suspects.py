"""Which mini-batches may have taken the whole machine down.

A mini-batch that was in flight when the coordinator died together with the machine (the next epoch has another boot
id, and the epoch was not closed) is innocent once: a machine crashes for many reasons. Twice makes it a suspect, to be
run alone and last, so that the rest of the job is safe by then. A coordinator that died alone says nothing.
"""

from __future__ import annotations

from batchctl.model.records import EpochClosed, EpochOpened

CRASHES_TO_SUSPECT = 2


class CrashWatch:
    """Follows the checkpoint log from its start and names the suspects. Keeps only the claims of the open epoch."""

    __slots__ = ("_boot_id", "_crashes", "_open")

    def __init__(self) -> None:
        self._open: dict[int, int] = {}  # first item of a claim without an outcome -> its mini-batch
        self._crashes: dict[int, int] = {}
        self._boot_id = ""

    def claimed(self, batch: int, *, first: int) -> None:
        self._open[first] = batch

    def resolved(self, first: int) -> None:
        """The claim that begins at this item has an outcome of any kind."""
        self._open.pop(first, None)

    def epoch(self, record: EpochOpened | EpochClosed) -> None:
        """An epoch began or was closed. An unknown ("") boot id proves nothing."""
        if isinstance(record, EpochOpened):
            if self._boot_id and record.boot_id and record.boot_id != self._boot_id:
                for batch in set(self._open.values()):
                    self._crashes[batch] = self._crashes.get(batch, 0) + 1
            self._boot_id = record.boot_id
        self._open.clear()

    def suspects(self) -> tuple[int, ...]:
        """Mini-batches in flight at two or more machine crashes, in plan order; some may be done by now."""
        return tuple(sorted(b for b, crashes in self._crashes.items() if crashes >= CRASHES_TO_SUSPECT))
