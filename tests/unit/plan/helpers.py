"""What the tests of forked children share: who was forked, that nothing of them is left, and bad children."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from batchctl import processes
from batchctl.plan import encode


@contextmanager
def noted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The pids of the children that are made; in the end they are gone, and so are their descriptors. The clock of
    listings stands still: plans are compared byte for byte."""
    made: list[int] = []
    fork = processes.fork_helper

    def noting(serve: Callable[[socket.socket], None]) -> processes.Helper | None:
        helper = fork(serve)
        assert helper is not None
        made.append(helper.pid)
        return helper

    monkeypatch.setattr(encode.time, "clock_gettime_ns", lambda _clock: 1)
    monkeypatch.setattr(processes, "fork_helper", noting)
    descriptors = len(os.listdir("/proc/self/fd"))
    yield made
    assert len(os.listdir("/proc/self/fd")) == descriptors
    for pid in made:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def dies(channel: socket.socket, **_: Any) -> None:
    os._exit(1)


def sleeps(channel: socket.socket, **_: Any) -> None:
    time.sleep(1000)


def stops(channel: socket.socket, **_: Any) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
