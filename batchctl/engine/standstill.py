"""Processes that somebody has stopped (SIGSTOP, a debugger) where no deadline would ever find it."""

from __future__ import annotations

from batchctl import processes

_LOOKS = 50


class Standstill:
    """Counts for how many looks in a row a process has been stopped. Looks, not seconds: where all of us were stopped
    (a batch system suspends a job so) and go on one after another, nobody has stood still for long."""

    def __init__(self) -> None:
        self._looks: dict[int, int] = {}

    def lasts(self, pid: int, *, matters: bool = True) -> bool:
        """Look at it; True where it was found stopped for the 50th time in a row. `matters`: somebody waits for it."""
        if not matters or not processes.is_stopped(pid):
            self._looks.pop(pid, None)
            return False
        self._looks[pid] = looks = self._looks.get(pid, 0) + 1
        if looks < _LOOKS:
            return False
        del self._looks[pid]
        return True
