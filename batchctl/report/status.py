"""status.json: how far a run is, for `batchctl status` and for monitors, replaced as a whole at a bounded rate.

It tells; it proves nothing. Whether a coordinator is alive is asked of the lock and the process table, because a
killed one leaves its last words standing.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from batchctl import __version__
from batchctl.errors import StorageError
from batchctl.model.documents import as_document
from batchctl.model.progress import Progress, RunState
from batchctl.named_tuple import NamedTuple
from batchctl.report.atomic import read_small, replace_file
from batchctl.report.decode import record_from

STATUS_FORMAT = 1
STATUS_INTERVAL_S = 0.5
ENDED = (RunState.FINISHED, RunState.STOPPED, RunState.FAILED)


class Snapshot(NamedTuple):
    """What status.json holds: the moment, and what a reader needs to make sense of it elsewhere and later.

    `command` is what was typed (values of secrets masked), in the folder `cwd`; `written_at` is seconds since 1970 and
    `host` the machine whose process table knows `progress.pid`.
    """

    name: str
    command: tuple[str, ...]
    cwd: str
    host: str
    written_at: float
    version: str
    progress: Progress
    format: int = STATUS_FORMAT


class StatusFile:
    """Writes status.json: at most one in 0.5 s, a change of state at once, `force` always.

    A write that fails is counted in `errors` and never raised: a full disk must not end a run here.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        command: tuple[str, ...],
        clock: Callable[[], float],
        wall: Callable[[], float],
        interval_s: float = STATUS_INTERVAL_S,
    ) -> None:
        self._path = path
        self._name = name
        self._command = command
        self._clock = clock
        self._wall = wall
        self._interval_s = interval_s
        self._next: float | None = None
        self._state: RunState | None = None
        self._cwd = _cwd()
        self.errors = 0

    def due(self) -> bool:
        """Would `write` write now, the state unchanged? Spares building a Progress for nothing."""
        return self._next is None or self._clock() >= self._next

    def write(self, progress: Progress, *, force: bool = False) -> None:
        now = self._clock()
        if not force and self._next is not None and now < self._next and progress.state is self._state:
            return
        self._next, self._state = now + self._interval_s, progress.state
        snapshot = Snapshot(
            name=self._name,
            command=self._command,
            cwd=self._cwd,
            host=os.uname().nodename,
            written_at=self._wall(),
            version=__version__,
            progress=progress,
        )
        try:
            replace_file(self._path, json.dumps(as_document(snapshot)).encode())
        except StorageError:
            self.errors += 1


def read_status(path: Path) -> Snapshot | None:
    """The snapshot at `path`; None where there is none, or none that can be read (a power cut may leave it so)."""
    try:
        data = read_small(path)
        return None if data is None else record_from(Snapshot, json.loads(data))
    except (ValueError, RecursionError):
        return None


class Liveness(StrEnum):
    """What has become of a run, seen from outside."""

    RUNNING = "running"  # a coordinator holds it
    FINISHED = "finished"
    STOPPED = "stopped"  # in good order, resumable
    FAILED = "failed"
    CRASHED = "crashed"  # no coordinator, and none said goodbye
    PLANNED = "planned"  # a run directory without a status: it never got far, or lost the file to a power cut


def liveness(snapshot: Snapshot | None, *, lock_held: bool | None, pid_alive: bool | None) -> Liveness:
    """The verdict. None: unknown (no lock file where OUT was copied; another machine's pid)."""
    if lock_held:
        return Liveness.RUNNING
    if snapshot is None:
        return Liveness.PLANNED
    if snapshot.progress.state in ENDED:
        return Liveness(snapshot.progress.state.value)
    if lock_held is None and pid_alive:
        return Liveness.RUNNING
    return Liveness.CRASHED


def pid_alive(snapshot: Snapshot | None) -> bool | None:
    """Does the snapshot's coordinator exist? None where that cannot be known here."""
    if snapshot is None or snapshot.host != os.uname().nodename or snapshot.progress.pid <= 0:
        return None
    try:
        os.kill(snapshot.progress.pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return None  # no pid of this machine's
    except OSError:
        return True  # it exists and is not ours (a pid may have been given anew: the lock is asked first)
    return True


def lock_held(path: Path) -> bool | None:
    """Does a coordinator hold the lock file at `path`? None where there is no such file or it cannot be asked.

    Never keeps anybody out for longer than two system calls, and only where nobody holds it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        if struct.unpack("hhqqi4x", fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK:
            return True
        # A shared lock, so that two who ask do not see each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


def _cwd() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # removed under us
        return ""
