"""Explore: crash at every operation and within every write, by kill and by power cut, recover, crash again, compare."""

from __future__ import annotations

import gc
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from batchctl.errors import NoSpaceError, StorageError
from tests.crash.model.life import Acked, Life, Result, Violation
from tests.crash.model.workload import SCENARIOS, Scenario
from tests.doubles.disk import DIR, Image, MemoryDisk, Piece, apply_write, fail_sync
from tests.doubles.power_cut import survive

MAX_DEPTH = 4
CUTS_PER_OPERATION = 14  # sampled fates at each operation of a first life, besides all kept and all lost


FAULTY_LATER_LIVES = 0.1
STRUCK = {"full": {"write"}, "sync": {"sync", "sync_dir"}}  # which operations a fault may strike


class Crash(NamedTuple):
    """A disk as a crash left it, what had been promised, and how it came about (for the report). With `keep`, a disk
    just before its power is cut: most that wait are never looked at, so what is left of it is decided then."""

    image: Image
    acked: Acked
    scenario: int
    depth: int
    story: tuple[str, ...]
    keep: float | None = None  # how much of what was not synced survives


@dataclass
class Findings:
    """Counted so far. `states`: crash states recovered from and driven to the end."""

    states: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    by_depth: Counter[int] = field(default_factory=Counter)
    by_phase: Counter[str] = field(default_factory=Counter)
    later_faults: Counter[str] = field(default_factory=Counter)  # struck in a life that began with a recovery
    duplicates: int = 0
    violations: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    seconds: float = 0.0


class Fault(NamedTuple):
    """The n-th operation of a first life fails: "full" (a write), "sync" (a sync)."""

    kind: str
    operation: int


class Checker:
    """One exploration; the same seed makes the same one."""

    def __init__(self, *, seed: int, states: int, stop_at_first: bool = False, retries: bool = True) -> None:
        """`retries` False leaves out the scenarios with a retry: fewer lives, so more of each is explored."""
        self.scenarios = [(n, scenario) for n, scenario in enumerate(SCENARIOS) if retries or not scenario.retry]
        self.choose = random.Random(seed)
        self.states = states
        self.stop_at_first = stop_at_first
        self.findings = Findings()
        self.queue: list[Crash] = []
        self.seen: set[int] = set()
        self.reference: list[Result | None] = [None] * len(SCENARIOS)

    def run(self) -> Findings:
        begun = time.process_time()
        collecting = gc.isenabled()
        gc.disable()  # thousands of waiting images are nothing to be walked through again and again
        try:
            before = -1
            while not self._over() and self.findings.states > before:  # all explored: other samples of the same lives
                before = self.findings.states
                self._explore()
        finally:
            if collecting:
                gc.enable()
        self.findings.seconds = time.process_time() - begun
        return self.findings

    def _explore(self) -> None:
        operations: dict[int, list[str]] = {}
        for number, scenario in self.scenarios:
            operations[number] = self._first_life(number, scenario, fault=None)
            if self._over():
                return
        early = 300  # most mutants need no fault to be caught
        while self.queue and not self._over() and self.findings.states < early:
            self._next()
        for number, scenario in self.scenarios:
            for kind in ("sync", "full"):
                for operation, name in enumerate(operations[number]):
                    if name in STRUCK[kind] and not self._over():
                        self._first_life(number, scenario, fault=Fault(kind, operation))
        while self.queue and not self._over():
            self._next()

    def _next(self) -> None:
        at = int(self.choose.random() * len(self.queue))
        self.queue[at], self.queue[-1] = self.queue[-1], self.queue[at]
        crash = self.queue.pop()
        if crash.keep is not None:
            cut = survive(crash.image, choose=self.choose, keep=crash.keep)
            key = hash((crash.scenario, crash.acked, frozenset(cut.names.items()), frozenset(cut.files.items())))
            if key in self.seen:
                self.findings.duplicates += 1
                return
            self.seen.add(key)
            crash = crash._replace(image=cut)
        self._after(crash)

    def _over(self) -> bool:
        found = self.findings
        return found.states >= self.states or (self.stop_at_first and bool(found.violations))

    # --- lives --------------------------------------------------------------------------------------------------------

    def _first_life(self, number: int, scenario: Scenario, *, fault: Fault | None) -> list[str]:
        """A life from nothing; its crashes are queued, all of them where nothing else fails."""
        disk = MemoryDisk()
        disk.names["/data"] = disk.durable_names["/data"] = DIR
        life = Life(disk, scenario, acked=Acked(), reverse=False)
        story = (scenario.name,) if fault is None else (scenario.name, f"{fault.kind} at {fault.operation}")
        struck = False
        operations: list[str] = []

        def hook(disk: MemoryDisk, operation: str, ino: int, piece: Piece | None) -> None:
            nonlocal struck
            here = disk.operations - 1
            operations.append(operation)
            if fault is None:
                self._crashes_here(
                    life, number, operation, ino, piece, story=(*story, f"{life.phase} {operation} {here}")
                )
            elif struck and self.choose.random() < (0.06 if fault.kind == "full" else 0.5):
                self._sample_here(
                    life, number, operation, ino, piece, depth=1, story=(*story, f"{life.phase} {operation} {here}")
                )
            if fault and here == fault.operation and not struck:
                struck = True
                self._strike(disk, fault.kind, operation, ino, piece)

        disk.hook = hook
        self._judge(life, number, story=lambda: story, fault=lambda: struck, depth=0)
        if fault is None and life.acked.finished:
            self._crashes_here(life, number, "end", -1, None, story=(*story, "end exit"))
        elif struck and life.acked.finished:
            self._queue_cuts(life, number, count=1, depth=1, story=(*story, "end exit", "power cut"))
        return operations

    def _strike(self, disk: MemoryDisk, kind: str, operation: str, ino: int, piece: Piece | None) -> None:
        if kind == "full" and operation == "write" and piece and piece.data and ino in disk.files:
            half = Piece(piece.offset, piece.data[: int(self.choose.random() * (len(piece.data) + 1))])
            apply_write(disk, ino, half)
            raise NoSpaceError("full")
        if kind == "sync" and operation == "sync":
            fail_sync(disk, ino)
            raise StorageError("the sync failed")
        if kind == "sync" and operation == "sync_dir":
            raise StorageError("the sync failed")

    def _after(self, crash: Crash) -> None:
        """Recover from a crash and go on to the end, now and then crashing again."""
        found = self.findings
        found.states += 1
        found.by_depth[crash.depth] += 1
        found.by_phase[crash.story[1 if len(crash.story) < 3 else -2].split()[0]] += 1
        disk = MemoryDisk(crash.image)
        life = Life(disk, SCENARIOS[crash.scenario], acked=crash.acked, reverse=True)
        struck = False
        story = crash.story
        if crash.depth < MAX_DEPTH:
            waiting = len(self.queue)
            chance = 0.1 if waiting < 5_000 else 0.05 if waiting < 20_000 else 0.005
            kind = self.choose.choice(("full", "sync")) if self.choose.random() < FAULTY_LATER_LIVES else ""
            passes = int(self.choose.random() * 16)  # operations of that kind before it strikes; half are in recovery

            def hook(disk: MemoryDisk, operation: str, ino: int, piece: Piece | None) -> None:
                nonlocal struck, story, passes
                if kind and not struck and operation in STRUCK[kind]:
                    passes -= 1
                    if passes < 0:
                        struck = True
                        story = (*crash.story, f"{life.phase} {kind} at {operation} {disk.operations - 1}")
                        self.findings.later_faults[kind] += 1
                        self._strike(disk, kind, operation, ino, piece)
                likely = chance if life.phase != "recover" else 2 * chance
                if piece and len(disk.files[ino].ghost) > piece.offset:
                    likely = 5 * chance  # over what was cut: rare, and the most delicate place
                if self.choose.random() < likely:
                    told = (*story, f"{life.phase} {operation} {disk.operations - 1}")
                    self._sample_here(life, crash.scenario, operation, ino, piece, depth=crash.depth + 1, story=told)

            disk.hook = hook
        self._judge(life, crash.scenario, story=lambda: story, fault=lambda: struck, depth=crash.depth)

    def _judge(
        self, life: Life, number: int, *, story: Callable[[], tuple[str, ...]], fault: Callable[[], bool], depth: int
    ) -> None:
        """Live it to the end and compare. `story` and `fault` (has one struck?) are asked afterwards."""
        try:
            result = life.run(thorough=depth == 0 or self.findings.states % 16 == 0)
            if self.reference[number] is None:
                self.reference[number] = result
            if result != self.reference[number]:
                names = [
                    name
                    for name, a, b in zip(Result._fields, result, self.reference[number] or (), strict=True)
                    if a != b
                ]
                raise Violation(f"differs from the undisturbed run: {names}")
        except StorageError as error:
            if not fault():
                self._violation(f"{type(error).__name__}: {error}", story())
                return
            # the process ends with 74: a kill, after which the next one starts
            self._queue(Crash(life.disk.image(), life.acked, number, depth + 1, (*story(), "exit 74")))
            self._queue_cuts(life, number, count=2, depth=depth + 1, story=(*story(), "exit 74, power cut"))
        except Exception as error:
            self._violation(f"{type(error).__name__}: {error}", story())
        finally:
            life.disk.hook = None  # no cycles: the collector is off

    def _violation(self, what: str, story: tuple[str, ...]) -> None:
        self.findings.violations.append((what, story))

    # --- crashes ------------------------------------------------------------------------------------------------------

    def _crashes_here(
        self, life: Life, number: int, operation: str, ino: int, piece: Piece | None, *, story: tuple[str, ...]
    ) -> None:
        """Every crash at one operation of a first life: before it, and within it where it is a write."""
        disk = life.disk
        self._queue(Crash(disk.image(), life.acked, number, 1, (*story, "kill")))
        self._queue_cuts(life, number, count=CUTS_PER_OPERATION, depth=1, story=(*story, "power cut"))
        if operation == "write" and piece and piece.data:
            lengths = {1, len(piece.data) // 2, len(piece.data) - 1, len(piece.data)} - {0}
            for length in sorted(lengths):
                self._within(life, number, ino, Piece(piece.offset, piece.data[:length]), depth=1, story=story, cuts=3)

    def _sample_here(
        self,
        life: Life,
        number: int,
        operation: str,
        ino: int,
        piece: Piece | None,
        *,
        depth: int,
        story: tuple[str, ...],
    ) -> None:
        """One or two crashes at an operation of a later life."""
        if operation == "write" and piece and piece.data and self.choose.random() < 0.5:
            length = int(self.choose.random() * len(piece.data)) + 1
            self._within(life, number, ino, Piece(piece.offset, piece.data[:length]), depth=depth, story=story, cuts=1)
        elif self.choose.random() < 0.3:
            self._queue(Crash(life.disk.image(), life.acked, number, depth, (*story, "kill")))
        else:
            self._queue_cuts(life, number, count=1, depth=depth, story=(*story, "power cut"), extremes=False)

    def _within(
        self, life: Life, number: int, ino: int, piece: Piece, *, depth: int, story: tuple[str, ...], cuts: int
    ) -> None:
        disk = life.disk
        before = disk.files[ino]
        apply_write(disk, ino, piece)
        try:
            self._queue(Crash(disk.image(), life.acked, number, depth, (*story, "kill within")))
            self._queue_cuts(life, number, count=cuts, depth=depth, story=(*story, "power cut within"), extremes=False)
        finally:
            disk.files[ino] = before

    def _queue_cuts(
        self, life: Life, number: int, *, count: int, depth: int, story: tuple[str, ...], extremes: bool = True
    ) -> None:
        image = life.disk.image()
        if not image.pending_names and not any(state.pending for state in image.files.values()):
            count, extremes = 1, False  # nothing to be decided: all cuts are this one
        for keep in [0.0, 1.0] * extremes + [self.choose.choice((0.2, 0.5, 0.8)) for _ in range(count)]:
            self._queue(Crash(image, life.acked, number, depth, story, keep))

    def _queue(self, crash: Crash) -> None:
        self.findings.by_kind[crash.story[-1]] += 1
        self.queue.append(crash)
