"""The interface of an engine: what owns workers, wherever they live.

An engine starts workers in slots, carries leases to them and tells what became of them as events (`model.events`).
It decides nothing: who gets which lease, what a failure costs and when a run ends is decided by its caller. All calls
come from one thread (the coordinator's main thread), except `wake`, which any thread or signal handler may call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from batchctl.model.events import Event
from batchctl.model.job import InputCheck, OutputAction, OutputFormat, OwnFiles, Scorer
from batchctl.model.lease import Lease
from batchctl.model.node import Slot
from batchctl.model.progress import WorkerView
from batchctl.named_tuple import NamedTuple


class LogSink(Protocol):
    """Where a worker's output goes; never raises."""

    def feed(self, data: bytes) -> None:
        """Take what the worker printed."""
        ...

    def tail(self, size: int) -> str:
        """The last `size` bytes, as text, for a message."""
        ...

    def close(self) -> None:
        """No more will come."""
        ...


def never_starved(_pid: int) -> bool | None:
    """Where nobody looks into the kernel's books: a SIGKILL from outside is a death like any other."""
    return False


class EngineJob(NamedTuple):
    """All that workers need to know. Folders are absolute and exist; durations in seconds.

    `environment` is the script's (values are never written to disk by the engine). `timeout` covers `run()` only,
    `init_timeout` the import of the script too; `start_timeout` what a worker does before that, where it waits for room
    on a full disk. `was_starved`: has the kernel just killed this process, by its id, for want of memory? None: it
    cannot be told. Asked once for each worker that a SIGKILL of somebody else's has ended, before anything is said of
    it.
    """

    run_id: str
    epoch: int
    plan: Path
    script: Path
    code: Path
    out: Path
    spill: Path
    stage: Path
    logs: Path
    mlruns: Path
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    logging_level: str
    output_format: OutputFormat
    output_action: OutputAction
    timeout: float
    init_timeout: float
    log_sink: Callable[[int, int], LogSink]
    preload: tuple[str, ...] = ()
    header: bool = False
    own_files: OwnFiles = OwnFiles.STAGED
    input_check: InputCheck = InputCheck.AUTO
    scorer: Scorer = Scorer.SCRIPT  # MLFLOW: `script` is an MLmodel file, and `code` the folder of its model
    chunk_rows: int = 0  # of MLFLOW: rows of a table per predict; 0: all
    was_starved: Callable[[int], bool | None] = never_starved
    start_timeout: float = 0.0


class Arity(NamedTuple):
    """How many positional arguments a function takes at least and at most (None: any number)."""

    least: int
    most: int | None


class ScriptFacts(NamedTuple):
    """What the user's interpreter says of itself and of the script, without running the script."""

    executable: str
    python: str
    pandas: str
    numpy: str
    pyarrow: str
    missing: tuple[str, ...]  # top-level names that the script (or our scorer) imports and this interpreter lacks
    syntax_error: str  # "line 3: invalid syntax", or ""
    functions: Mapping[str, Arity | None]  # of init, run, shutdown, as far as reading tells; None: not found
    dynamic: bool  # names may come from elsewhere: absence proves nothing


class Engine(Protocol):
    """Owns workers. After `EngineLost` all workers are gone and the engine is ready for `start_worker` again."""

    def open(self) -> None:
        """Start what must run before workers can (the fork server); returns before it is up. Raises UsageError."""
        ...

    def ask_facts(self, script: Path, code: Path, *, scorer: Scorer) -> None:
        """Begin to find out about the script, or what a model without one takes; `facts` gives the answer. Does not
        wait."""
        ...

    def has_facts(self) -> bool:
        """Whether `facts` would not wait."""
        ...

    def facts(self) -> ScriptFacts:
        """What was asked for; waits for it. Raises UsageError when it cannot be had."""
        ...

    def configure(self, job: EngineJob) -> None:
        """Say what is to be run; before the first `start_worker`."""
        ...

    def start_worker(self, slot: Slot) -> int:
        """Begin a worker in an empty slot and return its incarnation; WorkerReady or InitFailed will follow."""
        ...

    def send(self, slot: int, leases: Sequence[Lease]) -> None:
        """Hand leases to a ready worker, in order. Each comes back as scored, failed or returned, exactly once."""
        ...

    def take_back(self, slot: int) -> tuple[Lease, ...]:
        """Take back the leases that the worker has not started; they are the caller's again at once."""
        ...

    def in_hand(self, slot: int) -> int:
        """Leases that are with the worker now."""
        ...

    def stop_worker(self, slot: int) -> None:
        """Let the worker finish what it has, call `shutdown()` and leave; WorkerGone(expected=True) follows."""
        ...

    def kill_worker(self, slot: int) -> None:
        """Kill the worker and its process group now; what it had is returned, uncharged."""
        ...

    def poll(self, timeout: float) -> list[Event]:
        """What happened since the last call; waits up to `timeout` seconds for something to happen."""
        ...

    def wake(self) -> None:
        """Make a `poll` that is under way (or the next one) return at once. Safe from threads and signal handlers."""
        ...

    def workers(self) -> tuple[WorkerView, ...]:
        """What each worker is doing, by its shared page."""
        ...

    def close(self) -> None:
        """Kill whatever is left and give everything back. Never raises; may be called twice."""
        ...
