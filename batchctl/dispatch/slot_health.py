"""When a worker is recycled, when a slot is closed, and when failing `init()`s end the run.

- Until one worker has passed `init()`, the first failure of any worker's ends the run: the script is at fault, and the
  user should see its traceback now and not after an hour of attempts.
- Later, three failed `init()`s of one slot in a row close that slot; the last slot closed ends the run.
- Ten charged attempts in a row recycle the worker: its state may be what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

FAILED_ATTEMPTS_TO_RECYCLE = 10
FAILED_INITS_TO_CLOSE = 3


class InitDecision(StrEnum):
    """What a failed `init()` leads to. END_RUN is exit 4."""

    RESTART = "restart"
    CLOSE_SLOT = "close slot"
    END_RUN = "end run"


class SlotHealth:
    """The recent luck of each open slot. Lives for one epoch."""

    __slots__ = ("_any_passed", "_attempts", "_inits")

    def __init__(self, slots: Iterable[int]) -> None:
        self._inits = dict.fromkeys(slots, 0)  # open slots -> failed init()s in a row
        self._attempts = dict.fromkeys(self._inits, 0)  # failed attempts in a row
        self._any_passed = False

    @property
    def open_slots(self) -> tuple[int, ...]:
        return tuple(self._inits)

    def opened(self, slot: int) -> None:
        """A slot was added (or opened again): it starts in good health."""
        self._inits[slot] = self._attempts[slot] = 0

    def retired(self, slot: int) -> None:
        """A slot was given up for a reason other than its health (memory pressure, drain)."""
        self._inits.pop(slot, None)
        self._attempts.pop(slot, None)

    def init_passed(self, slot: int) -> None:
        self._any_passed = True
        if slot in self._inits:
            self._inits[slot] = self._attempts[slot] = 0

    def init_failed(self, slot: int) -> InitDecision:
        """The worker is gone; may the slot have another? Every failure after END_RUN is END_RUN too."""
        if not self._any_passed:
            return InitDecision.END_RUN
        failures = self._inits.get(slot, FAILED_INITS_TO_CLOSE - 1) + 1
        if failures < FAILED_INITS_TO_CLOSE:
            self._inits[slot] = failures
            return InitDecision.RESTART
        self.retired(slot)
        return InitDecision.CLOSE_SLOT if self._inits else InitDecision.END_RUN

    def attempt_scored(self, slot: int) -> None:
        # On the hot path: once per mini-batch, and nearly always a no-op.
        if self._attempts.get(slot):
            self._attempts[slot] = 0

    def attempt_failed(self, slot: int, *, died: bool = False) -> bool:
        """Is the worker to be recycled? `died`: it is gone already, and its successor starts in good health."""
        failures = 0 if died else self._attempts.get(slot, 0) + 1
        if slot in self._attempts:
            self._attempts[slot] = failures % FAILED_ATTEMPTS_TO_RECYCLE
        return failures >= FAILED_ATTEMPTS_TO_RECYCLE
