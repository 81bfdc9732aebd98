"""How far a run is and how it ended: what people and machines read."""

from __future__ import annotations

from enum import StrEnum

from batchctl.model.lease import Lease
from batchctl.named_tuple import NamedTuple


class RunState(StrEnum):
    """What the coordinator is doing."""

    LISTING = "listing"
    STARTING = "starting"  # workers are in init()
    RUNNING = "running"
    DRAINING = "draining"
    PAUSED = "paused"  # storage is full
    FINISHING = "finishing"
    FINISHED = "finished"
    STOPPED = "stopped"  # resumable
    FAILED = "failed"


class WorkerView(NamedTuple):
    """One slot as the shared page shows it; `batch` is the mini-batch in run(), `since_s` how long in that state.
    `memory` and `gpu_memory` are bytes at the last look (its children included), None before there was one."""

    slot: int
    incarnation: int
    pid: int
    state: str
    batch: int | None
    since_s: float
    cpus: tuple[int, ...]
    gpu: str | None
    memory: int | None = None
    gpu_memory: int | None = None


class Progress(NamedTuple):
    """A moment of a run. Items done = succeeded + failed (quarantined and missing ones), committed ones only."""

    run_id: str
    state: RunState
    epoch: int
    pid: int
    items: int
    items_done: int
    items_failed: int
    batches: int
    batches_done: int
    rows: int
    elapsed_s: float  # of this epoch
    rate: float  # items per second of late; 0.0 when unknown
    eta_s: float | None
    workers: tuple[WorkerView, ...] = ()
    message: str = ""
    sizing: str = ""  # how many places have a worker, and why no more, in words


class CauseGroup(NamedTuple):
    """Failures of one cause: how many items and attempts, one example with its file and traceback."""

    kind: str
    error: str
    message: str
    items: int
    attempts: int
    example_path: str
    example_traceback: str


class Attempt(NamedTuple):
    """One attempt that came to nothing, a row of attempts.csv. `status`: failed, lost, timed_out, or
    out_of_memory where nobody was charged."""

    lease: Lease
    slot: int
    incarnation: int
    run_s: float
    status: str
    error: str
    message: str


class Summary(NamedTuple):
    """The end of a run, for the terminal and for summary.json. `next_command` is what to type next, or ""."""

    run_id: str
    name: str
    state: RunState
    exit_code: int
    items: int
    items_succeeded: int
    items_failed: int
    items_quarantined: int
    batches: int
    attempts: int
    attempts_failed: int
    attempts_lost: int
    attempts_timed_out: int
    rows: int
    duration_s: float
    epochs: int
    workers: int
    output: str  # path of the final file, of .partial, or "" (summary_only)
    error_threshold: str
    causes: tuple[CauseGroup, ...] = ()
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()  # sizing, in words
    next_command: str = ""
    held_back: str = ""  # why there were no more workers, where memory, a GPU or throughput did not allow them
    items_added: int | None = None  # at a resume: files beside the planned ones, no part of the run; None: not looked
