"""What every engine promises (engine.base.Engine), with real processes and a real guest. Add one to ENGINES and it is
tested here."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchctl import processes
from batchctl.engine import deadlines, pool, standstill
from batchctl.engine.base import ScriptFacts
from batchctl.engine.registry import ENGINES
from batchctl.errors import UsageError
from batchctl.model.events import (
    ColumnsSeen,
    EngineLost,
    GuestWarned,
    InitFailed,
    LeaseFailed,
    LeasesReturned,
    LeasesScored,
    WorkerGone,
    WorkerReady,
)
from batchctl.model.job import OutputFormat, Scorer
from batchctl.model.outcome import FailureKind, Shortage
from tests.contract.engine_bench import Bench, alive, children, descriptors, wait_for

ECHO = "def run(batch):\n    return [os.path.basename(path) for path in batch]\n"
GATED = "def run(batch):\n    mark('ran', os.path.basename(batch[0]))\n    gate()\n    return batch\n"

# What an item's name asks for, and what becomes of its lease: (statement, outcome, what the cause says)
DEATHS = {
    "exit1": ("os._exit(1)", "lost", "exited with code 1"),
    "exit0": ("os._exit(0)", "lost", "exited with code 0"),
    "sigkill": ("os.kill(os.getpid(), signal.SIGKILL)", "lost", "SIGKILL"),
    "segfault": ("ctypes.string_at(0)", "lost", "SIGSEGV"),
    "abort": ("os.abort()", "lost", "SIGABRT"),
    "sigterm": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", "lost", "SIGTERM"),
    "child": ("os.fork() or time.sleep(600); os._exit(1)", "lost", "exited with code 1"),
    "channel": ("os.closerange(3, 2000)", "unsent", "exited with code 71"),
}
TROUBLE = "def run(batch):\n    what = kind(batch[0])\n    if what == 'raise': raise ValueError(batch[0])\n"
for _name, (_statement, _, _) in DEATHS.items():
    TROUBLE += f"    if what == {_name!r}: {_statement}\n"
TROUBLE += "    if what == 'low': os.closerange(0, 21)\n    return [what]\n"


@pytest.fixture(params=list(ENGINES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    found = Bench(ENGINES[request.param], tmp_path)
    yield found
    found.engine.close()
    processes.end_leftovers(found.run_id)


def test_every_lease_comes_back_exactly_once(bench: Bench) -> None:
    kinds = ["ok", "raise", "exit1", "ok", "low", "segfault", "ok", "channel", "ok", "sigkill", "raise", "ok"] * 2
    leases = bench.configure(TROUBLE, items=kinds)
    waiting = list(leases)
    live: dict[int, bool] = {}  # slot -> ready
    told = 0
    for slot in (0, 1):
        bench.begin(slot)
    while len(bench.outcomes()) < len(leases):
        bench.more()
        for event in bench.events[told:]:
            if isinstance(event, WorkerReady):
                live[event.slot] = True
            elif isinstance(event, WorkerGone):
                live[event.slot] = False
                bench.begin(event.slot)
        told = len(bench.events)
        for slot, ready in live.items():
            if ready and waiting and not bench.engine.in_hand(slot):
                bench.engine.send(slot, [waiting.pop(0) for _ in range(min(4, len(waiting)))])
    assert all(len(told) == 1 for told in bench.outcomes().values()), bench.outcomes()
    assert sum(bench.engine.in_hand(slot) for slot in (0, 1)) == 0
    for lease, (outcome,) in bench.outcomes().items():
        what = kinds[lease.batch]
        allowed = {"ok": "scored", "low": "scored", "raise": "failed", "channel": "unsent"}.get(what, "lost")
        assert outcome in (allowed, "returned", "unsent"), (what, outcome)


@pytest.mark.parametrize("what", DEATHS)
def test_a_death_is_charged_to_what_ran_alone(bench: Bench, what: str) -> None:
    _, outcome, cause = DEATHS[what]
    before, guilty, after, other = bench.configure(TROUBLE, items=["ok", what, "ok", "ok"])
    bench.start(0, 1)
    bench.engine.send(0, [before])
    bench.settled([before])
    bench.engine.send(0, [guilty, after])
    gone = bench.gone()
    assert bench.outcomes() == {before: ["scored"], guilty: [outcome], after: ["returned"]}
    assert (gone.slot, gone.expected) == (0, False)
    assert cause in gone.cause
    for event in bench.seen(LeaseFailed):
        assert event.failure.kind is FailureKind.LOST
        assert cause in event.failure.message
    bench.engine.send(1, [other])
    assert bench.settled([other])[other] == ["scored"]
    assert {event.slot for event in bench.seen(WorkerGone)} == {0}


def test_an_exception_costs_one_lease_and_no_worker(bench: Bench) -> None:
    leases = bench.configure(TROUBLE, items=["ok", "raise", "low", "ok"])
    bench.start(0)
    bench.engine.send(0, leases)
    outcomes = bench.settled(leases)
    assert [outcomes[lease] for lease in leases] == [["scored"], ["failed"], ["scored"], ["scored"]]
    (failed,) = bench.seen(LeaseFailed)
    assert (failed.failure.error, failed.lease) == ("ValueError", leases[1])
    assert "score.py" in failed.failure.traceback
    assert "guest" not in failed.failure.traceback
    assert not bench.seen(WorkerGone)


def test_scored_carries_rows_and_counts(bench: Bench) -> None:
    leases = bench.configure("def run(batch):\n    print('hello')\n    return ['a', 'b']\n")
    bench.start(0)
    bench.engine.send(0, leases[:1])
    bench.settled(leases[:1])
    (event,) = bench.seen(LeasesScored)
    (scored,) = event.scored
    assert (scored.rows, scored.length, scored.n_rows, scored.ok, scored.failed) == (b"a\nb\n", 4, 2, 1, 0)
    assert [e.text for e in bench.seen(GuestWarned)] == [
        "run() returned 2 rows for 1 items; all are written, and no more than 1 items count as succeeded"
    ]
    bench.until(lambda: b"hello" in bench.sinks[event.incarnation].data)


def test_columns_come_before_their_rows(bench: Bench) -> None:
    leases = bench.configure("def run(batch):\n    return [{'a': 1, 'b': 2}]\n", output_format=OutputFormat.CSV)
    bench.start(0)
    bench.engine.send(0, leases[:3])
    bench.settled(leases[:3])
    told = [event for event in bench.events if isinstance(event, (ColumnsSeen, LeasesScored))]
    assert isinstance(told[0], ColumnsSeen)
    assert sum(len(event.scored) for event in told[1:] if isinstance(event, LeasesScored)) == 3
    assert bench.seen(ColumnsSeen)[0].header == b"a,b\n"


# name: (body of run, seconds that the steps may take beyond the timeout)
LATE = {
    "sleeps": "time.sleep(600)",
    "spins": "while True: pass",
    "is stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "is deaf to SIGTERM": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    while True: time.sleep(60)",
}


@pytest.mark.parametrize("case", LATE)
def test_a_late_worker_is_ended_and_its_lease_alone_timed_out(
    bench: Bench, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, timeout = LATE[case], 0.3
    if case == "sleeps":  # SIGTERM waits until the stacks are there, however long the worker gets no cpu
        monkeypatch.setattr(deadlines, "_DUMP_NS", 10**12)
    leases = bench.configure(f"def run(batch):\n    mark('ran')\n    {body}\n", timeout=timeout)
    bench.start(0)
    bench.engine.send(0, leases[:2])
    bench.until(lambda: bench.marks("ran") or bench.state() == "run")
    began = time.monotonic()
    if case == "sleeps":
        bench.until(lambda: b"score.py" in bench.sinks[1].data)
        monkeypatch.undo()
    gone = bench.gone()
    assert time.monotonic() - began <= timeout + 10
    assert bench.outcomes() == {leases[0]: ["timed_out"], leases[1]: ["returned"]}
    assert not gone.expected
    assert "0.3 s" in gone.cause
    failure = bench.seen(LeaseFailed)[0].failure
    assert (failure.kind, failure.error) == (FailureKind.TIMED_OUT, "TimedOut")
    if case == "sleeps":
        assert "score.py" in failure.traceback  # the stack dump


@pytest.mark.parametrize("who", ["worker", "fork server", "fork server, after a preload"])
def test_who_is_stopped_where_no_deadline_looks_is_replaced(
    bench: Bench, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Idle, with a lease before it that it will never take up; or a server that will never fork again."""
    monkeypatch.setattr(standstill, "_LOOKS", 5)
    leases = bench.configure(ECHO, preload=("wave",) if "preload" in who else ())
    bench.start(0)
    (worker,) = bench.pids()
    pid = worker if who == "worker" else _parent(worker)
    bench.until(lambda: bench.state() == "idle")
    os.kill(pid, signal.SIGSTOP)
    bench.engine.send(0, leases[:1])
    if who == "worker":
        assert "stopped" in bench.gone().cause
        assert bench.outcomes() == {leases[0]: ["returned"]}
    else:
        bench.settled(leases[:1])
        bench.until(lambda: bench.seen(EngineLost))
    bench.start(0)
    bench.engine.send(0, leases[1:2])
    assert bench.settled(leases[1:2])[leases[1]] == ["scored"]


def test_a_killed_worker_that_takes_long_to_die_costs_nobody_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel that holds it, as in an uninterruptible sleep, is played by a SIGKILL that does not arrive."""
    monkeypatch.setattr(deadlines, "_HELD_NS", 300_000_000)
    script = "def run(batch):\n    while kind(batch[0]) == 'held': time.sleep(0.01)\n    return batch\n"
    script = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + script
    leases = bench.configure(script, items=["held", "ok", "ok", "ok"], timeout=0.3)
    bench.start(0, 1)
    held, other = bench.pids()
    send = processes.kill_group
    monkeypatch.setattr(
        processes, "kill_group", lambda pid, number: (pid, number) == (held, signal.SIGKILL) or send(pid, number)
    )
    bench.engine.send(0, leases[:2])
    gone = bench.gone()
    assert (gone.slot, gone.expected, "0.3 s" in gone.cause) == (0, False, True)
    assert bench.outcomes() == {leases[0]: ["timed_out"], leases[1]: ["returned"]}
    assert alive(held) and alive(other)
    bench.start(0)  # the slot goes on without it
    os.kill(held, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{held}").exists(), "the server to reap it")
    bench.engine.send(0, leases[2:3])
    bench.engine.send(1, leases[3:])
    assert bench.settled(leases[2:])[leases[3]] == ["scored"]
    assert len(bench.seen(WorkerGone)) == 1
    assert not bench.seen(EngineLost)


@pytest.mark.parametrize("preload", [(), ("wave",)], ids=["plain", "after a preload"])
def test_a_server_that_never_answers_a_fork_is_replaced(
    bench: Bench, preload: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped, which is looked away from here, as one would be that hangs in a system call."""
    monkeypatch.setattr(standstill, "_LOOKS", 10**9)
    leases = bench.configure(ECHO, preload=preload)
    bench.start(0)
    os.kill(_parent(bench.pids()[0]), signal.SIGSTOP)
    bench.begin(1)
    monkeypatch.setattr(deadlines, "_FORK_NS", 300_000_000)
    bench.until(lambda: bench.seen(EngineLost))
    assert "begun" in bench.seen(EngineLost)[0].cause
    monkeypatch.undo()
    bench.events.clear()
    bench.start(0)
    bench.engine.send(0, leases[:1])
    assert bench.settled(leases[:1])[leases[0]] == ["scored"]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


def test_a_lease_that_is_not_run_is_never_late(bench: Bench) -> None:
    leases = bench.configure("def run(batch):\n    time.sleep(0.5)\n    return batch\n", timeout=5.5)
    bench.start(0)
    bench.engine.send(0, leases)
    assert len(leases) * 0.5 > 5.5, "waiting and running together"
    assert all(bench.settled(leases)[lease] == ["scored"] for lease in leases)


# name: (script, kind of failure, what it says)
INITS = {
    "raises": ("def init(): raise KeyError('weights')\n", FailureKind.FAILED, "weights"),
    "exits": ("def init(): sys.exit(3)\n", FailureKind.FAILED, "3"),
    "dies": ("def init(): os._exit(9)\n", FailureKind.LOST, "exited with code 9"),
    "is late": ("def init(): time.sleep(600)\n", FailureKind.TIMED_OUT, "init_timeout"),
    "has no run": ("run = 5\ndef init(): pass\n#", FailureKind.FAILED, "run"),
    "does not import": ("import no_such_module_at_all\n", FailureKind.FAILED, "no_such_module_at_all"),
}


@pytest.mark.parametrize("case", INITS)
def test_an_init_that_fails_is_told_before_the_worker_is_gone(bench: Bench, case: str) -> None:
    script, kind, text = INITS[case]
    bench.configure(script + ("" if script.endswith("#") else ECHO), init_timeout=0.4 if case == "is late" else 30.0)
    bench.begin(0)
    gone = bench.gone()
    failed = bench.init_failed()
    assert failed.failure.kind is kind
    assert text in failed.failure.message
    assert bench.events.index(failed) < bench.events.index(gone)
    assert len(bench.seen(InitFailed)) == 1
    assert not bench.seen(WorkerReady)


def test_to_wait_for_room_is_not_init(bench: Bench) -> None:
    """The disk is full for longer than init() may take: a worker looks again after a second."""
    small = bench.root / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "nr_inodes=1", "tmpfs", str(small)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"not run: {done.stderr.strip()}")
    try:
        leases = bench.configure(ECHO, stage=small, init_timeout=3.0, start_timeout=60.0)
        bench.begin(0)
        bench.until(lambda: any("waits for room" in event.text for event in bench.seen(GuestWarned)))
        noted = time.monotonic()
        bench.until(lambda: time.monotonic() - noted > 3.5)
        subprocess.run(["mount", "-o", "remount,nr_inodes=50", str(small)], check=True)
        bench.until(lambda: bench.seen(WorkerReady, InitFailed))
        assert not bench.seen(InitFailed)
        bench.engine.send(0, leases[:1])
        assert bench.settled(leases[:1]) == {leases[0]: ["scored"]}
    finally:
        bench.engine.close()
        subprocess.run(["umount", str(small)], check=True)


def test_what_was_not_started_can_be_taken_back_and_is_not_run(bench: Bench) -> None:
    leases = bench.configure(GATED)
    bench.start(0)
    bench.engine.send(0, leases[:5])
    bench.until(lambda: bench.marks("ran"))
    assert bench.engine.in_hand(0) == 5
    assert bench.engine.take_back(0) == tuple(leases[1:5])
    assert bench.engine.take_back(0) == ()
    assert bench.engine.in_hand(0) == 1
    bench.open_gate()
    bench.settled(leases[:1])
    bench.engine.send(0, leases[1:5])
    assert bench.settled(leases[:5]) == {lease: ["scored"] for lease in leases[:5]}
    assert bench.marks("ran") == ["000-ok", "001-ok", "002-ok", "003-ok", "004-ok"]


def test_leases_stay_taken_back_when_later_ones_are_too(bench: Bench) -> None:
    leases = bench.configure(GATED)
    bench.start(0)
    bench.engine.send(0, leases[:3])
    bench.until(lambda: bench.marks("ran"))
    assert bench.engine.take_back(0) == tuple(leases[1:3])
    bench.engine.send(0, leases[3:5])
    assert bench.engine.take_back(0) == tuple(leases[3:5])
    bench.engine.send(0, leases[5:6])
    bench.open_gate()
    assert bench.settled([leases[0], leases[5]]) == {leases[0]: ["scored"], leases[5]: ["scored"]}
    assert bench.marks("ran") == ["000-ok", "005-ok"]


def test_a_stopped_worker_finishes_what_it_has_and_shuts_down(bench: Bench) -> None:
    leases = bench.configure(GATED + "def shutdown():\n    mark('bye')\n")
    bench.start(0)
    bench.engine.send(0, leases[:3])
    bench.until(lambda: bench.marks("ran"))
    bench.engine.stop_worker(0)
    bench.open_gate()
    gone = bench.gone()
    assert bench.outcomes() == {lease: ["scored"] for lease in leases[:3]}
    assert gone.expected
    assert "code 0" in gone.cause
    assert (bench.root / "bye").exists()
    bench.engine.stop_worker(0)  # nobody there: nothing happens
    assert bench.begin(0) == 2


def test_a_worker_that_is_stopped_in_init_is_no_failure(bench: Bench) -> None:
    bench.configure("def init():\n    mark('began')\n    gate()\n" + ECHO)
    bench.begin(0)
    bench.until(lambda: (bench.root / "began").exists())
    bench.engine.stop_worker(0)
    assert bench.gone().expected
    assert not bench.seen(InitFailed)


@pytest.mark.parametrize("when", ["at once", "in run"])
def test_a_killed_worker_returns_everything_uncharged(bench: Bench, when: str) -> None:
    leases = bench.configure(GATED)
    if when == "at once":
        bench.begin(0)  # its pid is not known yet
        bench.engine.kill_worker(0)
        assert bench.gone().expected
        assert not bench.seen(WorkerReady, InitFailed)
        return
    bench.start(0)
    bench.engine.send(0, leases[:3])
    bench.until(lambda: bench.marks("ran"))
    bench.engine.kill_worker(0)
    gone = bench.gone()
    assert gone.expected
    assert "order" in gone.cause
    assert bench.outcomes() == {leases[0]: ["unsent"], leases[1]: ["returned"], leases[2]: ["returned"]}
    assert not bench.seen(LeaseFailed)


def test_a_worker_that_dies_between_run_and_send_is_not_charged(bench: Bench) -> None:
    script = "class Row:\n    def __format__(self, spec):\n        os.kill(os.getpid(), 9)\n"
    leases = bench.configure(script + "def run(batch):\n    return [Row()]\n")
    bench.start(0)
    bench.engine.send(0, leases[:2])
    bench.gone()
    assert bench.outcomes() == {leases[0]: ["unsent"], leases[1]: ["returned"]}


# name: what the script writes into our channel
LIES = {
    "noise": "b'\\xff' * 64",
    "a result of another lease": "frame(wire.SCORED, wire.SCORED_RECORD.pack(1, 7, 7, 1, 1, 0, 0, 0, 1, 5, 5))",
    "rows that are not there": "frame(wire.SCORED, wire.SCORED_RECORD.pack(1, 0, 0, 1, 1, 9, 0, 1, 1, 5, 5))",
    "a failure without a message": "frame(wire.FAILED, b'{\"serial\": 1}')",
    "another incarnation": "wire.encode(wire.BYE, 3, 99, b'{}')",
}
LIAR = """
wire = sys.modules["_batchctl_guest.wire"]
def frame(kind, head):
    return wire.encode(kind, 3, 1, head)
def run(batch):
    for name in map("/proc/self/fd/{}".format, range(100, 300)):
        if os.path.lexists(name) and os.readlink(name).startswith("socket:"):
            os.write(int(os.path.basename(name)), %s)
    gate()
"""


@pytest.mark.parametrize("case", LIES)
def test_a_worker_that_breaks_the_protocol_is_replaced_and_its_leases_come_back(bench: Bench, case: str) -> None:
    leases = bench.configure(LIAR % LIES[case])
    bench.start(0)
    bench.engine.send(0, leases[:3])
    gone = bench.gone()
    assert "broke the protocol" in gone.cause
    assert "out of memory" not in gone.cause
    assert "broke the protocol" in bench.seen(GuestWarned)[0].text
    assert bench.outcomes() == {leases[0]: ["lost"], leases[1]: ["returned"], leases[2]: ["returned"]}


# what the kernel's books say of a worker that somebody kills: (class, words, shortage)
BOOKS: dict[bool | None, tuple[str, str, Shortage]] = {
    True: ("OutOfMemory", "out of memory: the kernel killed it", Shortage.MEMORY),
    None: ("WorkerDied", "suspected: out of memory", Shortage.SUSPECTED),
    False: ("WorkerDied", "killed by SIGKILL from outside", Shortage.NONE),
}


@pytest.mark.parametrize("moment", ["run", "init", "render", "idle"])
@pytest.mark.parametrize("says", BOOKS, ids=str)
def test_a_sigkill_from_outside_is_called_what_the_kernels_books_say(
    bench: Bench, says: bool | None, moment: str
) -> None:
    error, words, shortage = BOOKS[says]
    asked: list[int] = []

    def was_starved(pid: int) -> bool | None:
        asked.append(pid)
        return says

    script = "class Row:\n    def __format__(self, spec):\n        mark('render')\n        gate()\n"
    script += "def init():\n    if os.path.exists(ROOT + '/hold'):\n        mark('init')\n        gate()\n"
    script += "def run(batch):\n    mark('run')\n    if kind(batch[0]) == 'run': gate()\n    return [Row()]\n"
    leases = bench.configure(script, items=[moment, "ok"], was_starved=was_starved)
    if moment == "init":
        (bench.root / "hold").touch()
        bench.begin(0)
        bench.forked(1)
    else:
        bench.start(0)
        if moment != "idle":
            bench.engine.send(0, leases)
    bench.until(lambda: moment == "idle" or (bench.root / moment).exists())
    os.kill(bench.pids()[0], signal.SIGKILL)
    gone = bench.gone()
    assert asked == bench.pids()
    assert words in gone.cause
    assert ("out of memory" in gone.cause) == bool(shortage)
    assert (gone.shortage, gone.expected) == (shortage, False)
    for event in bench.seen(LeaseFailed, InitFailed):
        failure = event.failure
        assert (failure.kind, failure.error, failure.shortage) == (FailureKind.LOST, error, shortage)
        assert words in failure.message
    blamed = moment == "run" or (moment == "render" and shortage)  # rows may be what there is no room for
    assert len(bench.seen(LeaseFailed)) == bool(blamed)
    assert [event.failure.phase for event in bench.seen(LeaseFailed)] == ([moment] if blamed else [])
    assert len(bench.seen(InitFailed)) == (moment == "init")
    if leases[0] in bench.outcomes():
        assert bench.outcomes() == {leases[0]: ["lost" if blamed else "unsent"], leases[1]: ["returned"]}


@pytest.mark.parametrize("act", ["kill", "timeout", "exit"])
def test_the_kernels_books_are_not_asked_about_other_deaths(bench: Bench, act: str) -> None:
    asked: list[int] = []

    def was_starved(pid: int) -> bool | None:
        asked.append(pid)
        return True

    body = "os._exit(1)" if act == "exit" else "gate()"
    script = f"def run(batch):\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    mark('ran')\n    {body}\n"
    timeout = {"timeout": 0.3} if act == "timeout" else {}
    leases = bench.configure(script, was_starved=was_starved, **timeout)
    bench.start(0)
    bench.engine.send(0, leases[:1])
    bench.until(lambda: (bench.root / "ran").exists())
    if act == "kill":
        bench.engine.kill_worker(0)
    assert bench.gone().shortage is Shortage.NONE
    assert asked == []
    assert all(event.failure.shortage is Shortage.NONE for event in bench.seen(LeaseFailed))


def test_a_script_that_was_refused_gpu_memory_says_so(bench: Bench) -> None:
    script = "class OutOfMemoryError(RuntimeError): pass\nOutOfMemoryError.__module__ = 'torch'\n"
    script += "def run(batch):\n    raise OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')\n"
    leases = bench.configure(script)
    bench.start(0)
    bench.engine.send(0, leases[:1])
    bench.settled(leases[:1])
    (failed,) = bench.seen(LeaseFailed)
    assert (failed.failure.error, failed.failure.shortage) == ("torch.OutOfMemoryError", Shortage.GPU)
    assert not bench.seen(WorkerGone)


@pytest.mark.parametrize("moment", ["run", "init", "idle"])
def test_a_lost_fork_server_is_nobodys_fault_and_replaced(bench: Bench, moment: str) -> None:
    hold = "def init():\n    mark('began')\n    gate()\n" if moment == "init" else ""
    leases = bench.configure(hold + GATED)
    if moment == "init":
        bench.begin(0)
        bench.forked(1)
        bench.until(lambda: (bench.root / "began").exists())
    else:
        bench.start(0, 1)
    if moment == "run":
        bench.engine.send(0, leases[:2])
        bench.until(lambda: bench.marks("ran"))
    workers = bench.pids()
    server = next(pid for pid in children() if is_server(pid, bench))
    os.kill(server, signal.SIGKILL)
    bench.until(lambda: bench.seen(EngineLost))
    assert "SIGKILL" in bench.seen(EngineLost)[0].cause
    assert isinstance(bench.events[-1], EngineLost)  # by then everything that was lost has been told
    assert not bench.seen(LeaseFailed, InitFailed)
    assert {event.slot for event in bench.seen(WorkerGone)} == ({0} if moment == "init" else {0, 1})
    if moment == "run":
        assert bench.outcomes() == {leases[0]: ["unsent"], leases[1]: ["returned"]}
    wait_for(lambda: not any(map(alive, workers)), "the old workers to be dead")
    bench.open_gate()
    bench.events.clear()
    bench.start(0)
    bench.engine.send(0, leases[5:7])
    assert bench.settled(leases[5:7]) == {leases[5]: ["scored"], leases[6]: ["scored"]}


def test_a_fork_server_that_is_found_dead_by_a_question_is_replaced(bench: Bench) -> None:
    server = next(pid for pid in children() if is_server(pid, bench))
    os.kill(server, signal.SIGKILL)
    wait_for(bench.engine.has_facts, "the death to be seen")
    leases = bench.configure(ECHO)
    bench.until(lambda: bench.seen(EngineLost))
    assert "SIGKILL" in bench.seen(EngineLost)[0].cause
    bench.start(0)
    bench.engine.send(0, leases[:1])
    assert bench.settled(leases[:1]) == {leases[0]: ["scored"]}


def is_server(pid: int, bench: Bench) -> bool:
    """The run's one process that is our child while workers live; workers are its children."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return str(bench.root / "guest.pyz").encode() in text


def test_a_flood_of_output_delays_nobody_else(bench: Bench) -> None:
    script = "def run(batch):\n    while kind(batch[0]) == 'flood' and not os.path.exists(ROOT + '/open'):\n"
    script += "        os.write(1, b'x' * 65535 + b'\\n')\n    return batch\n"
    leases = bench.configure(script, items=["flood"] + ["ok"] * 40)
    bench.start(0, 1)
    bench.engine.send(0, leases[:1])
    bench.until(lambda: bench.sinks[1].size > 4 << 20)
    flooded = bench.sinks[1].size
    for lease in leases[1:]:
        bench.engine.send(1, [lease])
        bench.settled([lease])
    assert leases[0] not in bench.outcomes()
    assert bench.sinks[1].size > flooded  # and it was heard meanwhile
    bench.open_gate()
    assert bench.settled(leases)[leases[0]] == ["scored"]


def test_workers_are_shown_with_what_they_do(bench: Bench) -> None:
    leases = bench.configure(GATED)
    bench.start(0)
    bench.engine.send(0, leases[3:4])
    bench.until(lambda: bench.state() == "run")
    (view,) = bench.engine.workers()
    assert (view.slot, view.incarnation, view.batch, view.pid) == (0, 1, 3, bench.pids()[0])
    assert 0 <= view.since_s < 30
    bench.open_gate()
    bench.until(lambda: bench.state() == "idle")
    assert bench.engine.workers()[0].batch is None


def test_fifty_workers_leave_no_descriptor_behind(bench: Bench) -> None:
    bench.configure(ECHO)
    bench.start(0)
    bench.engine.stop_worker(0)
    bench.gone()
    before = descriptors()
    count = 1
    for round_number in range(10):
        for slot in range(5):
            bench.begin(slot)
        if round_number % 2:
            bench.forked(count + 5)
        for slot in range(5):
            (bench.engine.kill_worker if round_number % 2 else bench.engine.stop_worker)(slot)
        count += 5
        bench.gone(count)
    assert descriptors() == before
    assert all(sink.closed for sink in bench.sinks.values())
    assert max(bench.sinks) == 51  # no incarnation was used twice


@pytest.mark.parametrize("name", ENGINES)
def test_close_leaves_no_process_and_no_descriptor(tmp_path: Path, name: str) -> None:
    before, open_before = children(), descriptors()
    bench = Bench(ENGINES[name], tmp_path)
    script = "def run(batch):\n    if os.fork() == 0:\n        if kind(batch[0]) == 'daemon': os.setsid()\n"
    script += "        mark('pids', str(os.getpid()))\n        time.sleep(600)\n    gate()\n"
    leases = bench.configure(script, items=["child", "daemon"])
    bench.start(0, 1, 2)
    bench.engine.send(0, leases[:1])
    bench.engine.send(1, leases[1:])
    bench.until(lambda: len(bench.marks("pids")) == 2)
    bench.begin(3)  # its pid is not known when the end comes
    strays = list(map(int, bench.marks("pids")))
    bench.engine.close()
    bench.engine.close()
    assert descriptors() == open_before
    wait_for(lambda: not any(map(alive, bench.pids())), "the workers to be dead")
    wait_for(lambda: sum(map(alive, strays)) <= 1, "the child in the group to be dead")
    processes.end_leftovers(bench.run_id)  # the daemon is the run id's affair
    wait_for(lambda: not processes.reap_children() and children() <= before, "everybody to be gone")
    assert not any(map(alive, strays))


def facts_of(bench: Bench, script: Path) -> ScriptFacts:
    bench.engine.ask_facts(script, script.parent, scorer=Scorer.SCRIPT)
    return bench.engine.facts()


def test_facts_say_what_the_interpreter_makes_of_a_script(bench: Bench) -> None:
    script = bench.root / "code" / "score.py"
    script.write_text("import json, no_such_module_at_all\ndef init(): pass\ndef run(a, b=1, *c): pass\n")
    facts = facts_of(bench, script)
    assert facts.missing == ("no_such_module_at_all",)
    assert (facts.functions["init"], facts.functions["shutdown"]) == ((0, 0), None)
    assert facts.functions["run"] == (1, None)
    script.write_text("def run(:\n")
    bench.engine.ask_facts(script, script.parent, scorer=Scorer.SCRIPT)
    wait_for(bench.engine.has_facts, "the facts")
    assert bench.engine.has_facts()  # asking takes nothing away
    assert bench.engine.facts().syntax_error.startswith("line 1: ")
    with pytest.raises(UsageError):
        facts_of(bench, bench.root / "absent.py")


def test_facts_are_not_waited_for_where_there_will_be_none(bench: Bench) -> None:
    """A server that was killed: `facts` asks another one."""
    script = bench.root / "code" / "score.py"
    script.write_text("def run(a): pass\n")
    server = next(pid for pid in children() if is_server(pid, bench))
    os.kill(server, signal.SIGSTOP)
    bench.engine.ask_facts(script, script.parent, scorer=Scorer.SCRIPT)
    assert not bench.engine.has_facts()
    os.kill(server, signal.SIGKILL)
    wait_for(bench.engine.has_facts, "the death to be seen")
    assert bench.engine.facts().functions["run"] == (1, 1)


def test_wake_ends_a_wait(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.configure(ECHO)
    monkeypatch.setattr(pool, "_TICK_NS", 60 * 10**9)  # else the pool's own looks at its workers end it
    bench.engine.poll(0.0)  # begins the first of these
    threads = [threading.Thread(target=bench.engine.wake) for _ in range(8)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    assert bench.engine.poll(20.0) == []
    assert time.monotonic() - began < 10
    for thread in threads:
        thread.join()


def test_a_slot_holds_one_worker(bench: Bench) -> None:
    bench.configure(ECHO)
    assert bench.begin(0) == 1
    with pytest.raises(AssertionError):
        bench.begin(0)
    assert bench.engine.in_hand(5) == 0
    assert bench.engine.take_back(5) == ()
    bench.engine.kill_worker(5)


def test_returned_events_name_their_worker(bench: Bench) -> None:
    leases = bench.configure(GATED)
    bench.start(4)
    bench.engine.send(4, leases[:1])
    bench.until(lambda: bench.marks("ran"))
    bench.engine.kill_worker(4)
    bench.gone()
    assert [(e.slot, e.incarnation) for e in bench.seen(LeasesReturned)] == [(4, 1)]
