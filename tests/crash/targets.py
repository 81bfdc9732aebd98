"""Whom to kill: the processes of a run, found in the process table and ended by pidfd.

    coordinator (we started it) -> fork server (its child that runs guest.pyz) -> workers (group leaders below that)

Pids come from parenthood and are checked again once a pidfd pins them, so that no stranger is ever hit.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batchctl.guest import page

_STATE = struct.Struct("<QIIQQQ")
VARIABLE = b"BATCHCTL_RUN_ID="


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the process table."""

    pid: int
    parent: int
    group: int
    state: str


def entry_of(pid: int) -> Entry | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = text.rpartition(b")")[2].split()
    return Entry(pid, int(fields[1]), int(fields[2]), fields[0].decode())


def table() -> list[Entry]:
    found = (entry_of(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [entry for entry in found if entry is not None and entry.state != "Z"]


@dataclass(frozen=True, slots=True)
class Tree:
    """The processes of one run at one moment; server 0 where there is none."""

    coordinator: int
    server: int
    workers: tuple[int, ...]

    @property
    def all(self) -> tuple[int, ...]:
        return tuple(pid for pid in (self.coordinator, self.server, *self.workers) if pid)


def tree(coordinator: int) -> Tree:
    entries = table()
    server = next((e.pid for e in entries if e.parent == coordinator and _is_guest(e.pid)), 0)
    # A child that answers a question for the server stays in the server's group; only workers lead one.
    workers = tuple(e.pid for e in entries if server and e.parent == server and e.group == e.pid)
    return Tree(coordinator, server, workers)


def _is_guest(pid: int) -> bool:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return b"serve" in words and any(word.endswith(b"guest.pyz") for word in words)
    return False


@contextlib.contextmanager
def pinned(pid: int, *, parent: int | None = None) -> Iterator[int | None]:
    """A pidfd of `pid`, or None where that process has gone (or never was `parent`'s child)."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        yield None
        return
    try:
        entry = entry_of(pid)
        alive = entry is not None and entry.state != "Z" and parent in (None, entry.parent)
        yield fd if alive else None
    finally:
        os.close(fd)


def kill(pid: int, *, parent: int | None = None) -> bool:
    """SIGKILL; True where it was alive."""
    with pinned(pid, parent=parent) as fd:
        return fd is not None and _signal(fd, signal.SIGKILL)


def _signal(fd: int, number: int) -> bool:
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    return True


def kill_all(found: Tree, order: list[int]) -> bool:
    """SIGKILL the whole tree in `order`; the coordinator is stopped first, so that it sees none of the others die."""
    with pinned(found.coordinator) as fd:
        if fd is None or not _signal(fd, signal.SIGSTOP):
            return False
        if not _wait_stopped(found.coordinator):
            _signal(fd, signal.SIGCONT)  # else it would stand still for ever
            return False
        for pid in order:
            if pid != found.coordinator:
                kill(pid)
        return _signal(fd, signal.SIGKILL)


def _wait_stopped(pid: int) -> bool:
    deadline = time.monotonic() + 30  # a sync is not interrupted
    while time.monotonic() < deadline:
        entry = entry_of(pid)
        if entry is None or entry.state == "Z":
            return False
        if entry.state == "T":
            return True
        time.sleep(0.0002)
    return False


def kill_worker(pid: int, *, parent: int, scratch: Path) -> str:
    """SIGKILL a worker unless it holds a part of a divided mini-batch; the state it was in, or "" where it lives on.

    It is stopped while its shared page and the script's own byte are read, so nothing can change in between.
    """
    with pinned(pid, parent=parent) as fd:
        if fd is None or not _signal(fd, signal.SIGSTOP):
            return ""
        stopped = _wait_stopped(pid)
        state = _page_state(pid) if stopped else None
        if state is None or (state == page.RUN and not _is_innocent(pid, scratch)):
            _signal(fd, signal.SIGCONT)
            return ""
        return page.STATE_NAMES[state] if _signal(fd, signal.SIGKILL) else ""


def _page_state(pid: int) -> int | None:
    """What the worker's shared page says; a worker that has none mapped yet is starting. None: cannot be read."""
    try:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if "/memfd:batchctl-worker" in line:
                with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
                    memory.seek(int(line.partition("-")[0], 16))
                    data = memory.read(_STATE.size)
                if len(data) < _STATE.size:  # it has died between the two looks
                    return None
                found: int = _STATE.unpack(data)[1]
                return found if found < len(page.STATE_NAMES) else None
    except OSError:
        return None
    return page.STARTING


def worker_states(found: Tree) -> list[int]:
    """What the workers' pages say now, without stopping anybody."""
    states = [_page_state(pid) for pid in found.workers]
    return [state for state in states if state is not None]


def _is_innocent(pid: int, scratch: Path) -> bool:
    try:
        return (scratch / f"now.{pid}").read_bytes() == b"F"
    except OSError:
        return False


def carriers(run_id: str) -> list[int]:
    """Living processes whose environment carries this run's id."""
    wanted = VARIABLE + run_id.encode()
    found = []
    for entry in table():
        with contextlib.suppress(OSError):
            if wanted in Path(f"/proc/{entry.pid}/environ").read_bytes().split(b"\0"):
                found.append(entry.pid)
    return found


def end(pid: int) -> None:
    """SIGKILL a process that we started or that carries the id of a run of ours, and wait a little for it to go."""
    with pinned(pid) as fd:
        if fd is not None and _signal(fd, signal.SIGKILL):
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll(2000)
