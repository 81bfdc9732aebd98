"""The totals: of all epochs once the log was replayed, and of this one as it is committed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from batchctl.dispatch.file_queue import FileQueue
from batchctl.dispatch.retry import Decision, RetryPolicy, Verdict
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind
from batchctl.model.progress import RunState
from batchctl.model.records import Charged, Claimed, Committed, EpochOpened, Quarantined
from batchctl.report.attempts import AttemptsFile
from batchctl.report.status import read_status
from batchctl.run.roll import Roll
from batchctl.run.telling import Teller
from batchctl.store.commit import Group
from tests.unit.run.stage import FAILURE, Clock, Engine, Reporter, result, teller

LOST = Failure(FailureKind.LOST, "WorkerDied", "killed by SIGKILL")


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.queue = FileQueue(range(0, 50, 10), RetryPolicy())
        self.reporter = Reporter()
        self.attempts = AttemptsFile(folder / "attempts.csv", epoch=2, name_of=lambda item: f"item {item}")
        self.teller: Teller = teller(
            folder, self.queue, Roll(Engine(self.clock)), self.reporter, self.attempts, self.clock
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path)
    yield found
    found.attempts.close()


def replay(bench: Bench) -> None:
    records = (
        EpochOpened(1, "b", "v", "{}"),
        Claimed(Lease(0, 0, 10, 1)),
        Committed(0, 0, 10, 1, 0, 40, 1, 12, 9, 1),
        Charged(Lease(1, 10, 10, 1), FAILURE),
        Charged(Lease(1, 10, 10, 2), LOST),
        Quarantined(Lease(1, 10, 5, 3), FAILURE),
    )
    for record in records:
        bench.queue.replay(record)
        bench.teller.replay(record)
    bench.queue.settle()


def test_totals_after_a_replay_and_a_commit(bench: Bench) -> None:
    replay(bench)
    tally = bench.teller.tally
    assert (tally.attempts, tally.rows, tally.by_kind[FailureKind.FAILED], tally.by_kind[FailureKind.LOST]) == (
        3,
        12,
        1,
        1,
    )
    assert bench.teller.quarantined_durably == 5
    lease = Lease(2, 20, 10, 1)
    bench.teller.committed(
        Group(scored=[result(lease), result(Lease(3, 30, 10, 1))], quarantined=[Quarantined(lease, FAILURE)])
    )
    assert (tally.attempts, tally.rows, bench.teller.quarantined_durably) == (5, 14, 15)
    (group, *_) = bench.teller.tally.failures.groups()
    assert (group.items, group.attempts) == (5, 1)


def test_progress_counts_what_is_durable(bench: Bench) -> None:
    replay(bench)
    bench.clock.now += 5
    shown = bench.teller.progress()
    assert (shown.items, shown.items_done, shown.items_failed, shown.batches_done) == (40, 15, 6, 1)
    assert (shown.elapsed_s, shown.rows, shown.state) == (5.0, 12, RunState.STARTING)


def test_rate_and_eta(bench: Bench) -> None:
    bench.teller.progress()
    for lease in bench.queue.take(2):
        bench.queue.committed(lease, 10, 0)
    bench.clock.now += 4
    shown = bench.teller.progress()
    assert (shown.rate, shown.eta_s) == (5.0, 4.0)


def test_status_is_written_when_due_and_when_forced(bench: Bench) -> None:
    path = bench.folder / "status.json"
    bench.teller.tick()
    first = path.read_bytes()
    bench.teller.tick()
    assert path.read_bytes() == first
    bench.teller.state, bench.teller.message = RunState.STOPPED, "stopped by SIGTERM"
    bench.teller.tick(force=True)
    snapshot = read_status(path)
    assert snapshot is not None
    assert (snapshot.progress.state, snapshot.progress.message) == (RunState.STOPPED, "stopped by SIGTERM")
    assert bench.reporter.shown[-1].state is RunState.STOPPED


def test_charges_are_told_and_kept(bench: Bench) -> None:
    lease = Lease(1, 10, 10, 2)
    verdict = Verdict(Decision.RETRY, (Charged(lease, LOST),), "attempt 2 of 4 failed")
    bench.teller.charged(0, 7, lease, LOST, 2_000_000, verdict)
    assert bench.teller.tally.by_kind[FailureKind.LOST] == 1
    assert "attempt 2 of 4" in bench.reporter.notes[0]
    bench.teller.committed(Group())
    assert "lost" in (bench.folder / "attempts.csv").read_text()


def test_a_pause_is_told_once(bench: Bench) -> None:
    for _ in range(3):
        bench.teller.paused("no room")
    assert len(bench.reporter.notes) == 1
    assert bench.teller.state is RunState.PAUSED


def test_notes_for_the_summary_are_few(bench: Bench) -> None:
    for number in range(200):
        bench.teller.note(f"warning {number}", level="warning")
        bench.teller.note("not worth keeping")
        bench.teller.warn(0, f"odd {number}")
        bench.teller.warn(1, f"odd {number}")
    assert len(bench.teller.notes) == 50
    assert bench.teller.notes["warning 3"] == 1
    assert bench.teller.notes["odd 3"] == 2
    assert len(bench.reporter.notes) == 600  # each oddity once, from whichever worker it came first
