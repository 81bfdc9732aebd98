"""What is done to a run in each kind of round, and the command that it is done to."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.crash import targets
from tests.crash.checks import STATE, run_id_of
from tests.crash.jobs.stops import StopsJob

RESULT = "predictions.csv"
LIMIT_S = 90.0
TIMEOUT = "4s"  # of run(); a slow item takes 1.2 s
DAY = 86_400


class NotHere(Exception):
    """This machine lacks what a round needs; the message says what."""


@dataclass(slots=True)
class Command:
    """`batchctl run` of the job, as often as it is typed; `did` says what was done to it, `codes` how it ended."""

    job: StopsJob
    batchctl: str
    dice: random.Random
    codes: list[int]
    did: list[str]
    problems: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    _log: IO[bytes] | None = None

    def start(self, *flags: str, workers: int = 2) -> None:
        """Type it."""
        self._start(self.job.command(self.batchctl, "--workers", str(workers), "--timeout", TIMEOUT, *flags))

    def retry(self) -> None:
        """Type `batchctl retry`."""
        self._start([self.batchctl, "retry", str(self.job.out), "--env", f"CAMPAIGN_SCRATCH={self.job.scratch}"])

    def _start(self, argv: list[str]) -> None:
        self.close()
        self._log = (self.job.folder / "log").open("ab")
        env = {**os.environ, **self.environment}
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, env=env, start_new_session=True
        )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def end(self) -> int:
        """Wait for its end."""
        self.until(self.ended, "the command to end")
        assert self.process is not None
        self.codes.append(self.process.returncode)
        return self.process.returncode

    def until(self, condition: Callable[[], object], what: str) -> bool:
        """Wait for that, or for the end: False."""
        limit = time.monotonic() + LIMIT_S
        while not condition():
            if self.ended():
                return False
            if time.monotonic() > limit:
                raise TimeoutError(f"waited {LIMIT_S:.0f} s in vain for {what}")
            time.sleep(0.002)
        return True

    def after(self, seconds: float) -> bool:
        """Let it run for so long; False where it has ended."""
        due = time.monotonic() + seconds
        return self.until(lambda: time.monotonic() >= due, "time to pass")

    def working(self) -> bool:
        """Wait until a worker has begun; False where the command has ended."""
        return self.until(lambda: self.job.marks("passed"), "a worker to begin")

    def held(self) -> bool:
        """Has it the run's lock at this moment?"""
        try:
            return bool(json.loads((self.job.out / STATE / "lock").read_bytes())["pid"] == self.pid)
        except (OSError, ValueError, KeyError):
            return False

    def signal(self, number: int) -> bool:
        """To the coordinator; False where it has ended."""
        if self.ended():
            return False
        os.kill(self.pid, number)
        return True

    def said(self) -> str:
        path = self.job.folder / "log"
        return path.read_text(encoding="utf-8", errors="replace")[-2000:].strip() if path.exists() else ""

    def close(self) -> None:
        """End what is left of it."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            for pid in targets.carriers(run_id_of(self.job.out)):
                targets.end(pid)
        if self._log is not None:
            self._log.close()


def _mischief(command: Command) -> None:
    """The script's own; the deadline is short, because only that ends some of it."""
    if command.dice.getrandbits(1):
        (command.job.scratch / "stop-in-init").touch()
    command.start("--timeout", "1s", "--init-timeout", "5s")
    command.end()


def _worker_stopped(command: Command) -> None:
    command.start()
    command.working()
    command.after(command.dice.uniform(0.0, 0.3))
    workers = targets.tree(command.pid).workers
    if workers and _stop(command.dice.choice(workers)):
        command.did.append("worker stopped")
    command.end()


def _server_stopped(command: Command) -> None:
    command.start()
    command.working()
    command.after(command.dice.uniform(0.0, 0.3))
    server = targets.tree(command.pid).server
    if server and _stop(server):
        command.did.append("fork server stopped")
    command.end()


def _coordinator_stopped(command: Command) -> None:
    command.start()
    command.until(lambda: command.job.marks("slow"), "the slow item")
    if command.signal(signal.SIGSTOP):
        time.sleep(command.dice.uniform(0.2, 3.0))
        command.signal(signal.SIGCONT)
        command.did.append("coordinator stopped and continued")
    command.end()


def _all_stopped(command: Command) -> None:
    """As a batch system suspends a job: for longer than `timeout`, in the middle of a run() that takes long."""
    command.start()
    command.until(lambda: command.job.marks("slow"), "the slow item")
    pids = list(targets.tree(command.pid).all)
    command.dice.shuffle(pids)
    stopped = [pid for pid in pids if _stop(pid)]
    time.sleep(command.dice.uniform(4.5, 6.0))
    command.dice.shuffle(stopped)
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):  # a worker that had ended, reaped since
            os.kill(pid, signal.SIGCONT)
    command.did.append("all stopped and continued")
    command.end()


def _stop(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        return False
    return True


def _drain(command: Command) -> None:
    """SIGTERM at any moment, from before the run has its folder to after its end."""
    command.start()
    _term(command)
    command.start()
    command.end()


def _retry_drained(command: Command) -> None:
    command.start("--max-retries", "0")
    if command.end() != 0:
        return
    (command.job.scratch / "mended").touch()
    command.retry()
    _term(command)
    command.retry()
    command.end()


def _term(command: Command) -> None:
    command.after(command.dice.uniform(0.0, 1.2))
    held, finished = command.held(), (command.job.out / RESULT).exists()
    if command.signal(signal.SIGTERM):
        command.did.append("SIGTERM")
        finished = finished or (command.job.out / RESULT).exists()  # it may have ended between look and signal
    code = command.end()
    # Nothing of ours handles signals before the command has begun, or when it is over.
    allowed = {0, 75} if held and not finished else {0, 75, -signal.SIGTERM}
    if code not in allowed:
        command.problems.append(f"exit {code} after SIGTERM (lock held: {held})")


def _drain_bounded(command: Command) -> None:
    """An item is under way that does not end within `grace`."""
    _to_the_gate(command, "--grace", "0.2s")
    if command.signal(signal.SIGTERM):
        command.did.append("SIGTERM, short grace")
    _end_at_the_gate(command, 75)


def _drain_cut_short(command: Command) -> None:
    number, code = command.dice.choice(((signal.SIGTERM, 75), (signal.SIGINT, 130)))
    _to_the_gate(command)
    if command.signal(number) and command.after(command.dice.uniform(0.0, 0.3)) and command.signal(number):
        command.did.append(f"{number.name} twice")
    _end_at_the_gate(command, code)


def _to_the_gate(command: Command, *flags: str) -> None:
    """Start it, and wait until one item is under way that will not end before the gate is open."""
    command.start("--timeout", "60s", *flags)
    command.until(lambda: command.job.marks("gated"), "the item at the gate")


def _end_at_the_gate(command: Command, code: int) -> None:
    """It must not wait for that item. Success would be a lie: nobody has scored it."""
    found = command.end()
    if found != code:
        command.problems.append(f"exit {found}, not {code}, after {command.did}")
    (command.job.scratch / "gate-open").touch()
    command.start()
    command.end()


def _interrupt(command: Command) -> None:
    command.start()
    command.until(command.held, "the lock")
    command.after(command.dice.uniform(0.0, 0.8))
    if command.held() and command.signal(signal.SIGINT):
        command.did.append("SIGINT")
    _ended_with(command, 130)


def _ended_with(command: Command, code: int) -> None:
    found = command.end()
    if found not in (code, 0):
        command.problems.append(f"exit {found}, not {code}, after {command.did}")
    command.start()
    command.end()


def _hang_up(command: Command) -> None:
    """Nobody's terminal: ignored."""
    command.start()
    command.until(command.held, "the lock")
    command.after(command.dice.uniform(0.2, 0.6))
    if command.signal(signal.SIGHUP):
        command.did.append("SIGHUP")
    command.end()


def _clock(command: Command) -> None:
    """The wall clock jumps under way, and again; then the coordinator is killed, and resumed in yet another time."""
    library = next(iter(sorted(Path("/usr").glob("lib*/**/faketime/libfaketimeMT.so.1"))), None)
    if library is None:
        raise NotHere("no libfaketime")
    offset = command.job.folder / "offset"
    command.environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    jumps = [-DAY, 365 * DAY, -400 * DAY]
    command.dice.shuffle(jumps)
    _set_clock(offset, 0)
    command.start()
    command.working()
    for jump in jumps[:2]:
        command.after(command.dice.uniform(0.05, 0.25))
        _set_clock(offset, jump)
    if command.dice.getrandbits(1) and command.after(command.dice.uniform(0.0, 0.3)):
        command.signal(signal.SIGKILL)
    if command.end() == -signal.SIGKILL:
        _set_clock(offset, jumps[2])
        command.start()
        command.end()
    times = sorted(int(name.partition(".")[2]) for name in command.job.marks("clock.*"))
    command.did += ["clock jumped" for a, b in itertools.pairwise(times) if b - a > DAY // 2]


def _set_clock(path: Path, seconds: int) -> None:
    whole = path.with_suffix(".new")
    whole.write_text(f"{seconds:+d}\n", encoding="ascii")
    whole.replace(path)


@dataclass(frozen=True, slots=True)
class Play:
    """`kinds`: what some items of the job do; `sleep`: what each takes. `charged`: attempts that may be charged at
    most, by kind; None: any number."""

    play: Callable[[Command], None]
    kinds: tuple[str, ...] = ()
    sleep: float = 0.015
    charged: Mapping[str, int] | None = field(default_factory=dict)
    mischief: bool = False


PLAYS: Mapping[str, Play] = {
    "mischief": Play(_mischief, charged=None, mischief=True),
    "drain": Play(_drain),
    "worker stopped": Play(_worker_stopped, charged={"timed_out": 1}),
    "drain with a short grace": Play(_drain_bounded, kinds=("gated",)),
    "all stopped for a while": Play(_all_stopped, kinds=("slow",)),
    "clock set": Play(_clock),
    "drain cut short": Play(_drain_cut_short, kinds=("gated",)),
    "coordinator stopped for a while": Play(_coordinator_stopped, kinds=("slow",)),
    "interrupt": Play(_interrupt),
    "retry drained": Play(_retry_drained, kinds=("later",), charged=None),
    "hang-up": Play(_hang_up),
    "fork server stopped": Play(_server_stopped),
}
