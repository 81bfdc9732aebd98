"""The workers of a run from the conductor's side: who is ready, how much each may hold, who is replaced.

Decides with `dispatch` (credits, health), acts through the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from batchctl.dispatch.credits import RunEstimate, credits_for
from batchctl.dispatch.slot_health import InitDecision, SlotHealth
from batchctl.engine.base import Engine
from batchctl.model.events import InitFailed, WorkerGone, WorkerReady
from batchctl.model.lease import Lease
from batchctl.model.node import Slot

Take = Callable[[int], Sequence[Lease]]


class Crew:
    """One worker per open slot. `slots` are the places there are; none is open at first. `replace` is switched off when
    the run winds down."""

    def __init__(self, engine: Engine, slots: Sequence[Slot]) -> None:
        self._engine = engine
        self._slots = {slot.index: slot for slot in slots}
        self._health = SlotHealth(())
        self._live: set[int] = set()  # slots with a worker process, ready or not
        self._estimates: dict[int, RunEstimate] = {}  # ready workers that take leases
        self._seed_ns: int | None = None
        self._spare: list[Lease] = []  # taken back from a busy worker for an idle one
        self.replace = True
        self.most = 0  # workers at one time, the most so far

    def open(self, index: int) -> None:
        """Begin a worker in a place that has none; from now on the place has one until it is retired or closed."""
        self._health.opened(index)
        self._start(index)

    def _start(self, index: int) -> None:
        self._live.add(index)
        self.most = max(self.most, len(self._live))
        self._engine.start_worker(self._slots[index])

    def retire(self, index: int, *, now: bool = False) -> None:
        """Give the place up: its worker finishes what it has begun and leaves (`now`: is killed, and what it had comes
        back uncharged), and no other follows. What it has not started goes to others."""
        self._health.retired(index)
        self._withdraw_from(index)
        if now:
            self._engine.kill_worker(index)
        else:
            self._engine.stop_worker(index)

    def recycle(self, index: int) -> None:
        """A fresh worker in place of this one, which first finishes what it has begun."""
        if self.replace:
            self._withdraw_from(index)
            self._engine.stop_worker(index)

    def _withdraw_from(self, index: int) -> None:
        self._estimates.pop(index, None)
        self._spare.extend(self._engine.take_back(index))

    def keep_one(self) -> list[int]:
        """Retire all but one worker: the one that became ready last, which has had the least time to grow, or one that
        will be. Returns the places that are retired by this: never the last, however many are on their way out."""
        staying = sorted(self._live.intersection(self._health.open_slots))
        keep = next((index for index in reversed(self._estimates) if index in staying), min(staying, default=None))
        leaving = [index for index in staying if index != keep]
        for index in leaving:
            self.retire(index)
        return leaving

    @property
    def ready(self) -> int:
        """Workers that take leases."""
        return len(self._estimates)

    @property
    def live(self) -> int:
        """Workers that have a process."""
        return len(self._live)

    def neighbours(self, index: int) -> tuple[int, ...]:
        """Other places with a worker that share this one's GPU."""
        gpu = self._slots[index].gpu
        return tuple(other for other in sorted(self._live - {index}) if gpu and self._slots[other].gpu == gpu)

    @property
    def in_hand(self) -> int:
        """Leases with all workers."""
        return sum(self._engine.in_hand(index) for index in self._live) + len(self._spare)

    def passed_init(self, event: WorkerReady) -> None:
        """A worker is ready."""
        self._health.init_passed(event.slot)
        if event.slot in self._health.open_slots:  # else it was told to leave while it said so
            self._estimates[event.slot] = RunEstimate(self._seed_ns)

    def failed_init(self, event: InitFailed) -> InitDecision:
        """A worker did not get there."""
        return self._health.init_failed(event.slot)

    def scored(self, slot: int, busy_ns: int) -> None:
        """An attempt of this slot's worker succeeded; it took so long, its rows included."""
        self._health.attempt_scored(slot)
        estimate = self._estimates.get(slot)
        if estimate is not None:
            estimate.observe(busy_ns)

    def charged(self, slot: int, run_ns: int, *, died: bool) -> None:
        """An attempt of this slot's worker was charged; after ten in a row the worker is replaced, and what it has not
        started goes to others: if it is the worker that is broken, those would fail too."""
        estimate = self._estimates.get(slot)
        if estimate is not None:
            estimate.observe(run_ns)
        if self._health.attempt_failed(slot, died=died):
            self.recycle(slot)

    def gone(self, event: WorkerGone) -> None:
        """A worker's process has ended: its slot gets another if it is still open."""
        estimate = self._estimates.pop(event.slot, None)
        if estimate is not None and estimate.ns is not None:
            self._seed_ns = estimate.ns
        self._live.discard(event.slot)
        if self.replace and event.slot in self._health.open_slots:
            self._start(event.slot)

    def grant(self, take: Take, *, waiting: int, one_each: bool = False) -> Iterable[tuple[int, Sequence[Lease]]]:
        """Hand out leases to whoever has room (`one_each`: has none); yields what each slot was given, after it was
        sent."""
        engine = self._engine
        workers = len(self._estimates)
        hungry: list[int] = []
        for slot, estimate in self._estimates.items():
            held = engine.in_hand(slot)
            credit = 1 if one_each else credits_for(estimate.ns, waiting=waiting + len(self._spare), workers=workers)
            if held > credit >> 1:
                continue  # half a round trip's worth is still there
            leases = self._some(take, credit - held)
            if leases:
                engine.send(slot, leases)
                yield slot, leases
            elif not held:
                hungry.append(slot)
        if hungry:
            yield from self._share(hungry)

    def _some(self, take: Take, count: int) -> Sequence[Lease]:
        if not self._spare:
            return take(count)
        found = self._spare[:count]
        del self._spare[:count]
        return found

    def _share(self, hungry: list[int]) -> Iterable[tuple[int, Sequence[Lease]]]:
        """Nothing is waiting: idle workers get what busy ones have not started."""
        holders = [slot for slot in self._live if self._engine.in_hand(slot) > 1]
        for slot in holders:
            self._spare.extend(self._engine.take_back(slot))
        for slot in hungry:
            if not self._spare:
                return
            leases = [self._spare.pop(0)]
            self._engine.send(slot, leases)
            yield slot, leases

    def withdraw(self) -> tuple[Lease, ...]:
        """Take back everything that was not started, for good (drain): nobody is replaced any more either."""
        self.replace = False
        found = list(self._spare)
        self._spare.clear()
        for slot in self._live:
            found.extend(self._engine.take_back(slot))
        return tuple(found)

    def dismiss(self) -> None:
        """Let every worker finish, shut down and leave."""
        self.replace = False
        for slot in self._live:
            self._engine.stop_worker(slot)
        self._estimates.clear()

    def kill(self) -> None:
        """End every worker now."""
        self.replace = False
        for slot in self._live:
            self._engine.kill_worker(slot)
        self._estimates.clear()
