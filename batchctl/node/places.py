"""The places of a node and what is in each: the memory of `growth`, without its rules. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from batchctl.model.node import Slot, WorkerMemory
from batchctl.node.leak import Leak


class State(Enum):
    """What is in a place. Those in LIVE have a worker, or are about to."""

    CLOSED = "closed"  # never opened
    STARTING = "starting"  # its worker is in init(), or is being started
    READY = "ready"
    RETIRING = "retiring"  # told to go, not gone
    RETIRED = "retired"  # may be opened again
    GIVEN_UP = "given up"  # by the caller; never opened again


LIVE = (State.STARTING, State.READY)
CAN_OPEN = (State.CLOSED, State.RETIRED)


class Place:
    """One place. What is said of a worker is said of the present one."""

    __slots__ = (
        "awaited", "confirmed", "crew", "dead", "held", "index", "killed", "leak", "past", "peak",
        "recycled", "recycling", "scored", "since", "slot", "state", "vacant",
    )  # fmt: skip

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.index = slot.index
        self.state = State.CLOSED
        self.dead = -1  # incarnations up to this one have ended: a late reading of them says nothing
        self.recycled = 0  # how many of its workers were recycled
        self.past: WorkerMemory | None = None  # the last reading of the worker before
        self.start(0.0)

    def start(self, now: float) -> None:
        """A worker begins; the state is the caller's."""
        self.since = now
        self.scored = 0  # mini-batches
        self.crew = -1  # the change of crew after which this worker has finished something
        self.confirmed = False
        self.awaited = False  # has finished its first mini-batch, and was not looked at since
        self.recycling = False
        self.killed = False  # told to go at once
        self.vacant = False  # its worker has ended, and nobody has seen the next one
        self.held: WorkerMemory | None = None  # the last reading
        self.peak = 0
        self.leak = Leak(doublings=self.recycled)

    def ended(self) -> None:
        if self.held is not None:
            self.dead = max(self.dead, self.held.incarnation)
        self.past = self.held

    def see(self, held: WorkerMemory) -> None:
        self.held = held
        self.peak = max(self.peak, held.peak, held.pss)
        self.vacant = False

    def still_to_come(self, need: int) -> int:
        """Bytes that this worker is still expected to take, if it needs `need` at its peak."""
        return max(0, need - self.held.pss) if self.held else need

    def still_to_come_on_gpu(self, need: int) -> int:
        return max(0, need - (self.held.gpu or 0)) if self.held else need


class Places:
    """All places of the node, by index."""

    __slots__ = ("_all", "_by_index")

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._all = tuple(Place(slot) for slot in slots)
        self._by_index = {place.index: place for place in self._all}

    def __getitem__(self, index: int) -> Place:
        return self._by_index[index]

    def __len__(self) -> int:
        return len(self._all)

    def find(self, index: int) -> Place | None:
        return self._by_index.get(index)

    def among(self, states: Iterable[State]) -> list[Place]:
        return [place for place in self._all if place.state in states]

    @property
    def live(self) -> list[Place]:
        """Those with a worker that is not on its way out."""
        return self.among(LIVE)

    def neighbours(self, place: Place) -> list[Place]:
        """Others with a worker on the GPU of this one; none where it has no GPU."""
        gpu = place.slot.gpu
        return [other for other in self.live if gpu and other is not place and other.slot.gpu == gpu]


def youngest(places: Sequence[Place]) -> Place:
    """Who loses least by going: one in init() before all others, then whose worker began last."""
    return max(places, key=lambda place: (place.state is State.STARTING, place.since, place.index))
