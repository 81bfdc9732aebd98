"""How many workers there are: the foreman looks at their memory and at their pace, asks `node.growth`, and tells the
crew.

    gauge -> Reading -> growth -> opened | retired | recycled -> crew

Looks cost time on the coordinator's thread (a page-table walk per worker), so they are taken as rarely as growth
allows, and never for more than a twentieth of it. What happens between two looks may bring the next one forward: a
worker that has finished its first mini-batch is measured at once, not when the second that was agreed on is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Protocol

from batchctl.model.events import WorkerGone
from batchctl.model.node import Footprint, Reading
from batchctl.model.outcome import Shortage
from batchctl.model.progress import WorkerView
from batchctl.node.growth import Decision, Growth, Opened, Recycled, Retired
from batchctl.run.crew import Crew
from batchctl.run.roll import Roll
from batchctl.run.telling import Teller

_FIRST_LOOK_S = 0.1  # a run that is over by then is not looked at
_SHARE = 20  # after a look, the coordinator has this many times as long for everything else


class Meter(Protocol):
    """What looks at memory (node.gauge.Gauge)."""

    def read(self, workers: Iterable[WorkerView]) -> Reading:
        """What these workers and their children hold now, and what is left."""
        ...

    def close(self) -> None:
        """Nobody will look any more."""
        ...


class Foreman:
    """One per epoch; `teller` tells the user. `clock` in monotonic seconds."""

    def __init__(
        self,
        *,
        crew: Crew,
        growth: Growth,
        meter: Meter,
        roll: Roll,
        teller: Teller,
        clock: Callable[[], float],
    ) -> None:
        self._crew = crew
        self._growth = growth
        self._meter = meter
        self._roll = roll
        self._teller = teller
        self._clock = clock
        self._ready: set[int] = set()  # places whose worker has passed init()
        self._unproven: set[int] = set()  # of these, those whose worker has scored nothing yet
        self._not_before = 0.0  # when the next look is due
        self._floor = 0.0  # the earliest that it may be
        self.available = 0  # bytes of memory that were left at the last look

    def start(self, *, waiting: int) -> None:
        """The first workers, never more than mini-batches that wait."""
        now = self._clock()
        self._act(self._growth.begin(waiting=waiting, now=now))
        self._roll.sizing = self._growth.standing()
        self._not_before = self._floor = now + _FIRST_LOOK_S

    def ready(self, slot: int) -> None:
        """A worker passed init()."""
        self._ready.add(slot)
        self._unproven.add(slot)
        self._growth.ready(slot, now=self._clock())

    def scored(self, slot: int, *, run_ns: int, items: int) -> None:
        """It has scored a mini-batch (or a part)."""
        self._growth.scored(slot, run_ns=run_ns, items=items)
        if slot in self._unproven:  # it is to be measured now, not a second later
            self._unproven.discard(slot)
            self._hasten()

    def is_fresh(self, slot: int) -> bool:
        """Has its worker passed init() and scored nothing yet? One that has may have grown."""
        return slot in self._unproven

    def gone(self, event: WorkerGone) -> None:
        """Its process has ended; unless its place is given up by this, the crew begins another."""
        if event.shortage is not Shortage.NONE:
            self.starved(event.slot, in_init=event.slot not in self._ready)
        self._ready.discard(event.slot)
        self._unproven.discard(event.slot)
        self._growth.gone(event.slot, now=self._clock())
        self._hasten()

    def keep_one(self) -> None:
        """What is left is to have the machine to itself, and whoever scores it."""
        for slot in self._crew.keep_one():
            self._growth.given_up(slot, now=self._clock())

    def given_up(self, slot: int) -> None:
        """Its `init()` failed too often."""
        self._growth.given_up(slot, now=self._clock())

    @property
    def most(self) -> int:
        """Workers at one time, the most there were."""
        return self._crew.most

    def starved(self, slot: int, *, in_init: bool, gpu: bool = False) -> bool:
        """The kernel killed it for memory, or (`gpu`) CUDA had none left for it. Is its place given up by this?"""
        decisions = self._growth.starved(slot, in_init=in_init, now=self._clock(), gpu=gpu)
        self._act(decisions)
        return any(isinstance(one, Retired) and one.slot == slot for one in decisions)

    def due_in(self, now: float) -> float:
        """Seconds until the next look."""
        return max(0.0, self._not_before - now)

    def look(self, *, waiting: int, shareable: int) -> None:
        """If it is time: look, and act upon what is seen. `waiting`: mini-batches not handed out; `shareable`: those of
        them that several workers may share. What has to run alone needs somebody, and nobody beside him."""
        began = self._clock()
        if began < self._not_before:
            return
        reading = self._meter.read(self._roll.workers())
        self._roll.take(reading)
        self.available = reading.available
        wanted = shareable if self._crew.live else waiting
        self._act(self._growth.look(reading, waiting=wanted, now=began))
        self._roll.sizing = self._growth.standing()
        ended = self._clock()
        self._floor = ended + _SHARE * (ended - began)
        self._not_before = max(self._floor, began + self._growth.look_in(now=began))

    def _hasten(self) -> None:
        """Something has happened that growth may want to look at sooner than it did at the last look."""
        now = self._clock()
        self._not_before = max(self._floor, min(self._not_before, now + self._growth.look_in(now=now)))

    @property
    def footprint(self) -> Footprint | None:
        """What a worker was seen to need."""
        return self._growth.footprint

    def reasons(self) -> tuple[str, ...]:
        """Why there were as many workers as there were, in words."""
        return self._growth.reasons()

    def held_back(self) -> str:
        """Why there were no more, where cpus and work would have allowed them; "" where they did not."""
        return self._growth.held_back(self._crew.most)

    def warnings(self) -> tuple[str, ...]:
        """What was measured and speaks against the number of workers that was asked for."""
        return tuple(line.removeprefix("warning: ") for line in self._growth.told.of("warning"))

    def rest(self) -> None:
        """The run winds down: the crew is as large as it will be."""
        self._not_before = self._floor = inf

    def close(self) -> None:
        """No more looks; may be called twice."""
        self._meter.close()

    def _act(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Opened(slot, why):
                    self._teller.note(f"worker {slot} is started: {why}", level="debug")
                    self._crew.open(slot)
                case Retired(slot, why, now):
                    self._teller.note(f"worker {slot} is retired: {why}", level="warning")
                    self._crew.retire(slot, now=now)
                case Recycled(slot, why):
                    self._teller.note(f"worker {slot} is replaced by a fresh one: {why}", level="warning")
                    self._crew.recycle(slot)
