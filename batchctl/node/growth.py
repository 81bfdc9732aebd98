"""Growing and shrinking a crew by what is seen of it. Pure: readings and the time are arguments, decisions come out.

`Growth` is told what happens (begin, ready, scored, gone, starved) and shown readings (look); what it answers is to be
done by the caller at once: open a place, retire a worker, recycle one. docs/sizing.md states the rules.

A place is closed, starting, ready, retiring (told to go, not gone) or retired. A worker that is gone without having
been retired is started again by the caller, and nobody is asked: the place stays open, and that is no growth. A worker
that never comes back has to be reported by `given_up`. As long as work waits at least one place is open.
"""

from __future__ import annotations

from batchctl.model.node import Footprint, Reading, Sizing
from batchctl.node.decisions import KINDS, Decision, Opened, Recycled, Retired
from batchctl.node.haste import SOONEST_S, Haste
from batchctl.node.places import CAN_OPEN, LIVE, Place, Places, State, youngest
from batchctl.node.pressure import SETTLE_S, Pressure, Quiet, Relief
from batchctl.node.room import Need, Room, gpu_refuses, room_of
from batchctl.node.standing import Standing, Why
from batchctl.node.throughput import Throughput
from batchctl.node.told import Told, size
from batchctl.node.words import NO_GPU_MEMORY, growth_words, shortage_words, stop_words

# With fewer mini-batches per place, to wait for proof that workers are of use costs more than one too many of them.
PATIENCE = 20

__all__ = ["Decision", "Growth", "Opened", "Recycled", "Retired"]


class Growth:
    """The crew of one epoch. `auto`: few start and more follow; else all places are opened, as asked. `reserve`: bytes
    that are left to others. `assumed`: what a worker is taken to need until one was measured.

    Not thread-safe. Unknown places raise KeyError; an event that does not fit a place's state changes nothing.
    """

    def __init__(self, sizing: Sizing, *, auto: bool, reserve: int, assumed: Footprint) -> None:
        self._places = Places(sizing.slots)
        self._first = max(1, sizing.first) if auto else len(sizing.slots)
        self._auto = auto
        self._reserve = reserve
        self._need = Need(assumed)
        self._pressure = Pressure(reserve)
        self._quiet = Quiet()
        self._haste = Haste(reserve)
        self._throughput = Throughput()
        self.told = Told(KINDS)  # what happened, for the user
        self._crew = 0  # ready workers that are not on their way out
        self._change = 0  # how often that has changed
        self._calm_from = 0.0  # before that nobody is retired: what the last one held is not yet seen to be free
        self._most = len(sizing.slots)  # places that may be open; fewer once throughput has stopped rising
        self._looked: float | None = None
        self._standing = Standing(sizing)

    # What happens

    def begin(self, *, waiting: int, now: float) -> list[Decision]:
        """The first wave; `waiting` mini-batches wait."""
        count = min(self._first, waiting, len(self._places))
        if count == waiting < len(self._places):
            self._standing.ended = Why.NO_WORK
        if not self._auto:
            why = str(Why.AS_ASKED)
        elif count > 1:
            why = f"first wave of {count}, {self._need.expected.source} {size(self._need.expected.memory)} each"
        else:
            why = "pilot"
        return [self._open(place, why, now=now) for place in self._places.among((State.CLOSED,))[:count]]

    def ready(self, slot: int, *, now: float) -> None:
        """Its worker has passed `init()`. (`now` is part of the protocol: nothing depends on it yet.)"""
        place = self._places[slot]
        if place.state is State.STARTING:
            place.vacant = False
            place.state = State.READY
            self._crew_changed()

    def scored(self, slot: int, *, run_ns: int, items: int) -> None:
        """Its worker has finished a mini-batch. The hot path."""
        place = self._places[slot]
        if place.state is not State.READY:
            return
        place.scored += 1
        if place.scored == 1:
            place.awaited = True
        if place.crew == self._change:
            self._throughput.add(self._crew, run_ns=run_ns, items=items)
        else:  # its first one, or begun while the crew was another
            place.crew = self._change

    def gone(self, slot: int, *, now: float) -> None:
        """Its worker has ended, whatever the reason."""
        place = self._places[slot]
        was, state = place.state, State.RETIRED
        if was in LIVE:
            state = State.STARTING  # the caller starts another
        elif was is not State.RETIRING:
            return
        place.ended()
        place.start(now)
        place.state = state
        if state is State.STARTING:
            place.vacant = True
        else:
            self._calm_from = now + SETTLE_S
            self._quiet.disturbed(now)
        if was is State.READY:
            self._crew_changed()

    def given_up(self, slot: int, *, now: float) -> None:
        """The caller starts no worker here any more (its `init()` fails again and again)."""
        place = self._places[slot]
        place.ended()
        place.start(now)
        place.state = State.GIVEN_UP
        self._crew_changed()

    def starved(self, slot: int, *, in_init: bool, now: float, gpu: bool = False) -> list[Decision]:
        """Its worker was killed for memory; to be reported before `gone`. Or, with `gpu`, it ran out of GPU memory
        (it lives, unless that was in `init()`).

        The place is retired where another worker is left, be it on another GPU. With `gpu` in run() it is the youngest
        neighbour on the GPU that has to go, and the worker itself is recycled.
        """
        place = self._places[slot]
        held = place.past if place.vacant else place.held
        if held is not None:
            self._need.see(held)  # it needed at least that
            self._need.sure = max(self._need.sure, 0 if gpu else 1)
        self._need.was_killed(gpu=gpu)
        self._quiet.disturbed(now)
        why = shortage_words(held, in_init=in_init, gpu=gpu)
        if gpu and not in_init:
            self.told.add("starved", f"worker {slot} {why}")
            return self._make_room_on_gpu(place, f"it {NO_GPU_MEMORY}", now=now)
        rivals = [other for other in self._places.live if other is not place]
        if not rivals or place.state not in LIVE:
            self.told.add("starved", f"worker {slot} {why}")
            return []
        vacant = place.vacant
        decision = self._retire(place, f"it {why}", now=now, kill=True)
        if vacant:  # its end was reported before
            place.start(now)
            place.state = State.RETIRED
        return [decision]

    def _make_room_on_gpu(self, place: Place, why: str, *, now: float) -> list[Decision]:
        decisions: list[Decision] = []
        if place.state is State.READY and not place.recycling:
            place.recycling = True
            decisions.append(Recycled(place.index, why))
        neighbours = self._places.neighbours(place)
        if neighbours:
            reason = f"its neighbour on {place.slot.gpu}, worker {place.index}, ran out of GPU memory"
            decisions.append(self._retire(youngest(neighbours), reason, now=now, kill=False))
        return decisions

    # What is seen

    def look(self, reading: Reading, *, waiting: int, now: float) -> list[Decision]:
        """What to do after this reading; `waiting` mini-batches are with nobody."""
        self._looked = now
        self._haste.see(reading.available, now=now)
        for place in self._places.live:
            place.awaited = False
        self._see(reading)
        room = room_of(reading, self._places, self._need, reserve=self._reserve)
        relief = self._pressure.look(reading.available, reading.stalled)
        if reading.available < self._reserve:
            self._quiet.disturbed(now)
        if relief is not None:
            self._quiet.disturbed(now)
            decisions = self._relieve(relief, now=now)
            if decisions:
                return decisions
        self._warn(room)
        decisions = self._recycle(room)
        if waiting > 0:
            decisions += self._grow(reading, waiting=waiting, now=now)
        return decisions

    def _see(self, reading: Reading) -> None:
        for held in reading.workers:
            place = self._places.find(held.slot)
            if place is None or held.incarnation <= place.dead:
                continue
            if place.state in LIVE or place.state is State.RETIRING:
                place.see(held)
                self._need.see(held)
            if place.state is State.READY and place.scored:
                if not place.confirmed:
                    place.confirmed = True
                    self._need.sure += 1
                place.leak.see(held.pss, place.scored)

    def _relieve(self, relief: Relief, *, now: float) -> list[Decision]:
        leaving = self._places.among((State.RETIRING,))
        if leaving:  # one at a time; but who leaves slowly is made to leave
            late = [place for place in leaving if relief.now and not place.killed]
            for place in late:
                place.killed = True
            return [Retired(place.index, relief.why, True) for place in late]
        live = self._places.live
        if len(live) < 2 or now < self._calm_from:
            return []
        chosen = youngest(live)
        # In init() it has nothing in hand that could be lost, and takes more with every moment.
        return [self._retire(chosen, relief.why, now=now, kill=relief.now or chosen.state is State.STARTING)]

    def _recycle(self, room: Room) -> list[Decision]:
        live = self._places.live
        if any(place.recycling or (place.recycled and place.state is State.STARTING) for place in live):
            return []  # one at a time: all are of about the same age
        for place in live:
            grown = place.leak.grown(room.share) if place.confirmed else None
            if grown is not None:
                place.recycling = True
                place.recycled += 1
                why = growth_words(grown)
                self.told.add("recycled", f"worker {place.index} recycled: {why}")
                return [Recycled(place.index, why)]
        return []

    # How many may be open

    def _grow(self, reading: Reading, *, waiting: int, now: float) -> list[Decision]:
        decisions: list[Decision] = []
        while True:
            live = self._places.live
            self._standing.room = room = room_of(reading, self._places, self._need, reserve=self._reserve)
            candidates = self._places.among(CAN_OPEN)
            if not candidates:
                self._standing.full(len(live), auto=self._auto)
                return decisions
            if not live:
                if not self._places.among((State.RETIRING,)):
                    decisions.append(self._open(candidates[0], "work is waiting and nobody is there", now=now))
                return decisions
            if waiting <= len([place for place in live if place.state is State.STARTING]):
                self._standing.ended = Why.NO_WORK
                return decisions
            if self._auto or self._quiet.seconds:
                self._standing.ended = self._no_room_because(room, waiting=waiting, now=now)
                if self._standing.ended:
                    return decisions
            if (chosen := self._on_a_free_gpu(candidates, reading)) is None:
                return decisions
            decisions.append(self._open(chosen, self._why_open(chosen, room), now=now))

    def _no_room_because(self, room: Room, *, waiting: int, now: float) -> str:
        """Why no further place is opened now, in words; "" if one is."""
        live = self._places.live
        if self._places.among((State.RETIRING,)):
            return Why.LEAVING
        if not self._quiet.over(now):
            return f"memory was short, and has to be plentiful for {self._quiet.seconds:.0f} s before another is tried"
        confirmed = sum(place.confirmed for place in live)
        if len(live) - confirmed >= max(1, confirmed):
            return Why.OTHERS_UNFINISHED if confirmed else Why.NONE_FINISHED
        if not room.fits(self._need.margin):
            return room.words()
        if len(live) >= self._most:
            return Why.IN_VAIN
        if self._auto and len(live) == self._crew and self._unproven(waiting):
            return Why.UNPROVEN
        return "" if len(live) < self._most else Why.IN_VAIN

    def _unproven(self, waiting: int) -> bool:
        """Must the crew of now prove itself before it grows? Growth is stopped here where it has failed to."""
        crew = self._crew
        gain = self._throughput.gain(crew) if crew > self._first else None
        if gain is not None and gain.in_vain:
            self._most = crew
            self.told.add("stopped", stop_words(gain))
            return False
        return crew > 1 and not self._throughput.known(crew) and waiting >= PATIENCE * len(self._places)

    def _on_a_free_gpu(self, candidates: list[Place], reading: Reading) -> Place | None:
        for place in candidates:
            refusal = gpu_refuses(place, self._places, reading, self._need)
            if not refusal:
                return place
            self._standing.ended = f"{Why.NO_GPU} ({refusal})"
            if not self.told.count("gpu") or "cannot be told" in refusal:  # the figures differ with every look
                self.told.once("gpu", refusal)
        return None

    def _why_open(self, place: Place, room: Room) -> str:
        if place.state is State.RETIRED:
            why = f"memory was plentiful for {self._quiet.seconds:.0f} s"
            self.told.add("reopened", f"worker {place.index} started again: {why}")
            return why
        return room.words() if self._auto else Why.AS_ASKED

    def _warn(self, room: Room) -> None:
        if not self._auto and self._need.sure and not self.told.count("warning"):
            warning = room.warning(len(self._places))
            if warning:
                self.told.add("warning", warning)

    # Changes of state

    def _open(self, place: Place, why: str, *, now: float) -> Opened:
        if place.state is State.RETIRED:
            self._quiet.opened()
        place.start(now)
        place.state = State.STARTING
        return Opened(place.index, why)

    def _retire(self, place: Place, why: str, *, now: float, kill: bool) -> Retired:
        was = place.state
        self.told.add("retired", f"worker {place.index} retired after {now - place.since:.0f} s: {why}")
        place.state = State.RETIRING
        place.killed = kill
        self._pressure.relieved()
        self._quiet.retired(now)
        if was is State.READY:
            self._crew_changed()
        return Retired(place.index, why, kill)

    def _crew_changed(self) -> None:
        self._crew = len(self._places.among((State.READY,)))
        self._change += 1

    # What there is to know

    def look_in(self, *, now: float) -> float:
        """Seconds until the next reading is wanted; 0.0 where one is due."""
        if self._looked is None:
            return 0.0
        soon = any(place.state is State.STARTING or place.awaited for place in self._places.live)
        pause = SOONEST_S if soon else self._haste.pause
        return max(0.0, min(pause, self._looked + pause - now))

    @property
    def footprint(self) -> Footprint | None:
        """What a worker was seen to need; None until one has finished a mini-batch."""
        return self._need.footprint

    def reasons(self) -> tuple[str, ...]:
        """How large the crew was and why, what happened to it; few lines however much that was."""
        return (*self._standing.reason(measured=self._need.sure > 0), *self.told.lines())

    def standing(self) -> str:
        """How many places have a worker now, and why no more, in words."""
        return self._standing.now(len(self._places.live))

    def held_back(self, most: int) -> str:
        """What kept the crew at `most` workers, in words; "" where it was not memory, a GPU or throughput."""
        return self._standing.held_back(most)
