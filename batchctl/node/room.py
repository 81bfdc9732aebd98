"""Is there room for one more worker, by what workers were seen to need? Pure.

Everybody who is there is expected to reach the largest peak that was seen, whatever it holds now: a worker between two
large files looks small. So room for the next is

    available - reserve - sum over workers of (need - what it holds now)

and it has to be 1.1 x need; a quarter more for every worker that was killed for memory, because then the peak that was
seen was not all. The same for a GPU, without a reserve: what is free on it belongs to nobody.
"""

from __future__ import annotations

from batchctl.model.node import Footprint, Reading, WorkerMemory
from batchctl.named_tuple import NamedTuple
from batchctl.node.places import Place, Places
from batchctl.node.told import number, ordinal, size

MARGIN = 1.1
MORE_MARGIN = 0.25  # for each worker that was killed for memory
MOST_MARGIN = 2.1


class Need:
    """What one worker needs at its peak, as far as anybody knows by now."""

    __slots__ = ("_assumed", "_gpu", "_killed", "_killed_on_gpu", "_memory", "sure")

    def __init__(self, assumed: Footprint) -> None:
        self._assumed = assumed
        self._memory = 0
        self._gpu: int | None = None
        self._killed = 0
        self._killed_on_gpu = 0
        self.sure = 0  # workers on which it was measured

    def see(self, held: WorkerMemory) -> None:
        self._memory = max(self._memory, held.peak, held.pss)
        if held.gpu:  # 0: not yet on the GPU, or of another process
            self._gpu = max(self._gpu or 0, held.gpu)

    def was_killed(self, *, gpu: bool) -> None:
        """For memory, of the machine or of its GPU: it needed more than anybody saw."""
        self._killed += not gpu
        self._killed_on_gpu += gpu

    @property
    def margin(self) -> float:
        return min(MARGIN + MORE_MARGIN * self._killed, MOST_MARGIN)

    @property
    def gpu_margin(self) -> float:
        return min(MARGIN + MORE_MARGIN * self._killed_on_gpu, MOST_MARGIN)

    @property
    def footprint(self) -> Footprint | None:
        """What was measured; None where no worker has been measured at work."""
        return Footprint(self._memory, self._gpu) if self.sure and self._memory else None

    @property
    def expected(self) -> Footprint:
        """What to reckon with. What another run remembers is a floor: files that are to come may be as large."""
        known, assumed = self.footprint, self._assumed
        if known is None:
            return assumed._replace(memory=max(assumed.memory, self._memory), gpu=self._gpu or assumed.gpu)
        if assumed.source == "remembered":
            gpu = max(known.gpu or 0, assumed.gpu or 0) or None
            if assumed.memory > known.memory:
                return Footprint(assumed.memory, gpu, "remembered")
            return known._replace(gpu=gpu)
        return known


class Room(NamedTuple):
    """The memory of the node, divided among `workers` of `need` bytes: `budget` is what they and others may hold."""

    budget: int
    need: Footprint
    workers: int
    left: int  # of it, once everybody has reached the need
    measured_on: int = 0

    def fits(self, margin: float) -> bool:
        return self.left >= self.need.memory * margin

    @property
    def share(self) -> int:
        return self.budget // max(1, self.workers)

    def each(self) -> str:
        """What one worker needs, in words."""
        if self.need.source != "measured":
            return f"{size(self.need.memory)} each ({self.need.source})"
        return f"{size(self.need.memory)} each (measured, peak of {number(self.measured_on, 'worker')})"

    def warning(self, asked: int) -> str:
        """That so many workers do not fit, in words; "" where they do."""
        if self.need.memory * asked <= self.budget:
            return ""
        free = size(max(0, self.budget))
        subject, whom = ("1 worker does", "it") if asked == 1 else (f"{asked} workers do", "them")
        return f"warning: {subject} not fit: {free} of memory are free for {whom}, {self.each()}"

    def words(self) -> str:
        after = self.budget - (self.workers + 1) * self.need.memory
        verdict = f"would leave {size(after)}" if after >= 0 else f"would be {size(-after)} short"
        free = f"memory {size(max(0, self.budget))} free for them / {self.each()}"
        return f"{free}; a {ordinal(self.workers + 1)} {verdict}"


def room_of(reading: Reading, places: Places, need: Need, *, reserve: int) -> Room:
    live = places.live
    expected = need.expected
    free = reading.available - reserve
    held = sum(place.held.pss for place in live if place.held)
    coming = sum(place.still_to_come(expected.memory) for place in live)
    return Room(free + held, expected, len(live), free - coming, need.sure)


def gpu_refuses(place: Place, places: Places, reading: Reading, need: Need) -> str:
    """Why this place's GPU bears no further worker, in words; "" where it does, or the place has no GPU."""
    gpu = place.slot.gpu
    if not gpu:
        return ""
    neighbours = places.neighbours(place)
    each, free = need.expected.gpu, reading.gpu_free.get(gpu)
    if each is None or free is None:
        if not neighbours:
            return ""
        unknown = "what a worker holds on it" if each is None else "what is free on it"
        return f"{gpu}: no second worker, {unknown} cannot be told"
    left = free - sum(other.still_to_come_on_gpu(each) for other in neighbours)
    if left >= each * need.gpu_margin:
        return ""
    workers = number(len(neighbours), "worker")
    return f"{gpu}: {workers}, {size(max(0, left))} are left on it / {size(each)} each"
