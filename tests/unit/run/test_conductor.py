"""The loop, with an engine that plays what it is told: how a run ends, and what is committed then."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from batchctl.errors import BatchctlError, InitFailedError, NoSpaceError, ResumeRefusedError, StoppedError, StorageError
from batchctl.model.events import ColumnsSeen, EngineLost, Event, GuestWarned, LeasesReturned
from batchctl.model.job import ErrorThreshold
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind
from batchctl.model.progress import RunState
from batchctl.model.records import Quarantined
from batchctl.run.conductor import Conducted, Ending
from batchctl.run.journal import GROUP_S
from batchctl.store.publish import FilesChangedError, FilesRefusedError
from tests.unit.run.stage import FAILURE, Stage

TERM, INT, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGHUP


def keep(_slot: int, _lease: Lease) -> None:
    """The worker goes on with it."""


def test_all_is_scored_once_and_the_workers_leave(tmp_path: Path) -> None:
    stage = Stage(tmp_path, batches=7)
    assert stage.run() == Conducted(Ending.ALL_DONE, "")
    assert sorted(lease.batch for lease in stage.committer.committed()) == list(range(7))
    assert (stage.did("start"), stage.did("stop"), stage.did("kill")) == ([0, 1], [0, 1], [])
    claims = [lease for group in stage.committer.groups for lease in group.claims]
    assert sorted(claims) == sorted(stage.committer.committed())


def test_it_is_told_when_there_is_nothing_to_do_but_wait_for_the_last_ones(tmp_path: Path) -> None:
    stage = Stage(tmp_path, slots=2, batches=7)
    stage.engine.answers = keep
    stage.engine.plot = [
        lambda: stage.engine.finish(0, run_ns=200_000_000),
        lambda: stage.signals.come(TERM),
        lambda: stage.signals.come(INT),
    ]
    stage.run()
    assert stage.last_out == []
    stage = Stage(tmp_path, slots=2, batches=2)
    stage.engine.answers = keep
    stage.engine.plot = [lambda: stage.engine.finish(0), lambda: stage.engine.finish(1)]
    stage.run()
    assert stage.last_out
    assert set(stage.last_out) <= {1, 2}  # one with each worker
    stage = Stage(tmp_path, slots=1, batches=4)
    stage.engine.answers = keep
    stage.engine.plot = [lambda: stage.engine.finish(0, run_ns=1_000) for _ in range(4)]
    stage.run()
    assert set(stage.last_out) == {1}  # of the three that it had at once, the last


def test_a_run_with_nothing_left_starts_nobody(tmp_path: Path) -> None:
    assert Stage(tmp_path, batches=0).run().ending is Ending.ALL_DONE


# name: time in run(), time with what follows -> leases that a worker holds then
HELD = {
    "quick": (5_000, 9_000, 256),
    "slow to render": (5_000, 60_000_000, 2),
    "slow": (200_000_000, 200_000_000, 1),
}


@pytest.mark.parametrize("case", HELD)
def test_what_a_worker_holds_follows_from_all_that_a_lease_takes_it(tmp_path: Path, case: str) -> None:
    run_ns, busy_ns, held = HELD[case]
    stage = Stage(tmp_path, slots=1, batches=1000)
    engine = stage.engine
    engine.answers = keep
    found: list[int] = []
    engine.plot = [
        lambda: engine.finish(0, run_ns=run_ns, busy_ns=busy_ns),
        lambda: found.append(len(engine.hands[0])),
        lambda: stage.signals.come(TERM),
        lambda: stage.signals.come(INT),
    ]
    stage.run()
    assert found == [held]


# name: signals in a row -> (ending, reason)
SIGNALS = {
    "SIGTERM": ([TERM], Ending.STOPPED, "stopped by SIGTERM"),
    "SIGINT": ([INT], Ending.INTERRUPTED, "stopped by SIGINT"),
    "SIGHUP": ([HUP], Ending.STOPPED, "stopped by SIGHUP"),
}


@pytest.mark.parametrize("case", SIGNALS)
def test_the_first_signal_drains(tmp_path: Path, case: str) -> None:
    numbers, ending, reason = SIGNALS[case]
    stage = Stage(tmp_path, slots=1)
    engine = stage.engine
    engine.answers = keep
    engine.plot = [
        lambda: [stage.signals.come(number) for number in numbers],
        lambda: None,
        lambda: engine.finish(0),
    ]
    assert stage.run() == Conducted(ending, reason)
    assert len(engine.sent) == 1  # nothing was handed out after the signal
    assert stage.committer.committed() == [engine.sent[0][1]]
    assert stage.did("kill") == []
    assert stage.did("stop") == [0]  # shutdown() is called


def test_the_second_signal_kills_and_commits_what_is_finished(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    engine = stage.engine
    engine.answers = keep
    engine.plot = [
        lambda: stage.signals.come(TERM),
        lambda: (engine.finish(0), stage.signals.come(INT)),
    ]
    assert stage.run() == Conducted(Ending.STOPPED, "stopped by SIGTERM")
    assert stage.committer.committed() == [engine.sent[0][1]]
    assert 1 in stage.did("kill")
    assert stage.did("start") == [0, 1]


def test_two_signals_between_two_looks_are_two(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.engine.answers = keep
    stage.engine.plot = [lambda: (stage.signals.come(INT), stage.signals.come(INT))]
    began = stage.clock.now
    assert stage.run() == Conducted(Ending.INTERRUPTED, "stopped by SIGINT")
    assert stage.did("kill") == [0, 1]
    assert stage.clock.now - began < 5.0


def test_grace_is_a_limit(tmp_path: Path) -> None:
    stage = Stage(tmp_path, grace=30.0)
    stage.engine.answers = keep
    stage.engine.plot = [lambda: stage.signals.come(TERM)]
    began = stage.clock.now
    assert stage.run().ending is Ending.STOPPED
    assert 30.0 <= stage.clock.now - began < 32.0
    assert stage.did("kill") == [0, 1]
    assert stage.committer.committed() == []


def test_a_worker_that_cannot_be_killed_does_not_hold_the_run(tmp_path: Path) -> None:
    stage = Stage(tmp_path, slots=1)
    stage.engine.answers, stage.engine.immortal = keep, True
    stage.engine.plot = [lambda: stage.signals.come(TERM), lambda: stage.signals.come(TERM)]
    began = stage.clock.now
    assert stage.run().ending is Ending.STOPPED
    assert stage.clock.now - began < 40.0


def test_workers_that_do_not_leave_are_killed_and_the_run_stands(tmp_path: Path) -> None:
    stage = Stage(tmp_path, slots=1)
    stage.engine.immortal = True
    assert stage.run().ending is Ending.ALL_DONE
    assert stage.did("kill") == [0]
    assert any("did not leave" in note for note in stage.reporter.notes)


def test_a_drain_replaces_nobody(tmp_path: Path) -> None:
    stage = Stage(tmp_path, slots=1)
    stage.engine.answers = keep
    stage.engine.plot = [lambda: stage.signals.come(TERM), lambda: stage.engine.die(0)]
    assert stage.run().ending is Ending.STOPPED
    assert stage.did("start") == [0]


def test_the_threshold_aborts(tmp_path: Path) -> None:
    stage = Stage(tmp_path, batches=50, items=2, slots=1, error_threshold=ErrorThreshold(3))
    stage.engine.answers = keep
    stage.engine.plot = [lambda: stage.engine.finish(0, ok=1), lambda: None, lambda: None, lambda: None] * 50
    conducted = stage.run()
    assert conducted == Conducted(Ending.THRESHOLD, conducted.reason)
    assert "the error threshold is 3" in conducted.reason
    assert stage.did("kill") == [0]
    assert 4 <= len(stage.committer.committed()) < 50


def test_a_threshold_that_was_exceeded_before_starts_nobody(tmp_path: Path) -> None:
    stage = Stage(tmp_path, batches=5, error_threshold=ErrorThreshold(0))
    record = Quarantined(Lease(0, 0, 1, 4), FAILURE)
    stage.queue.replay(record)
    stage.teller.replay(record)
    stage.queue.settle()
    assert stage.run().ending is Ending.THRESHOLD
    assert stage.did("start") == []


def test_the_first_init_that_fails_ends_the_run(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.engine.inits = ["fails", "wait"]
    with pytest.raises(InitFailedError, match="ValueError: bad"):
        stage.run()
    assert stage.did("start") == [0, 1]
    assert 1 in stage.did("kill")


def test_later_ones_close_their_slot_and_the_last_slot_ends_the_run(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    engine = stage.engine
    engine.answers = keep
    engine.inits = ["ready", "fails", "fails", "fails"]
    engine.plot = [lambda: (engine.inits.extend(["fails"] * 3), engine.die(0))]
    with pytest.raises(InitFailedError):
        stage.run()
    assert stage.did("start") == [0, 1, 1, 1, 0, 0, 0]
    assert any("slot 1 is closed" in note for note in stage.reporter.notes)


def lose(stage: Stage) -> None:
    for slot in list(stage.engine.incarnations):
        stage.engine.die(slot)
    stage.engine.say(EngineLost("the fork server killed by SIGKILL"))


def test_three_fork_servers_lost_in_a_row_end_the_run(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.engine.answers = keep
    stage.engine.plot = [lambda: lose(stage)] * 3
    with pytest.raises(InitFailedError, match="3 times in a row"):
        stage.run()
    assert stage.committer.groups == []  # nobody was charged


def test_a_result_between_them_proves_that_it_works(tmp_path: Path) -> None:
    stage = Stage(tmp_path, batches=30)
    stage.engine.answers = keep
    step = [lambda: lose(stage), lambda: None, lambda: stage.engine.finish(0)]
    last = [lambda: setattr(stage.engine, "answers", stage.engine.scored), lambda: lose(stage)]
    stage.engine.plot = step * 4 + last
    assert stage.run().ending is Ending.ALL_DONE
    assert len(stage.committer.committed()) == 30


def test_inputs_that_changed_stop_the_run_before_they_are_handed_out(tmp_path: Path) -> None:
    asked: list[int] = []

    def changed(leases: Sequence[Lease]) -> BatchctlError | None:
        asked.extend(lease.batch for lease in leases)
        return ResumeRefusedError("changed") if any(lease.batch == 2 for lease in leases) else None

    stage = Stage(tmp_path, batches=10, slots=3, changed=changed)
    with pytest.raises(ResumeRefusedError):
        stage.run()
    assert sorted(lease.batch for _, lease in stage.engine.sent) == [0, 1]
    assert sorted(lease.batch for lease in stage.committer.committed()) == [0, 1]  # what was under way counts
    assert asked == [0, 1, 2]


@pytest.mark.parametrize("known", [b"", b"a,b\n"])
def test_other_columns_fail_their_mini_batch(tmp_path: Path, known: bytes) -> None:
    stage = Stage(tmp_path, batches=2, slots=2, columns=known, max_retries=0)
    engine = stage.engine
    engine.answers = keep

    def answer() -> None:
        for slot, header in ((0, b"a,b\n"), (1, b"b,a\n")):
            engine.say(ColumnsSeen(slot, engine.incarnations[slot], header))
            engine.finish(slot)

    engine.plot = [answer]
    assert stage.run().ending is Ending.ALL_DONE
    assert [lease.batch for lease in stage.committer.committed()] == [0]
    (given_up,) = [record for group in stage.committer.groups for record in group.quarantined]
    assert (given_up.lease.batch, given_up.failure.error) == (1, "ColumnsChanged")
    assert "b,a" in given_up.failure.message
    assert [group.columns for group in stage.committer.groups if group.columns] == ([] if known else [b"a,b\n"])


def test_a_file_that_cannot_be_published_fails_its_mini_batch_alone(tmp_path: Path) -> None:
    refusal = FilesChangedError("a.txt changed", lease=Lease(1, 1, 1, 1), path="a.txt")
    stage = Stage(tmp_path, batches=3, slots=3, troubles=[refusal], max_retries=1)
    assert stage.run().ending is Ending.ALL_DONE
    assert sorted(stage.committer.committed()) == [Lease(0, 0, 1, 1), Lease(1, 1, 1, 2), Lease(2, 2, 1, 1)]
    (charged,) = [record for group in stage.committer.groups for record in group.charged]
    assert (charged.lease, charged.failure.error) == (Lease(1, 1, 1, 1), "FilesChanged")


def test_a_name_that_is_taken_is_not_tried_twice(tmp_path: Path) -> None:
    refusal = FilesRefusedError("two wrote a.txt", lease=Lease(1, 1, 1, 1), path="a.txt")
    stage = Stage(tmp_path, batches=3, slots=3, troubles=[refusal], max_retries=3)
    assert stage.run().ending is Ending.ALL_DONE
    assert sorted(stage.committer.committed()) == [Lease(0, 0, 1, 1), Lease(2, 2, 1, 1)]
    (given_up,) = [record for group in stage.committer.groups for record in group.quarantined]
    assert (given_up.lease, given_up.failure.error) == (Lease(1, 1, 1, 1), "FilesRefused")


def test_a_full_disk_pauses_the_run(tmp_path: Path) -> None:
    full = NoSpaceError("no room")
    stage = Stage(tmp_path, batches=10, slots=1, troubles=[None, full, full])
    states = []

    def answer(slot: int, lease: Lease) -> Event:
        stage.clock.now += GROUP_S  # so each has a group of its own
        return stage.engine.scored(slot, lease)

    stage.engine.answers = answer
    stage.engine.plot = [lambda: states.append((stage.teller.state, len(stage.engine.sent)))] * 40
    assert stage.run().ending is Ending.ALL_DONE
    assert len(stage.committer.committed()) == 10
    paused = {sent for state, sent in states if state is RunState.PAUSED}
    assert len(paused) == 1  # nothing was handed out meanwhile
    assert any("paused: no room" in note for note in stage.reporter.notes)


def test_a_worker_without_room_pauses_the_run_and_is_not_charged(tmp_path: Path) -> None:
    stage = Stage(tmp_path, batches=4, slots=1)
    tries: list[float] = []
    states: list[RunState] = []

    def answer(slot: int, lease: Lease) -> Event:
        if lease.batch == 1 and len(tries) < 8:
            tries.append(stage.clock.now)
            return LeasesReturned(slot, stage.engine.incarnations[slot], (lease,), True, "no room for its files")
        return stage.engine.scored(slot, lease)

    stage.engine.answers = answer
    stage.engine.plot = [lambda: states.append(stage.teller.state)] * 2000
    assert stage.run().ending is Ending.ALL_DONE
    assert {lease.batch for lease in stage.committer.committed()} == {0, 1, 2, 3}
    assert not [record for group in stage.committer.groups for record in group.charged]
    assert len(tries) == 8  # more often than a lease may return for other reasons
    assert all(later - before >= 1.0 for before, later in pairwise(tries))
    assert RunState.PAUSED in states
    assert any("paused: no room for its files" in note for note in stage.reporter.notes)


def test_a_disk_that_stays_full_stops_the_run(tmp_path: Path) -> None:
    stage = Stage(tmp_path, troubles=[NoSpaceError("no room")] * 500, pause_max=20.0)
    began = stage.clock.now
    with pytest.raises(StoppedError, match="20 s"):
        stage.run()
    assert 20.0 <= stage.clock.now - began < 60.0  # this clock goes on while the disk is at work


def test_a_signal_while_the_disk_is_full_does_not_wait_for_room(tmp_path: Path) -> None:
    stage = Stage(tmp_path, troubles=[NoSpaceError("no room")] * 500)
    stage.engine.plot = [lambda: None] * 30 + [lambda: stage.signals.come(TERM)]
    assert stage.run().ending is Ending.STOPPED
    assert stage.committer.groups == []


def test_failed_storage_ends_the_run_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="EIO"):
        Stage(tmp_path, troubles=[StorageError("EIO")]).run()


def test_returned_leases_are_run_again_uncharged(tmp_path: Path) -> None:
    stage = Stage(tmp_path, batches=2, slots=1)
    stage.engine.answers = keep
    stage.engine.plot = [lambda: stage.engine.die(0), lambda: setattr(stage.engine, "answers", stage.engine.scored)]
    stage.engine.plot += [lambda: stage.engine.die(0)]
    assert stage.run().ending is Ending.ALL_DONE
    assert sorted(stage.committer.committed()) == [Lease(0, 0, 1, 1), Lease(1, 1, 1, 1)]
    assert not [record for group in stage.committer.groups for record in group.charged]


@pytest.mark.parametrize("cleared", [True, False])
def test_what_comes_back_with_a_lease_that_answers_for_it_is_never_charged(tmp_path: Path, cleared: bool) -> None:
    stage = Stage(tmp_path, batches=4, slots=1)
    tries: list[int] = []

    def answer(slot: int, lease: Lease) -> Event:
        if lease.batch == 1 and len(tries) < 8:
            tries.append(lease.attempt)
            return LeasesReturned(slot, stage.engine.incarnations[slot], (lease,), False, cleared=cleared)
        return stage.engine.scored(slot, lease)

    stage.engine.answers = answer
    assert stage.run().ending is Ending.ALL_DONE
    assert {lease.batch for lease in stage.committer.committed()} == {0, 1, 2, 3}
    assert len([record for group in stage.committer.groups for record in group.charged]) == (0 if cleared else 1)


def test_where_it_is_unclear_who_kills_workers_each_holds_one_lease(tmp_path: Path) -> None:
    stage = Stage(tmp_path, batches=400, slots=1)
    returned: list[Lease] = []
    held: list[int] = []

    def answer(slot: int, lease: Lease) -> Event | None:
        held.append(stage.engine.in_hand(slot))
        if lease.batch == 300 and len(returned) < 4:
            returned.append(lease)
            return LeasesReturned(slot, stage.engine.incarnations[slot], (lease,), True, cleared=True)
        return stage.engine.scored(slot, lease, run_ns=100_000)

    stage.engine.answers = answer
    assert stage.run().ending is Ending.ALL_DONE
    assert len(stage.committer.committed()) == 400
    assert max(held) > 1
    at = [number for number, (_, lease) in enumerate(stage.engine.sent) if lease.batch == 300]
    assert [held[number] for number in at[2:]] == [1, 1, 1]


def test_failures_are_masked_before_they_are_kept(tmp_path: Path) -> None:
    stage = Stage(tmp_path, batches=2, slots=1, max_retries=0)
    stage.conductor._mask = lambda failure: Failure(failure.kind, failure.error, "***")
    secret = Failure(FailureKind.FAILED, "E", "hunter2")
    stage.engine.answers = lambda slot, lease: stage.engine.failed(slot, lease, secret)
    stage.run()
    kept = [
        record.failure.message for group in stage.committer.groups for record in (*group.charged, *group.quarantined)
    ]
    assert set(kept) == {"***"}
    assert not any("hunter2" in note for note in stage.reporter.notes)


def test_warnings_are_told_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path, batches=1, slots=1)
    stage.engine.plot = []
    stage.engine.answers = keep
    warned = [GuestWarned(0, 1, "odd rows")] * 3 + [GuestWarned(-1, 0, "the fork server coughs")]
    stage.engine.plot = [lambda: stage.engine.say(*warned), lambda: stage.engine.finish(0)]
    stage.run()
    assert [note for note in stage.reporter.notes if "odd" in note] == ["warning: worker 0: odd rows"]
    assert stage.teller.notes == {"odd rows": 3, "the fork server coughs": 1}


def test_workers_that_have_just_brought_all_they_had_end_no_group(tmp_path: Path) -> None:
    stage = Stage(tmp_path, batches=50, slots=2)
    assert stage.run().ending is Ending.ALL_DONE
    assert len(stage.committer.committed()) == 50
    assert len(stage.committer.groups) == 1  # no time has passed on this clock
