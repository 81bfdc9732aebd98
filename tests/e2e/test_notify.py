"""sd_notify of the real command, heard by a socket of the test's own in the service manager's place."""

from __future__ import annotations

import itertools
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.driver import Job, wait_for
from tests.e2e.halting import committed, gated

WATCHDOG_S = 2.0


class Manager:
    """A notify socket; `messages` is all that was heard, with the time of each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.messages: list[tuple[float, str]] = []

    def environment(self, **more: str) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)), **more}

    def hear(self, wanted: Callable[[str], bool], what: str, *, seconds: float = 30.0) -> str:
        """The next message that is wanted."""
        deadline = time.monotonic() + seconds
        while True:
            message = self._next(deadline - time.monotonic())
            assert message is not None, f"waited {seconds:g} s in vain for {what}: {self.said()}"
            if wanted(message):
                return message

    def drain(self) -> None:
        """Take in all that has arrived."""
        while self._next(0.0) is not None:
            pass

    def silent(self, seconds: float) -> bool:
        """Is nothing heard for so long?"""
        return self._next(seconds) is None

    def said(self) -> list[str]:
        """Every assignment in order, without the watchdog's."""
        return [line for _, message in self.messages for line in message.splitlines() if line != "WATCHDOG=1"]

    def _next(self, seconds: float) -> str | None:
        self._socket.settimeout(seconds if seconds > 0 else 1e-6)
        try:
            message = self._socket.recv(8192).decode()
        except (TimeoutError, BlockingIOError):
            return None
        self.messages.append((time.monotonic(), message))
        return message

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(tmp_path / "notify")
    yield found
    found.close()


def keys(said: list[str]) -> list[str]:
    """The keys in order; neighbours that are alike once."""
    found: list[str] = []
    for line in said:
        key = line.partition("=")[0]
        if found[-1:] != [key]:
            found.append(key)
    return found


def test_a_run_is_ready_tells_its_state_and_stops(job: Job, manager: Manager) -> None:
    job.items(12)
    job.script()
    # No watchdog: the kernel keeps eleven messages until they are read, and the others are dropped.
    job.run("--workers", "1", env=manager.environment(WATCHDOG_USEC="")).expect(0)
    manager.drain()
    said = manager.said()
    assert said.count("READY=1") == said.count("STOPPING=1") == 1
    ready = said.index("READY=1")
    assert keys(said[:ready]) == ["STATUS", "EXTEND_TIMEOUT_USEC", "STATUS", "EXTEND_TIMEOUT_USEC"]
    assert keys(said[ready:]) == ["READY", "STATUS", "STOPPING"]
    assert said[-2].startswith("STATUS=finished 12/12 (100.0%)")


def test_a_run_that_is_complete_is_ready_all_the_same(job: Job, manager: Manager) -> None:
    job.items(3)
    job.script()
    job.run("--workers", "1").expect(0)
    job.run("--workers", "1", env=manager.environment()).expect(0)
    manager.drain()
    assert keys(manager.said()) == ["STATUS", "EXTEND_TIMEOUT_USEC", "READY", "STOPPING"]


def test_a_run_that_cannot_start_is_never_ready(job: Job, manager: Manager) -> None:
    job.items(3)
    job.write("code/score.py", "def nothing(): pass\n")
    job.run(env=manager.environment()).expect(2)
    manager.drain()
    assert "READY=1" not in manager.said()
    assert "STOPPING=1" not in manager.said()


def test_sigterm_drains_and_says_how_long(job: Job, manager: Manager) -> None:
    gate, _ = gated(job)
    with job.start(
        *("run", "code/score.py", "in", "-o", "out", "--workers", "1", "--grace", "25"),
        env=manager.environment(WATCHDOG_USEC=""),
    ) as started:
        gate.wait_reached(started)
        committed(job.out)
        started.signal(signal.SIGTERM)
        told = manager.hear(lambda message: "STOPPING=1" in message, "STOPPING")
        assert told.splitlines() == ["STOPPING=1", f"EXTEND_TIMEOUT_USEC={(25 + 90) * 1_000_000}"]
        gate.open()
        started.end().expect(75)
    manager.drain()
    said = manager.said()
    assert said.index("READY=1") < said.index("STOPPING=1")
    assert said[-1].startswith("STATUS=stopped ")
    assert "stopped by SIGTERM" in said[-1]


def test_the_watchdog_is_fed_while_a_worker_computes_and_not_by_a_hung_coordinator(job: Job, manager: Manager) -> None:
    gate, _ = gated(job)
    with job.start("run", "code/score.py", "in", "-o", "out", "--workers", "1", env=manager.environment()) as started:
        gate.wait_reached(started)
        manager.drain()
        for _ in range(6):
            manager.hear(lambda message: message == "WATCHDOG=1", "the watchdog")
        fed = [when for when, message in manager.messages if message == "WATCHDOG=1"][-6:]
        # Half the interval is what systemd asks for; the rest is this machine's own slowness.
        gaps = sorted(after - before for before, after in itertools.pairwise(fed))
        assert gaps[2] <= WATCHDOG_S / 2
        started.signal(signal.SIGSTOP)
        manager.drain()
        assert manager.silent(WATCHDOG_S * 1.5), "a stopped coordinator is not alive"
        started.signal(signal.SIGCONT)
        manager.hear(lambda message: message == "WATCHDOG=1", "the watchdog once more")
        gate.open()
        started.end().expect(0)


def test_another_process_is_not_watched(job: Job, manager: Manager) -> None:
    job.items(5)
    job.script()
    job.run("--workers", "1", env=manager.environment(WATCHDOG_PID="1")).expect(0)
    manager.drain()
    assert not [message for _, message in manager.messages if "WATCHDOG" in message]
    assert "READY=1" in manager.said()


SHOWS = """
import os
def run(mini_batch):
    names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    raw = open("/proc/self/environ", "rb").read().decode()
    return [" ".join(name for name in names if name in os.environ or name + "=" in raw) or "none" for _ in mini_batch]
"""


def test_a_worker_cannot_speak_for_the_coordinator(job: Job, manager: Manager) -> None:
    job.items(2)
    job.write("code/score.py", SHOWS)
    job.run("--workers", "1", env=manager.environment()).expect(0)
    assert job.out.rows == ["none", "none"]


def test_a_manager_that_is_gone_ends_nothing(job: Job, tmp_path: Path) -> None:
    job.items(3)
    job.script()
    job.run("--workers", "1", env={"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "100000"}).expect(0)


def test_the_status_line_is_not_a_flood(job: Job, manager: Manager) -> None:
    gate, _ = gated(job)
    with job.start("run", "code/score.py", "in", "-o", "out", "--workers", "1", env=manager.environment()) as started:
        gate.wait_reached(started)
        wait_for(lambda: job.out.state == "running", "the run to be under way")
        began = time.monotonic()
        manager.drain()
        before = len(manager.said())
        manager.hear(lambda message: message.startswith("STATUS=running"), "a status line", seconds=15.0)
        manager.hear(lambda message: message.startswith("STATUS=running"), "another", seconds=15.0)
        lines = [line for line in manager.said()[before:] if line.startswith("STATUS=")]
        assert len(lines) <= (time.monotonic() - began) / 5.0 + 1
        gate.open()
        started.end().expect(0)
