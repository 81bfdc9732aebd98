"""A run without processes and without a disk: an engine that plays what it is told and a committer that remembers.

The clock moves only when somebody waits. The flusher's thread is the real one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from batchctl.dispatch.file_queue import FileQueue
from batchctl.dispatch.retry import RetryPolicy
from batchctl.model.events import (
    Event,
    InitFailed,
    LeaseFailed,
    LeasesReturned,
    LeasesScored,
    WorkerGone,
    WorkerReady,
)
from batchctl.model.job import Dialect, JobSpec
from batchctl.model.lease import Lease
from batchctl.model.node import Footprint, Reading, Sizing, Slot
from batchctl.model.outcome import Failure, FailureKind, Scored
from batchctl.model.progress import Progress, WorkerView
from batchctl.node.growth import Growth
from batchctl.report.attempts import AttemptsFile
from batchctl.report.status import StatusFile
from batchctl.run.columns import Columns
from batchctl.run.conductor import Conducted, Conductor
from batchctl.run.crew import Crew
from batchctl.run.foreman import Foreman
from batchctl.run.journal import Journal
from batchctl.run.roll import Roll
from batchctl.run.telling import Teller
from batchctl.store.commit import Group

GIB = 1 << 30
FAILURE = Failure(FailureKind.FAILED, "ValueError", "bad")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Committer:
    """`troubles` are raised one a commit, None for none; `groups` are those that became durable."""

    def __init__(self, *troubles: Exception | None) -> None:
        self.troubles = list(troubles)
        self.groups: list[Group] = []
        self.tried: list[Group] = []

    def commit(self, group: Group) -> None:
        self.tried.append(group)
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble is not None:
            raise trouble
        self.groups.append(group)

    def note_claims(self, leases: Sequence[Lease], *, sync: bool = False) -> None:
        assert sync
        self.commit(Group(claims=tuple(leases)))

    def committed(self) -> list[Lease]:
        return [scored.lease for group in self.groups for scored in group.scored]


class Reporter:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.shown: list[Progress] = []

    def note(self, text: str, *, level: str = "info") -> None:
        self.notes.append(f"{level}: {text}")

    def progress_due(self) -> bool:
        return False

    def progress(self, progress: Progress) -> None:
        self.shown.append(progress)


class Meter:
    """Sees what it is told to see: first `readings`, then plenty."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []

    def read(self, workers: Iterable[WorkerView]) -> Reading:
        return self.readings.pop(0) if self.readings else Reading(64 * GIB)

    def close(self) -> None:
        self.readings.clear()


class Signals:
    def __init__(self) -> None:
        self.count = 0
        self.first: signal.Signals | None = None

    def come(self, number: signal.Signals) -> None:
        self.count += 1
        self.first = self.first or number


def result(
    lease: Lease, *, rows: bytes = b"row\n", ok: int | None = None, run_ns: int = 200_000_000, busy_ns: int = 0
) -> Scored:
    good = lease.count if ok is None else ok
    return Scored(lease, rows, len(rows), 0, 1, good, lease.count - good, run_ns, busy_ns=max(run_ns, busy_ns))


def lease_of(event: Event) -> Lease | None:
    """The lease that the event answers."""
    if isinstance(event, LeasesScored):
        return event.scored[0].lease
    if isinstance(event, LeasesReturned):
        return event.leases[0]
    return event.lease if isinstance(event, LeaseFailed) else None


class Engine:
    """Workers that become ready when they are started and score what they are sent, unless told otherwise.

    `inits`: what becomes of the next workers, "ready" when there are no more. `answers(slot, lease)`: the event for a
    lease, or None to keep it. `plot`: called one by one, when a poll has nothing else to say.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.inits: list[str] = []
        self.answers: Callable[[int, Lease], Event | None] = lambda slot, lease: self.scored(slot, lease)
        self.plot: list[Callable[[], Any]] = []
        self.immortal = False
        self.busy: Callable[[], bool] = lambda: False  # is the flusher at work?
        self.did: list[tuple[str, int]] = []
        self.sent: list[tuple[int, Lease]] = []
        self.hands: dict[int, list[Lease]] = {}
        self.incarnations: dict[int, int] = {}  # of live workers
        self.made = 0
        self.polls = 0
        self._events: list[Event] = []
        self._woken = threading.Event()

    def say(self, *events: Event) -> None:
        self._events.extend(events)

    def scored(self, slot: int, lease: Lease, **changes: Any) -> LeasesScored:
        return LeasesScored(slot, self.incarnations.get(slot, 0), [result(lease, **changes)])

    def failed(self, slot: int, lease: Lease, failure: Failure = FAILURE) -> LeaseFailed:
        return LeaseFailed(slot, self.incarnations.get(slot, 0), lease, failure, 5)

    def finish(self, slot: int, **changes: Any) -> None:
        """The worker scores the first lease in its hands."""
        self.say(self.scored(slot, self._unanswered(slot)[0], **changes))

    def _unanswered(self, slot: int) -> list[Lease]:
        said = {lease for event in self._events if (lease := lease_of(event))}
        return [lease for lease in self.hands.get(slot, ()) if lease not in said]

    def die(self, slot: int, *, expected: bool = False) -> None:
        leases = tuple(self._unanswered(slot))
        self.hands.pop(slot, None)
        incarnation = self.incarnations.pop(slot)
        if leases:
            self.say(LeasesReturned(slot, incarnation, leases, False))
        self.say(WorkerGone(slot, incarnation, expected, "exited with code 0"))

    def start_worker(self, slot: Slot) -> int:
        assert slot.index not in self.incarnations
        self.did.append(("start", slot.index))
        self.made += 1
        self.incarnations[slot.index] = self.made
        self.hands[slot.index] = []
        how = self.inits.pop(0) if self.inits else "ready"
        if how == "ready":
            self.say(WorkerReady(slot.index, self.made, 77, 0.1))
        elif how == "fails":
            self.say(InitFailed(slot.index, self.made, FAILURE))
            self.die(slot.index)
        return self.made

    def send(self, slot: int, leases: Sequence[Lease]) -> None:
        assert slot in self.incarnations
        for lease in leases:
            self.sent.append((slot, lease))
            self.hands[slot].append(lease)
            event = self.answers(slot, lease)
            if event is not None:
                self.say(event)

    def take_back(self, slot: int) -> tuple[Lease, ...]:
        taken = tuple(self._unanswered(slot)[1:])
        self.hands[slot] = [lease for lease in self.hands.get(slot, ()) if lease not in taken]
        return taken

    def in_hand(self, slot: int) -> int:
        return len(self.hands.get(slot, ()))

    def stop_worker(self, slot: int) -> None:
        self.did.append(("stop", slot))
        if slot in self.incarnations and not self.immortal:
            self.die(slot, expected=True)

    def kill_worker(self, slot: int) -> None:
        self.did.append(("kill", slot))
        if slot in self.incarnations and not self.immortal:
            self.die(slot, expected=True)

    def poll(self, timeout: float) -> list[Event]:
        self.polls += 1
        assert self.polls < 5000, "the loop does not end"
        if not self._events and self.plot:
            self.plot.pop(0)()
        if not self._events:
            self._woken.wait(60 if self.busy() else 0)  # this clock stands still while the flusher is at work
            self._woken.clear()
            self.clock.now += timeout
        events, self._events = self._events, []
        for event in events:
            lease = lease_of(event)
            for hand in self.hands.values():
                if lease in hand:
                    hand.remove(lease)
        return events

    def wake(self) -> None:
        self._woken.set()

    def workers(self) -> tuple[WorkerView, ...]:
        return ()


class Stage:
    """A conductor and all that it conducts."""

    def __init__(
        self,
        folder: Path,
        *,
        batches: int = 6,
        items: int = 1,
        slots: int = 2,
        columns: bytes = b"",
        changed: Any = None,
        troubles: Sequence[Exception | None] = (),
        policy: RetryPolicy | None = None,
        **spec: Any,
    ) -> None:
        self.clock = Clock()
        self.last_out: list[int] = []  # leases with workers each time that the conductor said so
        self.engine = Engine(self.clock)
        self.committer = Committer(*troubles)
        self.reporter = Reporter()
        self.signals = Signals()
        self.spec = job(folder)._replace(**spec)
        self.queue = FileQueue(
            range(0, (batches + 1) * items, items), policy or RetryPolicy(self.spec.max_retries, self.spec.isolate)
        )
        self.crew = Crew(self.engine, [Slot(index, (), 1) for index in range(slots)])
        self.journal = Journal(
            self.committer,  # type: ignore[arg-type]
            clock=self.clock,
            wake=self.engine.wake,
            pause_max=self.spec.pause_max,
        )
        self.engine.busy = lambda: self.journal._flusher.busy
        self.attempts = AttemptsFile(folder / "attempts.csv", epoch=1, name_of=lambda item: f"item {item}")
        self.roll = Roll(self.engine)
        self.teller = teller(folder, self.queue, self.roll, self.reporter, self.attempts, self.clock)
        sizing = Sizing(tuple(Slot(index, (), 1) for index in range(slots)), ())
        self.meter = Meter()
        self.foreman = Foreman(
            crew=self.crew,
            growth=Growth(sizing, auto=False, reserve=GIB, assumed=Footprint(GIB, source="assumed")),
            meter=self.meter,
            roll=self.roll,
            teller=self.teller,
            clock=self.clock,
        )
        self.conductor = Conductor(
            spec=self.spec,
            engine=self.engine,
            queue=self.queue,
            crew=self.crew,
            foreman=self.foreman,
            journal=self.journal,
            teller=self.teller,
            signals=self.signals,  # type: ignore[arg-type]
            columns=Columns(columns, fix=self.journal.set_columns),
            changed=changed,
            near_end=self._note_end,
            mask=lambda failure: failure,
            clock=self.clock,
        )

    def _note_end(self, last: bool) -> None:
        if last:
            self.last_out.append(self.crew.in_hand)

    def run(self) -> Conducted:
        try:
            conducted = self.conductor.run()
            self.conductor.see_off()
            return conducted
        finally:
            self.close()

    def close(self) -> None:
        self.journal.close()
        self.attempts.close()

    def did(self, what: str) -> list[int]:
        return [slot for action, slot in self.engine.did if action == what]


def teller(
    folder: Path, queue: FileQueue, roll: Roll, reporter: Reporter, attempts: AttemptsFile, clock: Clock
) -> Teller:
    return Teller(
        run_id="r",
        epoch=1,
        pid=1,
        queue=queue,
        roll=roll,
        reporter=reporter,  # type: ignore[arg-type]
        status=StatusFile(folder / "status.json", name="n", command=(), clock=clock, wall=clock),
        attempts=attempts,
        name_of=lambda item: f"item {item}",
        clock=clock,
        wall=clock,
    )


def job(folder: Path) -> JobSpec:
    return JobSpec(
        dialect=Dialect.SCRIPT,
        spec_path=folder / "score.py",
        name="score",
        script=folder / "score.py",
        code=folder,
        inputs=("in",),
        out=folder / "out",
        grace=60.0,
    )
