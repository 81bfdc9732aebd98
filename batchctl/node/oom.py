"""Was it the OOM killer? A worker that ended by a SIGKILL that nobody of us sent: the kernel keeps books on that.

    /proc/vmstat                oom_kill   every kill on this machine
    v1 memory.oom_control       oom_kill   kills in that very cgroup
    v2 memory.events            oom_kill   kills in that cgroup and below
    /dev/kmsg                   "... Killed process PID ...", exact, where it may be read and pids are the machine's

A counter is raised before the signal is sent, the line is written after it: counters that have not moved mean no, and
a line that is not there yet means nothing.
"""

from __future__ import annotations

import os

from batchctl.node import cgroup
from batchctl.node.cgroup import Read, parse_stat
from batchctl.node.kernel_log import KernelLog, killed_pid
from batchctl.node.probe import read_text

# The machine's own pid namespace: its number is part of the kernel's interface.
_FIRST_NAMESPACE = "pid:[4026531836]"


class OomWatch:
    """The books from now on. Each kill in them explains one death, the first that asks."""

    def __init__(self, *, read: Read = read_text, log: KernelLog | None = None) -> None:
        self._read = read
        memory = cgroup.find_cgroups(read).memory
        names = [f"{at.path}/{'memory.oom_control' if at.v1 else 'memory.events'}" for at in memory]
        self._books = ["/proc/vmstat", *names]
        # The victim's own cgroup counts every kill of its processes, whatever ran short, and workers are in ours. The
        # other books also hold what happened to strangers, so they decide only where that one cannot be read.
        self._own = names[0] if names else ""
        self._log = log if log is not None else _trusted_log()
        self._killed: set[int] = set()  # pids that the log has named, and that nobody has asked for yet
        self._named = 0  # lines of the log so far
        self._explained = 0
        self._start = self._counts()

    def was_killed(self, pid: int) -> bool | None:
        """Has the kernel killed this just reported worker for memory? None: cannot tell."""
        now = self._counts()
        moved = {book: count - self._start[book] for book, count in now.items() if book in self._start}
        if not moved:
            return None
        everywhere = max(moved.values())
        kills = moved.get(self._own, everywhere)
        if kills <= self._explained:
            return False
        named = self._read_log()
        if pid in self._killed:
            self._killed.discard(pid)
        elif named and self._named >= everywhere:  # all kills are known by pid, and this is none of them
            return False
        self._explained += 1
        return True

    def close(self) -> None:
        """May be done twice."""
        if self._log is not None:
            self._log.close()

    def _counts(self) -> dict[str, int]:
        """The books that can be read."""
        found = {book: parse_stat(self._read(book), "oom_kill") for book in self._books}
        return {book: count for book, count in found.items() if count is not None}

    def _read_log(self) -> bool:
        """Can the log be read? Whom it names is remembered."""
        lines = self._log.new_lines() if self._log is not None else None
        pids = [pid for pid in map(killed_pid, lines or ()) if pid is not None]
        self._killed.update(pids)
        self._named += len(pids)
        return lines is not None


def _trusted_log() -> KernelLog | None:
    """The kernel's log where its pids are ours; in a container they are the machine's."""
    try:
        first = os.readlink("/proc/self/ns/pid") == _FIRST_NAMESPACE  # noqa: PTH115 - no path, a name
    except OSError:
        return None
    return KernelLog(from_now=True) if first else None
