"""How a late worker is ended, step by step on an injected clock; the process is a real one that reports its signals."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from batchctl import processes
from batchctl.engine.deadlines import Deadlines
from batchctl.engine.worker import Phase, Worker
from batchctl.guest import page, wire
from batchctl.model.lease import Lease
from batchctl.model.node import Slot
from tests.contract.engine_bench import Sink

MS = 1_000_000
S = 1000 * MS
START = 1_000_000 * S
# Reports each signal that it gets on its standard output, and never ends by itself.
TARGET = """
import os, signal, sys
numbers = (int(sys.argv[1]), signal.SIGTERM)
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
os.write(1, b"up\\n")
while True:
    os.write(1, b"%d\\n" % signal.sigwait(numbers))
"""


class Target:
    """A process in a group of its own, and the worker that it plays."""

    def __init__(self) -> None:
        argv = [sys.executable, "-SE", "-c", TARGET, str(wire.DUMP_SIGNAL)]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, process_group=0)
        self.worker = Worker(Slot(0, (), 1), 1, 1, log_sink=Sink(), started_ns=START)
        self.page = page.Page(self.worker.ends.page)
        self.worker.ends.close()
        self.worker.pid = self.process.pid
        self.worker.phase, self.worker.ready = Phase.READY, True
        assert self.said() == b"up\n"

    def said(self, *, seconds: float = 60) -> bytes:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        return os.read(self.process.stdout.fileno(), 100) if ready else b""

    def quiet(self) -> bool:
        """Nothing was said: signals arrive in order, so a probe that is answered alone proves it."""
        os.kill(self.process.pid, wire.DUMP_SIGNAL)
        return self.said() == b"%d\n" % wire.DUMP_SIGNAL

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.page.close()
        self.worker.close()


@pytest.fixture
def target() -> Iterator[Target]:
    found = Target()
    yield found
    found.close()


def test_the_steps_dump_term_kill(target: Target) -> None:
    deadlines, worker = Deadlines(30, 3600), target.worker
    target.page.put(page.RUN, 1, START)
    deadlines.check(worker, START + 30 * S)
    assert worker.phase is Phase.READY
    late = START + 30 * S + 1
    deadlines.check(worker, late)
    assert worker.phase is Phase.LATE
    assert target.said() == b"%d\n" % wire.DUMP_SIGNAL
    deadlines.check(worker, late + 49 * MS)
    assert target.quiet()
    deadlines.check(worker, late + 50 * MS)
    assert target.said() == b"%d\n" % signal.SIGTERM
    deadlines.check(worker, late + 1049 * MS)
    assert target.quiet()
    assert target.process.poll() is None
    deadlines.check(worker, late + 1050 * MS)
    assert target.process.wait(10) == -signal.SIGKILL
    assert worker.late_because == "run() took longer than timeout (30 s)"
    deadlines.check(worker, late + 2 * S)  # the group is gone: nothing to do


def test_a_stopped_process_is_killed_at_once(target: Target) -> None:
    deadlines = Deadlines(30, 3600)
    os.kill(target.process.pid, signal.SIGSTOP)
    os.waitpid(target.process.pid, os.WUNTRACED)
    assert processes.is_stopped(target.process.pid)
    target.page.put(page.RUN, 1, START)
    deadlines.check(target.worker, START + 31 * S)
    assert target.process.wait(10) == -signal.SIGKILL
    assert target.worker.phase is Phase.LATE


# name: (timeout, init_timeout, ready, state, phase, seconds since the state (or the start) began) -> late?
LATE = {
    "in run, in time": (30, 60, True, page.RUN, Phase.READY, 30, False),
    "in run, late": (30, 60, True, page.RUN, Phase.READY, 30.001, True),
    "in run, no limit": (0, 60, True, page.RUN, Phase.READY, 1e6, False),
    "in run, told to stop": (30, 60, True, page.RUN, Phase.STOPPING, 31, True),
    "in run, killed already": (30, 60, True, page.RUN, Phase.KILLED, 31, False),
    "rendering": (30, 60, True, page.RENDER, Phase.READY, 31, False),
    "sending": (30, 60, True, page.SEND, Phase.READY, 31, False),
    "idle": (30, 60, True, page.IDLE, Phase.READY, 1e6, False),
    "in init, in time": (30, 60, False, page.INIT, Phase.STARTING, 60, False),
    "in init, late": (30, 60, False, page.INIT, Phase.STARTING, 60.001, True),
    "in init, no limit": (30, 0, False, page.INIT, Phase.STARTING, 1e6, False),
    "at its start, longer than init may take": (30, 60, False, page.STARTING, Phase.STARTING, 600, False),
    "at its start, late": (30, 60, False, page.STARTING, Phase.STARTING, 600.001, True),
    "past init, and never ready": (30, 60, False, page.IDLE, Phase.STARTING, 60.001, True),
    "in shutdown, in time": (5, 60, True, page.SHUTDOWN, Phase.STOPPING, 30, False),
    "in shutdown, late": (5, 60, True, page.SHUTDOWN, Phase.STOPPING, 31, True),
    "in shutdown, no limit on run": (0, 0, True, page.SHUTDOWN, Phase.STOPPING, 31, True),
}


@pytest.mark.parametrize("case", LATE)
def test_who_is_late(target: Target, case: str) -> None:
    timeout, init_timeout, ready, state, phase, seconds, late = LATE[case]
    worker = target.worker
    worker.ready, worker.phase = ready, phase
    target.page.put(state, 1, START)
    worker.started_ns = START if state == page.STARTING else START - 300 * S  # init() counts from its own beginning
    Deadlines(timeout, init_timeout, 600).check(worker, START + int(seconds * S))
    assert (worker.phase is Phase.LATE) is late
    assert (target.said(seconds=10 if late else 0.0) != b"") is late


def test_who_has_no_pid_yet_is_not_late(target: Target) -> None:
    target.worker.pid, target.worker.ready, target.worker.phase = 0, False, Phase.STARTING
    Deadlines(30, 60).check(target.worker, START + 61 * S)
    assert target.worker.phase is Phase.STARTING


def test_a_worker_that_was_asked_for_and_of_which_nothing_is_heard(target: Target) -> None:
    deadlines, worker = Deadlines(30, 60), target.worker
    worker.pid, worker.ready, worker.phase = 0, False, Phase.STARTING
    assert not deadlines.is_stuck(worker, START + 120 * S - 1, heard_ns=START - 60 * S)
    assert deadlines.is_stuck(worker, START + 120 * S, heard_ns=START - 60 * S)
    assert not deadlines.is_stuck(worker, START + 120 * S, heard_ns=START + 1 * S)  # it answers somebody else
    for now in (1, 2, 602):  # nobody looked in between
        deadlines.tick(START + now * S)
    assert not deadlines.is_stuck(worker, START + 719 * S, heard_ns=START)
    assert deadlines.is_stuck(worker, START + 720 * S, heard_ns=START)


def test_who_comes_back_before_the_end_is_forgiven(target: Target) -> None:
    deadlines, worker = Deadlines(30, 3600), target.worker
    target.page.put(page.RUN, 1, START)
    deadlines.check(worker, START + 31 * S)
    assert target.said() == b"%d\n" % wire.DUMP_SIGNAL
    target.page.put(page.IDLE, 1, START + 31 * S)
    deadlines.check(worker, START + 32 * S)
    assert worker.phase is Phase.READY
    assert target.quiet()
    target.page.put(page.RUN, 2, START + 40 * S)
    deadlines.check(worker, START + 60 * S)
    assert worker.phase is Phase.READY
    deadlines.check(worker, START + 71 * S)
    assert worker.phase is Phase.LATE


def test_who_comes_to_its_init_before_the_end_is_starting_as_before(target: Target) -> None:
    deadlines, worker = Deadlines(30, 60, 600), target.worker
    worker.ready, worker.phase = False, Phase.STARTING
    deadlines.check(worker, START + 601 * S)
    assert worker.phase is Phase.LATE
    target.page.put(page.INIT, 0, START + 601 * S)
    deadlines.check(worker, START + 602 * S)
    assert worker.phase is Phase.STARTING


# name: (ready, told to leave, state, what is said)
REASONS = {
    "start": (False, False, page.STARTING, "it did not come to import the script within 600 s"),
    "run": (True, False, page.RUN, "run() took longer than timeout (1.5 s)"),
    "init": (False, False, page.INIT, "init() took longer than init_timeout (60 s)"),
    "shutdown": (True, True, page.SHUTDOWN, "shutdown() took longer than 30 s"),
    "idle": (True, True, page.IDLE, "it did not leave within 30 s of being told to"),
}


@pytest.mark.parametrize("case", REASONS)
@pytest.mark.parametrize("then", [page.INIT, page.IDLE, page.RUN, page.SHUTDOWN])
def test_why_it_was_late_is_told_whatever_it_does_by_its_end(target: Target, case: str, then: int) -> None:
    deadlines, worker = Deadlines(1.5, 60, 600), target.worker
    worker.ready, told, state, words = REASONS[case]
    worker.phase, worker.told_ns = Phase.READY, START if told else 0
    target.page.put(state, 1, START)
    late = START + 601 * S
    deadlines.check(worker, late)
    deadlines.check(worker, late + 50 * MS)
    target.page.put(then, 1, late + 60 * MS)
    worker.ready = True  # said in time to be heard before its end
    deadlines.check(worker, late + 1050 * MS)
    assert (worker.phase, worker.late_because) == (Phase.LATE, words)


def test_a_time_in_which_nobody_looked_does_not_count(target: Target) -> None:
    """All of a job was suspended: twice, once from before this run() began."""
    deadlines, worker = Deadlines(30, 3600), target.worker
    target.page.put(page.RUN, 1, START + 60 * S)
    seen = (0, 100, *range(101, 111), *range(900, 920))  # from 60 to 100 nothing counts, from 110 to 900 neither
    for now in seen:
        deadlines.tick(START + now * S)
        deadlines.check(worker, START + now * S)
        assert worker.phase is Phase.READY
    deadlines.check(worker, START + 920 * S)
    assert worker.phase is Phase.READY
    deadlines.check(worker, START + 920 * S + 1)
    assert worker.phase is Phase.LATE


# name: what the worker does, and whether it was told to leave at START
LEAVING = {"in shutdown()": (page.SHUTDOWN, False), "idle, told to leave": (page.IDLE, True)}


@pytest.mark.parametrize("case", LEAVING)
def test_a_time_in_which_nobody_looked_does_not_count_for_leaving_either(target: Target, case: str) -> None:
    deadlines, worker = Deadlines(30, 3600), target.worker
    state, told = LEAVING[case]
    worker.phase, worker.told_ns = Phase.STOPPING, START if told else 0
    target.page.put(state, 0, START)
    for now in (0, 1, 2, 602):
        deadlines.tick(START + now * S)
        deadlines.check(worker, START + now * S)
        assert worker.phase is Phase.STOPPING
    deadlines.check(worker, START + 630 * S)
    assert worker.phase is Phase.STOPPING
    deadlines.check(worker, START + 630 * S + 1)
    assert worker.phase is Phase.LATE


def test_who_was_killed_and_does_not_die_is_held_and_no_fault_of_the_servers(target: Target) -> None:
    deadlines, worker = Deadlines(30, 3600), target.worker
    target.page.put(page.RUN, 1, START)
    late = START + 30 * S + 1
    termed = late + 50 * MS
    for now in (late, termed):
        deadlines.tick(now)
        deadlines.check(worker, now)
    assert not deadlines.is_held(worker, termed + 6 * S - 1)
    assert deadlines.is_held(worker, termed + 6 * S)
    assert not deadlines.is_stuck(worker, termed + 600 * S, heard_ns=START)
    deadlines.tick(termed + 600 * S)  # nobody looked: the coordinator itself was stopped
    assert not deadlines.is_held(worker, termed + 606 * S - 1)
    assert deadlines.is_held(worker, termed + 606 * S)


def test_a_death_that_is_not_reported_is_the_servers_fault(target: Target) -> None:
    deadlines, worker = Deadlines(30, 3600), target.worker
    target.page.put(page.RUN, 1, START)
    late = START + 30 * S + 1
    termed = late + 50 * MS
    for now in (late, termed):
        deadlines.tick(now)
        deadlines.check(worker, now)
    target.process.kill()
    os.waitid(os.P_PID, target.process.pid, os.WEXITED | os.WNOWAIT)  # a zombie from here on
    seen = termed + 60 * S
    deadlines.tick(seen)
    assert not deadlines.is_stuck(worker, seen, heard_ns=START)  # it may have died this moment
    assert not deadlines.is_held(worker, seen)
    assert not deadlines.is_stuck(worker, seen + 5 * S - 1, heard_ns=START)
    assert deadlines.is_stuck(worker, seen + 5 * S, heard_ns=START)
    deadlines.tick(seen + 600 * S)
    assert not deadlines.is_stuck(worker, seen + 604 * S, heard_ns=START)
    target.process.wait()
    assert deadlines.is_stuck(worker, seen + 605 * S, heard_ns=START)  # gone altogether


def test_an_idle_worker_that_does_not_heed_an_order_to_leave(target: Target) -> None:
    deadlines, worker = Deadlines(0, 0), target.worker
    lease = Lease(0, 0, 1, 1)
    worker.outstanding[1] = lease
    target.page.put(page.IDLE, 0, page.now_ns())
    worker.tell_to_stop()
    told = worker.told_ns
    deadlines.check(worker, told + 100 * S)  # it has something in hand, and no timeout is set
    assert worker.phase is Phase.STOPPING
    del worker.outstanding[1]
    deadlines.check(worker, told + 30 * S)
    assert worker.phase is Phase.STOPPING
    os.kill(target.process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, target.process.pid, os.WSTOPPED | os.WNOWAIT)
    deadlines.check(worker, told + 30 * S + 1)
    assert worker.phase is Phase.LATE
    assert "did not leave within 30 s" in worker.late_because
    assert target.process.wait(10) == -signal.SIGKILL
