"""The processes below this one while a command runs: what memory they hold together, what cpu they have used."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER = 36
_SHARE = 0.02  # of a core, at most, for looking


def adopt() -> None:
    """From now on what a command leaves behind (daemons of clusters) becomes a child of this process."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


class Watch:
    """Looks at the tree every 0.1 s or so, in a thread, from `with` to its end. It kills all of the tree after
    `limit_s`, and where the end comes by an exception.

    `peak_mb` is the largest sum of PSS seen, in MiB. `cpu_s` is the sum of what each process was last seen to have
    used: some clusters do not wait for their workers, whose time would be lost.
    """

    def __init__(self, limit_s: float) -> None:
        self.peak_mb = 0.0
        self.late = False
        self._cpu: dict[int, float] = {}
        self._over = threading.Event()
        self._deadline = time.monotonic() + limit_s
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if error is not None:
            _kill(_below())

    @property
    def cpu_s(self) -> float:
        return sum(self._cpu.values())

    def _look(self) -> None:
        pause = 0.1
        while not self._over.wait(pause):
            began = time.thread_time()
            found = _below()
            self._cpu.update(found)
            self.peak_mb = max(self.peak_mb, sum(map(_pss_mb, found)))
            pause = max(0.1, (time.thread_time() - began) / _SHARE)
            if time.monotonic() > self._deadline:
                self.late = True
                _kill(found)


def end_strays(patience_s: float = 10.0) -> None:
    """Wait for what a command left behind, then kill it: the next one must not meet it."""
    until = time.monotonic() + patience_s
    while left := _below():
        if time.monotonic() > until:
            _kill(left)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.02)


def _kill(pids: dict[int, float]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _below() -> dict[int, float]:
    """CPU seconds by pid of all descendants of this process."""
    parents: dict[int, int] = {}
    cpu: dict[int, float] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(entry)] = int(words[1])
            cpu[int(entry)] = (int(words[11]) + int(words[12])) / _TICK
    mine, me = {os.getpid()}, os.getpid()
    while fresh := {pid for pid, parent in parents.items() if parent in mine and pid not in mine}:
        mine |= fresh
    return {pid: cpu[pid] for pid in mine if pid != me}


def _pss_mb(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as handle:
            return next((int(line.split()[1]) / 1024 for line in handle if line.startswith("Pss:")), 0.0)
    except OSError:
        return 0.0
