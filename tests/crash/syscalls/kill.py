"""The coordinator killed at a system call: `python -m tests.crash syscall [-n N] [--set shard=1/4]`. N = 0: every one.

Each point: a life that is killed on entering the call (it has no effect: `strace.py`), then the same command again,
which has to end with exit 0 and the results of a run that was never touched. Points are the calls of a first life, of
resumes of runs that were killed at five places, of a finished run started again, and of `retry`.
"""

from __future__ import annotations

import signal

from tests.crash.findings import Asked, Findings
from tests.crash.syscalls.points import Point, kills
from tests.crash.syscalls.rounds import run


def campaign(asked: Asked) -> Findings:
    """Options: see `rounds.run`."""
    return run(asked, enumerate_points=kills, allowed=_allowed, count="syscall_points")


def _allowed(point: Point, code: int) -> str:
    return "" if code == -signal.SIGKILL else f"the life that was killed exited {code}"
