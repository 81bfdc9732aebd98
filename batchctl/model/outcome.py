"""What an attempt produced, as data: rows or a failure."""

from __future__ import annotations

from enum import StrEnum

from batchctl.model.lease import Lease
from batchctl.named_tuple import NamedTuple

FILES_REFUSED = "FilesRefused"  # class of the failure of an attempt whose files can never be published
MACHINE_DOWN = "MachineDown"  # class of the loss of an attempt that took the whole machine with it


class FailureKind(StrEnum):
    """How an attempt came to nothing; three words, counted apart."""

    FAILED = "failed"  # user code raised, or returned what the contract does not allow
    LOST = "lost"  # the worker died in run()
    TIMED_OUT = "timed_out"  # the deadline passed


class Shortage(StrEnum):
    """What an attempt (or an `init()`) died of, where that was want of memory."""

    NONE = ""
    MEMORY = "memory"  # the kernel killed the worker, and its books say so
    SUSPECTED = "suspected"  # SIGKILL from nobody known, where the kernel's books cannot be read
    GPU = "gpu"  # CUDA said so to the script


class Failure(NamedTuple):
    """Why an attempt (or an `init()`) came to nothing: kind, class name, message and traceback text, all capped.

    `phase`: where it happened: run, render, stage, commit; "" where nobody can say. `peak_memory`: the most bytes that
    the worker ever had resident, as the kernel counts it (VmHWM); None where it could not be asked any more.
    """

    kind: FailureKind
    error: str
    message: str
    traceback: str = ""
    phase: str = ""
    peak_memory: int | None = None
    shortage: Shortage = Shortage.NONE

    @property
    def is_final(self) -> bool:
        """Would another attempt on the same items certainly fail alike?"""
        refused = self.error == FILES_REFUSED and self.phase == "commit"
        return refused or (self.error == MACHINE_DOWN and self.kind is FailureKind.LOST)

    @property
    def cause(self) -> tuple[str, str, str]:
        """Equal causes in a row end the retrying early; failures are grouped by it."""
        return (self.kind.value, self.error, self.message)


class StagedFile(NamedTuple):
    """A file the script wrote: `path` relative to OUT (bytes as the file system has them), size in bytes."""

    path: str
    size: int


class Scored(NamedTuple):
    """A successful attempt: its rendered rows and its counts. NamedTuple for the hot path.

    `rows` is empty and `spill` names a file in the run directory's spill folder where rows passed 1 MiB. `length` is
    the byte length of the rows in either case, `crc` their CRC-32 (zlib, seed 0). `ok + failed == lease.count`: missing
    elements are failed items and are not retried. `staged` names the folder under stage/ that holds `files`.
    `run_ns` is the time in run(), `busy_ns` that and what it took to render and to keep the result.
    """

    lease: Lease
    rows: bytes
    length: int
    crc: int
    n_rows: int
    ok: int
    failed: int
    run_ns: int
    spill: str = ""
    staged: str = ""
    files: tuple[StagedFile, ...] = ()
    busy_ns: int = 0
