"""What the run tells while it goes on: the live line, status.json, attempts.csv, the groups of failures, the service
manager.

The conductor says what happened; this decides how often it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from batchctl.dispatch.file_queue import FileQueue
from batchctl.dispatch.retry import Decision, Verdict
from batchctl.dispatch.threshold import FailedBatches
from batchctl.model.events import InitFailed, WorkerForked, WorkerGone, WorkerReady
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, Scored
from batchctl.model.progress import Attempt, Progress, RunState
from batchctl.model.records import Charged, Quarantined, Record, Reopened
from batchctl.report.attempts import AttemptsFile, status_of
from batchctl.report.notify import Notifier
from batchctl.report.progress import Level, Reporter
from batchctl.report.status import StatusFile
from batchctl.report.wording import clipped, plural, ranges_text
from batchctl.run.roll import Roll
from batchctl.run.tally import Tally
from batchctl.store.commit import Group

_RATE_S = 5.0  # the rate shown is of about the last ten seconds
_QUARANTINES_TOLD = 10
_MESSAGE_SHOWN = 300
_NOTES = 50  # distinct notes kept for the summary
_WARNED = 1000  # distinct warnings beyond those that are not repeated


class Teller:
    """One per epoch. `clock` in monotonic seconds, `wall` in seconds since 1970."""

    def __init__(
        self,
        *,
        run_id: str,
        epoch: int,
        pid: int,
        queue: FileQueue,
        roll: Roll,
        reporter: Reporter,
        status: StatusFile,
        attempts: AttemptsFile,
        name_of: Callable[[int], str],
        clock: Callable[[], float],
        wall: Callable[[], float],
        notifier: Notifier | None = None,
        mask: Callable[[str], str] = str,
    ) -> None:
        self._run_id = run_id
        self._epoch = epoch
        self._pid = pid
        self._queue = queue
        self._roll = roll
        self._reporter = reporter
        self._status = status
        self._notifier = notifier or Notifier("", watchdog_s=0.0, clock=clock)
        self._attempts = attempts
        self._clock = clock
        self._wall = wall
        self._name_of = name_of
        self._mask = mask
        self._quarantines_told = 0
        self.tally = Tally(name_of)
        self.state = RunState.STARTING
        self.notes: dict[str, int] = {}
        self._warned: set[str] = set()
        self.quarantined_durably = 0
        self.failed_batches = FailedBatches()
        self.message = ""
        self._began = clock()
        self._marks: list[tuple[float, int]] = []

    def replay(self, record: Record) -> None:
        """A record of an earlier epoch, for the totals."""
        self.tally.replay(record)
        self.failed_batches.replay(record)
        if isinstance(record, Quarantined):
            self.quarantined_durably += record.lease.count
        elif isinstance(record, Reopened):
            self.quarantined_durably -= sum(one.count for one in record.ranges if not one.ok + one.failed)

    def settled(self, records: Sequence[Charged | Quarantined]) -> None:
        """What the log of earlier epochs was found to come to, and which mini-batches it makes suspects."""
        for record in records:
            lease, failure = record.lease, record.failure
            self.tally.replay(record)
            if isinstance(record, Quarantined):
                self._tell_quarantine(lease, failure)
            else:
                attempt = Attempt(lease, -1, 0, 0.0, failure.kind.value, failure.error, failure.message)
                self._attempts.add(attempt, now=self._clock())
                self.note(f"mini-batch {lease.batch}, {_items(lease)}: {failure.message}", level="warning")
        suspects = {part.lease.batch for part in self._queue.pending().parts if part.suspect}
        if suspects:
            told = f"{plural(len(suspects), 'mini-batch')} ({clipped(ranges_text(suspects), 100)})"
            self.note(f"suspected of taking the machine down, to be run alone and last: {told}", level="warning")

    def note(self, text: str, *, level: Level = "info") -> None:
        """A line for the user, kept for the summary when it is a warning."""
        self._reporter.note(text, level=level)
        if level == "warning" and (text in self.notes or len(self.notes) < _NOTES):
            self.notes[text] = self.notes.get(text, 0) + 1

    def told_notes(self) -> tuple[str, ...]:
        """The warnings among them, each once, with how often it was said."""
        return tuple(text if times < 2 else f"{text} ({times} times)" for text, times in self.notes.items())

    def warn(self, slot: int, text: str) -> None:
        """What a worker (or, with slot -1, the fork server) has to say; told once."""
        text = self._mask(text)
        if text in self.notes:
            self.notes[text] += 1
        elif text not in self._warned:
            self._reporter.note(text if slot < 0 else f"worker {slot}: {text}", level="warning")
            if len(self.notes) < _NOTES:
                self.notes[text] = 1
            elif len(self._warned) < _WARNED:
                self._warned.add(text)

    def leased(self, leases: Sequence[Lease]) -> None:
        """Leases are being handed out."""
        self._attempts.leased(leases, now=self._clock())

    def scored(self, slot: int, incarnation: int, found: Sequence[Scored]) -> None:
        """Attempts succeeded (not yet durable)."""
        self._attempts.scored(slot, incarnation, found, now=self._clock())

    def charged(
        self, slot: int, incarnation: int, lease: Lease, failure: Failure, run_ns: int, verdict: Verdict
    ) -> None:
        """An attempt failed, was lost or timed out."""
        self.tally.attempts += 1
        self.tally.by_kind[failure.kind] += 1
        for record in verdict.records:
            if isinstance(record, Charged):
                self.tally.failures.charged(record)
            else:
                self.tally.failures.quarantined(record)
        self._attempts.add(
            Attempt(lease, slot, incarnation, run_ns / 1e9, failure.kind.value, failure.error, failure.message),
            now=self._clock(),
        )
        if verdict.decision is Decision.QUARANTINE:
            self._tell_quarantine(lease, failure)
        else:
            text = f"mini-batch {lease.batch}, {_items(lease)}: {_told(failure)} ({verdict.reason})"
            self._reporter.note(text, level="debug")

    def spared(
        self, slot: int, incarnation: int, lease: Lease, failure: Failure, run_ns: int, verdict: Verdict
    ) -> None:
        """Memory was short for an attempt, and nobody is charged for that."""
        status = status_of(failure, charged=False)
        attempt = Attempt(lease, slot, incarnation, run_ns / 1e9, status, failure.error, failure.message)
        self._attempts.add(attempt, now=self._clock())
        self._reporter.note(f"mini-batch {lease.batch}, {_items(lease)}: {verdict.reason}", level="warning")

    def _tell_quarantine(self, lease: Lease, failure: Failure) -> None:
        """A line each for the first few; the summary groups them all."""
        self._quarantines_told += 1
        if self._quarantines_told <= _QUARANTINES_TOLD:
            name = self._name_of(lease.first) if lease.count == 1 else f"mini-batch {lease.batch}, {_items(lease)}"
            self._reporter.note(f"gave up on {name}: {_told(failure)}")
        elif self._quarantines_told == _QUARANTINES_TOLD + 1:
            self._reporter.note("further items that were given up are in the summary")

    def worker_forked(self, event: WorkerForked) -> None:
        """A worker's process exists."""
        self._attempts.process_began(event.incarnation, at=self._wall())

    def worker_ready(self, event: WorkerReady) -> None:
        """A worker passed init()."""
        pid = f"pid {event.pid}, " if event.pid else ""  # 0: it was ready before the fork server had told
        self._reporter.note(f"worker {event.slot} is ready: {pid}init() {event.init_s:.2f} s", level="debug")

    def worker_gone(self, event: WorkerGone) -> None:
        """A worker's process has ended."""
        if event.expected:
            self._reporter.note(f"worker {event.slot} left: {event.cause}", level="debug")
        else:
            self._reporter.note(f"worker {event.slot} died: {event.cause}", level="warning")

    def init_failed(self, event: InitFailed) -> None:
        """A worker did not get through init()."""
        failure = event.failure
        told = self._mask(f"{failure.error}: {failure.message}")
        self._reporter.note(f"worker {event.slot}: init() failed: {told}", level="debug")

    def committed(self, group: Group) -> None:
        """A group is durable: now it counts."""
        tally = self.tally
        tally.attempts += len(group.scored)
        tally.rows += sum([scored.n_rows for scored in group.scored])
        for scored in [scored for scored in group.scored if scored.failed]:
            self.failed_batches.scored(scored.lease.batch, scored.failed)
        for record in group.quarantined:
            self.quarantined_durably += record.lease.count
            self.failed_batches.given_up(record.lease.batch)
        self._attempts.flush()

    def paused(self, reason: str) -> None:
        """Storage is full."""
        if self.state is not RunState.PAUSED:
            self.state = RunState.PAUSED
            self.note(f"paused: {reason}; it goes on by itself when there is room", level="warning")

    def winding_down(self, *, within_s: float) -> None:
        """A drain or an abort has begun; it takes at most about so long."""
        self.state = RunState.DRAINING
        self._notifier.stopping(within_s=within_s)

    def alive(self) -> None:
        """A turn of a loop in which there is nothing to show."""
        self._notifier.alive()

    def tick(self, *, force: bool = False) -> None:
        """Show, write and send what is due."""
        self._notifier.alive()
        shown, written, sent = self._reporter.progress_due(), self._status.due(), self._notifier.due()
        if not (shown or written or sent or force):
            return
        progress = self.progress()
        if shown or force:
            self._reporter.progress(progress)
        if written or force:
            self._status.write(progress, force=force)
        if sent or force:
            self._notifier.progress(progress, force=force)

    def progress(self) -> Progress:
        """This moment."""
        now = self._clock()
        counts = self._queue.counts
        done = counts.ok + counts.failed + self.quarantined_durably
        rate = self._rate(now, done)
        left = counts.items - done
        return Progress(
            run_id=self._run_id,
            state=self.state,
            epoch=self._epoch,
            pid=self._pid,
            items=counts.items,
            items_done=done,
            items_failed=counts.failed + self.quarantined_durably,
            batches=counts.batches,
            batches_done=counts.done,
            rows=self.tally.rows,
            elapsed_s=now - self._began,
            rate=rate,
            eta_s=left / rate if rate > 0 else None,
            workers=self._roll.workers(),
            message=self.message,
            sizing=self._roll.sizing,
        )

    def _rate(self, now: float, done: int) -> float:
        """Items per second of late: between now and the mark before last."""
        marks = self._marks
        if not marks or now - marks[-1][0] >= _RATE_S:
            marks.append((now, done))
            del marks[:-3]
        then, before = marks[0]
        return (done - before) / (now - then) if now - then > 0.05 else 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds of this epoch."""
        return self._clock() - self._began


def _items(lease: Lease) -> str:
    return f"items {lease.first} to {lease.first + lease.count - 1}" if lease.count > 1 else f"item {lease.first}"


def _told(failure: Failure) -> str:
    return clipped(f"{failure.kind.value.replace('_', ' ')}: {failure.error}: {failure.message}", _MESSAGE_SHOWN)
