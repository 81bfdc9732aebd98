"""Every error that a user can meet, and the exit code it ends with.

One root, few classes, data as attributes. `cli/main.py` is the only place that turns them into text and an exit
status. A message says what is wrong; `where` names the file (with line and key where known), `remedy` what to type.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """The process exit codes; stable, documented in README and `--help`."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    THRESHOLD = 3
    INIT_FAILED = 4
    NODE_TOO_SMALL = 5
    RESUME_REFUSED = 6
    CORRUPTION = 7
    LOCKED = 8
    NO_CACHE = 69
    EXECUTABLE_DAMAGED = 70
    STORAGE = 74
    STOPPED = 75
    INTERRUPTED = 130


EXIT_CODE_MEANING: dict[ExitCode, str] = {
    ExitCode.OK: "finished; failures, if any, within the threshold",
    ExitCode.INTERNAL: "internal error (a crash file says where)",
    ExitCode.USAGE: "usage, spec or script contract wrong",
    ExitCode.THRESHOLD: "error threshold exceeded, or nothing succeeded; partial output is valid",
    ExitCode.INIT_FAILED: "init() failed",
    ExitCode.NODE_TOO_SMALL: "this machine cannot bear one worker",
    ExitCode.RESUME_REFUSED: "resume refused: spec, script, model or inputs changed",
    ExitCode.CORRUPTION: "corruption found",
    ExitCode.LOCKED: "another coordinator holds this run",
    ExitCode.NO_CACHE: "no folder that the executable could be unpacked into",
    ExitCode.EXECUTABLE_DAMAGED: "the executable itself is damaged",
    ExitCode.STORAGE: "storage failed",
    ExitCode.STOPPED: "stopped early, resumable",
    ExitCode.INTERRUPTED: "Ctrl-C, resumable",
}


class BatchctlError(Exception):
    """Root of all errors that are ours to report; never raised itself."""

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(self, message: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy


class UsageError(BatchctlError):
    """The command line, a spec, an input or the script contract is wrong."""

    exit_code = ExitCode.USAGE


class SpecError(UsageError):
    """A spec has problems; `problems` holds every one of them, rendered `file:line:key: what. Remedy`."""

    def __init__(self, problems: tuple[str, ...], *, where: str = "") -> None:
        super().__init__("\n".join(problems), where=where)
        self.problems = problems


class InitFailedError(BatchctlError):
    """`init()` failed before any worker had passed it, or every slot was closed by failing `init()`s."""

    exit_code = ExitCode.INIT_FAILED


class NodeTooSmallError(BatchctlError):
    """Not even one worker fits on this machine."""

    exit_code = ExitCode.NODE_TOO_SMALL


class ResumeRefusedError(BatchctlError):
    """The run directory belongs to another spec, script, model or input; `differences` says how."""

    exit_code = ExitCode.RESUME_REFUSED

    def __init__(self, message: str, *, differences: tuple[str, ...] = (), where: str = "", remedy: str = "") -> None:
        super().__init__(message, where=where, remedy=remedy)
        self.differences = differences


class CorruptionError(BatchctlError):
    """Damage that a crash cannot explain; nothing was repaired."""

    exit_code = ExitCode.CORRUPTION


class RunLockedError(BatchctlError):
    """Another coordinator holds this run directory."""

    exit_code = ExitCode.LOCKED


class ExecutableDamagedError(BatchctlError):
    """The executable, or the tree that was unpacked from it, is not what was built."""

    exit_code = ExitCode.EXECUTABLE_DAMAGED


class StorageError(BatchctlError):
    """A write or a sync failed: the descriptor is not to be used again; a fresh process recovers."""

    exit_code = ExitCode.STORAGE


class NoSpaceError(StorageError):
    """ENOSPC or EDQUOT from a write (never from a sync): retryable once there is room and the tail was cut back."""


class StoppedError(BatchctlError):
    """Stopped early on purpose (signal, pause limit); the same command resumes."""

    exit_code = ExitCode.STOPPED
