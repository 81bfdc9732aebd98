"""How large the crew is, and why it is no larger, in words for status and summary. Pure."""

from __future__ import annotations

from enum import StrEnum

from batchctl.model.node import Sizing
from batchctl.node.room import Room
from batchctl.node.told import number


class Why(StrEnum):
    """Why no further place is opened, where no figures belong to it."""

    ALL_OPEN = "all places are open"
    AS_ASKED = "as asked"
    NONE_LEFT = "no place is left to be opened"
    NO_WORK = "no more mini-batches are waiting"
    NONE_FINISHED = "none had finished a mini-batch yet"
    OTHERS_UNFINISHED = "the others had yet to finish a mini-batch"
    LEAVING = "one is leaving"
    UNPROVEN = "whether the last ones were of use was not known yet"
    NO_GPU = "no GPU bears another"
    IN_VAIN = "throughput did not rise any more"


# These would have passed had there been more work or more time, or were told of when they came about: nobody
# needs to hear of them unasked. What names figures (memory, a GPU) is not of this list.
_PASSING = frozenset(Why) - {Why.NO_GPU, Why.IN_VAIN}


class Standing:
    """What was last found when one more worker was thought of."""

    __slots__ = ("_bound", "_places", "_scarce", "ended", "room")

    def __init__(self, sizing: Sizing) -> None:
        self._places = len(sizing.slots)
        self._bound = sizing.bound
        self._scarce = sizing.scarce
        self.ended = ""  # why no further place was opened; "" before that was asked
        self.room: Room | None = None  # the memory at that time

    def full(self, workers: int, *, auto: bool) -> None:
        """No place can be opened."""
        every = Why.ALL_OPEN if auto else Why.AS_ASKED
        self.ended = every if workers == self._places else Why.NONE_LEFT

    def reason(self, *, measured: bool) -> tuple[str, ...]:
        """The line of the summary; none where there is nothing to say."""
        room = self.room
        if not self.ended or (self.ended == Why.AS_ASKED and not measured):  # sizing has said so already
            return ()
        if room is None:
            return (f"no more: {self.ended}",)
        known = f"; {room.each()}" if measured and "/" not in self.ended else ""
        return (f"{number(room.workers, 'worker')}: {self.ended}{known}",)

    def now(self, workers: int) -> str:
        """So many workers of so many places, and what stands against more."""
        why = self._bound if workers >= self._places else self.ended or Why.NONE_FINISHED
        of = f"{workers} of {number(self._places, 'place')}"
        return f"{of}: {why}" if why else of

    def held_back(self, most: int) -> str:
        """Why there were never more than `most` workers where there was work for more; "" where nothing but cpus, work
        and time were wanting."""
        if most >= self._places:
            return self._bound if self._scarce else ""
        return "" if self.ended in _PASSING else self.ended
