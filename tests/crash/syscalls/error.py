"""A system call of the coordinator that fails: `python -m tests.crash error [-n N] [--set shard=1/8]`. N = 0: every
one, by EIO, and by ENOSPC where a file system may want room.

The error comes once. A life that meets it ends with 74 (storage failed) or 0; with 0 only where the results are those
of an untouched run, and only so:

- EIO: where the file only tells, like status.json or the lock's note, or OUT, the run directory or a folder above is
  looked at (its mode, for a warning; its real path); never where it is part of a promise.
- ENOSPC: it goes on by itself once the work has begun (commit, finish). Before that, and from a sync, it is 74.

After 74 the same command again has to end with 0 and the results of an untouched run.
"""

from __future__ import annotations

import re

from batchctl.errors import ExitCode
from tests.crash.findings import Asked, Findings
from tests.crash.syscalls.points import OUT, Point, errors
from tests.crash.syscalls.rounds import run
from tests.crash.syscalls.strace import FLUSHER, READS, SYNCS

# In the run directory: what monitors read, and what is made anew where it is missing or wrong.
TOLD = re.compile(r"lock|logs/.*|attempts\.csv|\.?(learned\.json|status\.json|summary\.json|quarantine\.jsonl)(\.tmp)?")


def campaign(asked: Asked) -> Findings:
    """Options: see `rounds.run`."""
    return run(asked, enumerate_points=errors, allowed=exit_code_problem, count="error_points")


def exit_code_problem(point: Point, code: int) -> str:
    call = point.call
    told = TOLD.fullmatch(call.path.removeprefix(f"{OUT}/.batchctl/")) is not None
    told = told or (call.name in READS and (not call.path.startswith(f"{OUT}/") or call.path == f"{OUT}/.batchctl"))
    allowed = {ExitCode.STORAGE}
    if told or (point.fault == "ENOSPC" and call.name not in SYNCS):
        allowed.add(ExitCode.OK)
    if point.fault == "ENOSPC" and call.thread == FLUSHER and call.name not in SYNCS:
        allowed.discard(ExitCode.STORAGE)
    return "" if code in allowed else f"it exited {code}, which is not among {sorted(map(int, allowed))}"
