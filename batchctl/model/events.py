"""What engines report: a closed vocabulary, past tense. Adding one must break every place that must decide.

Data moves right; only these come back. `slot` is the slot's index, `incarnation` counts the workers of a run from 1 and
is never used twice in an epoch: what an old incarnation still says has been dropped by the engine.
"""

from __future__ import annotations

from collections.abc import Sequence

from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, Scored, Shortage
from batchctl.named_tuple import NamedTuple


class WorkerForked(NamedTuple):
    """A worker process exists (it has not imported the script yet)."""

    slot: int
    incarnation: int
    pid: int


class WorkerReady(NamedTuple):
    """A worker passed `init()` and takes leases."""

    slot: int
    incarnation: int
    pid: int
    init_s: float


class InitFailed(NamedTuple):
    """A worker never got through import and `init()`: it raised, died, or passed `init_timeout`. The worker is gone."""

    slot: int
    incarnation: int
    failure: Failure


class LeasesScored(NamedTuple):
    """`run` succeeded and its rows are rendered, for as many leases as one frame told of. The hot path."""

    slot: int
    incarnation: int
    scored: Sequence[Scored]


class LeaseFailed(NamedTuple):
    """An attempt is to be charged: user code raised, the worker died in `run`, or the deadline passed."""

    slot: int
    incarnation: int
    lease: Lease
    failure: Failure
    run_ns: int


class LeasesReturned(NamedTuple):
    """Leases that came to nothing through no fault of theirs: not charged. `unsent`: `run` had begun or returned.
    `full`: what the worker had no room on the disk for, so that the run has to pause; "" where that was not it.
    `cleared`: the same worker had another lease that answers for its end (docs/design.md), so these are not counted."""

    slot: int
    incarnation: int
    leases: tuple[Lease, ...]
    unsent: bool
    full: str = ""
    cleared: bool = False


class ColumnsSeen(NamedTuple):
    """The rows that follow from this worker have this header (csv only)."""

    slot: int
    incarnation: int
    header: bytes


class WorkerGone(NamedTuple):
    """A worker process ended. `expected`: we stopped it. `cause` says how in words (signal, exit code, likely OOM).
    `shortage`: MEMORY or SUSPECTED where that was the kernel's doing, whatever the worker was at."""

    slot: int
    incarnation: int
    expected: bool
    cause: str
    shortage: Shortage = Shortage.NONE


class GuestWarned(NamedTuple):
    """The guest has something to tell the user (an accepted but unusual return type, more rows than items)."""

    slot: int
    incarnation: int
    text: str


class EngineLost(NamedTuple):
    """The fork server died; every worker with it; nobody is charged and the engine has started anew."""

    cause: str


Event = (
    WorkerForked
    | WorkerReady
    | InitFailed
    | LeasesScored
    | LeaseFailed
    | LeasesReturned
    | ColumnsSeen
    | WorkerGone
    | GuestWarned
    | EngineLost
)
