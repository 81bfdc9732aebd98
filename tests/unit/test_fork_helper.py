"""The forked helper: what it has of its parent, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchctl import processes


@pytest.fixture(autouse=True)
def alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests have imported pandas here, whose libraries keep idle threads; a coordinator imports none of them."""
    if "thread" not in request.node.name:
        monkeypatch.setattr(processes, "_threads", lambda: 1)


@pytest.fixture
def handled() -> Iterator[None]:
    """Signal handling as in a run: the coordinator counts signals."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def tell(channel: socket.socket) -> None:
    descriptors = [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
    status = Path("/proc/self/status").read_text()
    masks = [line for line in status.splitlines() if line.startswith(("SigBlk", "SigCgt"))]
    channel.send(" ".join([str(len(descriptors)), *(line.split()[1] for line in masks)]).encode())
    channel.recv(1)


def helper(serve: object) -> processes.Helper:
    made = processes.fork_helper(serve)  # type: ignore[arg-type]
    assert made is not None
    return made


def assert_gone(pid: int) -> None:
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


@pytest.mark.usefixtures("handled")
def test_it_has_its_channel_and_nothing_else(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w"):
        made = helper(tell)
    count, *masks = made.channel.recv(1000).decode().split()
    assert count == "1"  # the listing's own is gone when it is asked for
    for mask in masks:
        assert (
            int(mask, 16) & sum(1 << (n - 1) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE))
            == 0
        )
    made.end()
    assert_gone(made.pid)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="not run: one cpu")
def test_it_leaves_our_cpu_to_us(monkeypatch: pytest.MonkeyPatch) -> None:
    usable = os.sched_getaffinity(0)
    for here, expected in ((min(usable), usable - {min(usable)}), (-1, usable)):
        monkeypatch.setattr(processes, "_current_cpu", lambda here=here: here)
        made = helper(lambda channel: channel.send(str(sorted(os.sched_getaffinity(0))).encode()))
        assert made.channel.recv(10_000).decode() == str(sorted(expected))
        made.end()
    monkeypatch.undo()
    assert processes._current_cpu() in usable


ENDS = {
    "returns": lambda channel: None,
    "raises": lambda channel: 1 / 0,
    "exits": lambda channel: (_ for _ in ()).throw(SystemExit(3)),
    "killed": lambda channel: os.kill(os.getpid(), signal.SIGKILL),
}


@pytest.mark.parametrize("case", ENDS)
def test_its_end_is_the_end_of_the_stream(case: str, capfd: pytest.CaptureFixture[str]) -> None:
    made = helper(ENDS[case])
    assert made.channel.recv(10) == b""
    made.end()
    assert_gone(made.pid)
    assert capfd.readouterr() == ("", "")


def test_end_works_on_a_stopped_one_and_on_one_reaped_by_others() -> None:
    for reap in (False, True):
        made = helper(tell)
        os.kill(made.pid, signal.SIGKILL if reap else signal.SIGSTOP)
        if reap:
            os.waitpid(made.pid, 0)
        made.end()
        assert_gone(made.pid)


def test_it_dies_with_its_parent() -> None:
    """The parent here is a child of ours that is killed; its helper holds the other end of our pipe."""
    reading, writing = os.pipe()

    def hold(channel: socket.socket) -> None:
        channel.recv(1)

    child = os.fork()
    if child == 0:
        try:
            made = helper(hold)
            os.write(writing, str(made.pid).encode())
            signal.pause()
        finally:
            os._exit(1)
    pid = int(os.read(reading, 20))
    watched = os.pidfd_open(pid)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    import select

    assert select.select([watched], [], [], 10)[0]
    for fd in (reading, writing, watched):
        os.close(fd)


def test_none_beside_a_thread() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert processes.fork_helper(tell) is None
    finally:
        done.set()
        thread.join()


def test_none_where_fork_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", full)
    before = len(os.listdir("/proc/self/fd"))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert processes.fork_helper(tell) is None
    assert len(os.listdir("/proc/self/fd")) == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
