"""A system call of the coordinator that fails: `python -m tests.crash error [-n N] [--set shard=1/8]`. N = 0: every
one, by EIO, and by ENOSPC where a file system may want room.

The error comes once. The life that meets it may end with 0, 74 (storage) or 75 (stopped), with 0 only where the results
are those of an untouched run; after a sync that failed never with 0. After another code the same command again has to
end with 0 and those results.
"""

from __future__ import annotations

from batchctl.errors import ExitCode
from tests.crash.findings import Asked, Findings
from tests.crash.syscalls.points import Point, errors
from tests.crash.syscalls.rounds import run
from tests.crash.syscalls.strace import SYNCS

CODES = frozenset({ExitCode.OK, ExitCode.STORAGE, ExitCode.STOPPED})


def campaign(asked: Asked) -> Findings:
    """Options: see `rounds.run`."""
    return run(asked, enumerate_points=errors, allowed=_allowed, count="error_points")


def _allowed(point: Point, code: int) -> str:
    if code not in CODES:
        return f"it exited {code}"
    if point.call.name in SYNCS and code != ExitCode.STORAGE:
        return f"a sync failed, and it exited {code}"
    return ""
