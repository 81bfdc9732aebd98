"""A machine on paper: memory, GPUs, workers that take and give back memory, a foreign process, the kernel's OOM killer.

It drives a `Growth` through a whole run in steps of a tenth of a second, does what that decides as a caller would, and
asserts in each step what must never happen. What came of it is left in `Outcome`. The same arguments give the same run.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from batchctl.model.node import Footprint, Reading, Sizing, Slot, WorkerMemory
from batchctl.node.growth import Decision, Growth, Opened, Recycled, Retired

MIB, GIB = 1 << 20, 1 << 30
STEP_S = 0.1


@dataclass(frozen=True)
class Work:
    """What a script does; MiB and seconds. `peak(k)`: beyond `base` in run() of a worker's k-th mini-batch (from 0);
    `leak`: kept for good per mini-batch; `saturates`: with more workers than that all become slower in proportion."""

    batches: int = 400
    base: int = 200
    init: int | None = None  # held at the end of init(); None: base
    init_s: float = 2.0
    run_s: float = 1.0
    noise: float = 0.0  # run time varies by up to this fraction
    peak: Callable[[int], int] = lambda k: 0
    leak: float = 0
    kept: Callable[[int], int] = lambda k: 0  # held beyond base after k mini-batches
    gpu: int = 0
    saturates: float = 1e9
    serial: bool = False  # all cpus by itself: n workers take n times as long


@dataclass(frozen=True)
class Box:
    """The machine; MiB. `foreign(t)`: taken by others at that moment; `stalled(t)`: PSI full."""

    memory: int = 16_384
    places: int = 8
    first: int = 1
    reserve: int = 256
    gpus: int = 0
    gpu_memory: int = 16_384
    tells_gpu: bool = True
    foreign: Callable[[float], int] = lambda t: 0
    stalled: Callable[[float], float | None] = lambda t: None
    stale: bool = False  # readings still show workers that have ended

    def sizing(self) -> Sizing:
        slots = [Slot(i, (i,), 1, f"GPU-{i % self.gpus}" if self.gpus else None) for i in range(self.places)]
        return Sizing(tuple(slots), (), self.gpus, self.first)


@dataclass
class Worker:
    slot: int
    incarnation: int
    born: float
    ready: bool = False
    until: float = 0.0
    began: float | None = None  # the mini-batch in run()
    done: int = 0
    leaving: bool = False  # ends after what it has in hand
    peak: int = 0
    dead: bool = False  # killed by the kernel, and about to be reported


@dataclass
class Outcome:
    """Counts of a run. `lowest`: least available, MiB; `crew`: most workers; `last_crew`: when the work ran out."""

    seconds: float = 0.0
    opened: Counter[int] = field(default_factory=Counter)
    retired: Counter[int] = field(default_factory=Counter)
    killed: int = 0  # retirements by killing
    recycled: int = 0
    oom: int = 0
    lowest: int = 1 << 40
    crew: int = 0
    last_crew: int = 0
    on_gpu: int = 0  # most workers on one GPU
    looks: int = 0
    reasons: tuple[str, ...] = ()
    footprint: Footprint | None = None

    @property
    def reopened(self) -> int:
        return sum(count - 1 for count in self.opened.values())


class Machine:
    """One run of `work` on `box`."""

    def __init__(
        self, box: Box, work: Work, *, auto: bool = True, assumed: Footprint | None = None, seed: int = 1
    ) -> None:
        self.box, self.work = box, work
        self.growth = Growth(
            box.sizing(), auto=auto, reserve=box.reserve * MIB, assumed=assumed or Footprint(GIB, source="assumed")
        )
        self.out = Outcome()
        self.now = 0.0
        self._random = random.Random(seed)
        self._workers: dict[int, Worker] = {}
        self._open: set[int] = set()  # not told to go
        self._waiting = work.batches
        self._ended: list[WorkerMemory] = []
        self._incarnation = 0

    def run(self, *, limit_s: float = 20_000) -> Outcome:
        self._do(self.growth.begin(waiting=self._waiting, now=self.now))
        while self._waiting or any(worker.began is not None for worker in self._workers.values()):
            assert self.now < limit_s, "the run does not end"
            self._step()
        self.out.seconds = self.now
        self.out.reasons, self.out.footprint = self.growth.reasons(), self.growth.footprint
        return self.out

    def _step(self) -> None:
        self.now = round(self.now + STEP_S, 6)
        for worker in list(self._workers.values()):
            self._advance(worker)
        self._kernel()
        if self.growth.look_in(now=self.now) <= 0.0:
            self.out.looks += 1
            self._do(self.growth.look(self._reading(), waiting=self._waiting, now=self.now))
        self.out.lowest = min(self.out.lowest, self._available())
        if self._waiting:
            assert self._open, "work waits and nobody is there"
            self.out.last_crew = len(self._open)
        self.out.crew = max(self.out.crew, len(self._workers))
        if self.box.gpus:
            sharing = Counter(slot % self.box.gpus for slot in self._workers)
            self.out.on_gpu = max(self.out.on_gpu, *sharing.values(), 0)

    # workers

    def _advance(self, worker: Worker) -> None:
        if not worker.ready:
            if self.now - worker.born >= self.work.init_s:
                worker.ready = True
                self.growth.ready(worker.slot, now=self.now)
            return
        if worker.began is not None and self.now >= worker.until:
            self.growth.scored(worker.slot, run_ns=round((worker.until - worker.began) * 1e9), items=10)
            worker.done += 1
            worker.began = None
        if worker.began is None:
            if worker.leaving:
                self._end(worker)
            elif self._waiting:
                self._waiting -= 1
                worker.began, worker.until = self.now, self.now + self._run_s()

    def _run_s(self) -> float:
        busy = sum(worker.ready for worker in self._workers.values())
        slower = busy if self.work.serial else max(1.0, busy / self.work.saturates)
        return self.work.run_s * slower * (1.0 + self.work.noise * self._random.uniform(-1.0, 1.0))

    def _start(self, slot: int) -> None:
        self._incarnation += 1
        self._workers[slot] = Worker(slot, self._incarnation, self.now)

    def _end(self, worker: Worker, *, starved: bool = False) -> None:
        """Its process is gone; what it was at goes back. The place gets another unless it was retired."""
        if worker.began is not None:
            self._waiting += 1
        self._ended.append(self._held(worker))
        if starved:
            self.out.oom += 1
            worker.dead = True
            self._do(self.growth.starved(worker.slot, in_init=not worker.ready, now=self.now))
        del self._workers[worker.slot]
        self.growth.gone(worker.slot, now=self.now)
        if worker.slot in self._open:
            self._start(worker.slot)

    def _bytes(self, worker: Worker) -> int:
        work = self.work
        if not worker.ready:
            whole = work.base if work.init is None else work.init
            return round(whole * min(1.0, (self.now - worker.born) / max(work.init_s, STEP_S)))
        held = work.base + round(work.leak * worker.done) + work.kept(worker.done)
        if worker.began is not None:
            part = (self.now - worker.began) / max(worker.until - worker.began, STEP_S)
            held += round(work.peak(worker.done) * (0.5 if part < 0.25 or part > 0.9 else 1.0))
        return held

    def _held(self, worker: Worker) -> WorkerMemory:
        held = self._bytes(worker) * MIB
        worker.peak = max(worker.peak, held)
        gpu = (self.work.gpu * MIB if worker.ready else 0) if self.box.gpus and self.box.tells_gpu else None
        return WorkerMemory(worker.slot, worker.incarnation, held, worker.peak, gpu)

    # the machine

    def _available(self) -> int:
        taken = sum(self._bytes(worker) for worker in self._workers.values())
        return self.box.memory - self.box.foreign(self.now) - taken

    def _kernel(self) -> None:
        while self._available() < 0 and self._workers:
            self._end(max(self._workers.values(), key=lambda worker: (self._bytes(worker), worker.slot)), starved=True)
            if all(not self._bytes(worker) for worker in self._workers.values()):
                return

    def _reading(self) -> Reading:
        workers = tuple(self._held(worker) for worker in self._workers.values())
        free = {}
        for gpu in range(self.box.gpus):
            used = sum(self.work.gpu for w in self._workers.values() if w.ready and w.slot % self.box.gpus == gpu)
            free[f"GPU-{gpu}"] = (self.box.gpu_memory - used) * MIB
        late = tuple(self._ended) if self.box.stale else ()
        return Reading(max(0, self._available()) * MIB, self.box.stalled(self.now), late + workers, free)

    def _do(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            slot = decision.slot
            assert decision.why
            if isinstance(decision, Opened):
                assert slot not in self._open
                assert slot not in self._workers, "opened before its last worker was gone"
                self._open.add(slot)
                self.out.opened[slot] += 1
                self._start(slot)
                assert len(self._open) <= self.box.places
            elif isinstance(decision, Retired):
                worker = self._workers[slot]
                assert slot in self._open or (decision.now and worker.leaving), "retired twice"
                if slot in self._open:
                    self.out.retired[slot] += 1
                self._open.discard(slot)
                assert self._open, "the last one was retired"
                worker.leaving = True
                self.out.killed += decision.now
                if (not worker.ready or decision.now) and not worker.dead:
                    self._end(worker)
            else:
                assert isinstance(decision, Recycled)
                assert slot in self._open and self._workers[slot].ready and not self._workers[slot].leaving
                self._workers[slot].leaving = True
                self.out.recycled += 1
