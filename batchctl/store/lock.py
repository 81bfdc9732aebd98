"""One coordinator per run: an flock on the run directory's lock file, which says in JSON who holds it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from batchctl.errors import BatchctlError, RunLockedError, StorageError
from batchctl.files import Disk
from batchctl.handles import FileLock
from batchctl.store.creation import make_run_directory
from batchctl.store.layout import RunLayout

_TRIES = 10


@dataclass(frozen=True, slots=True)
class Holder:
    """A process, named so that a person can find it."""

    pid: int
    host: str
    boot_id: str


def this_process() -> Holder:
    """The caller. `boot_id` is empty where the kernel does not say."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot_id = ""
    return Holder(os.getpid(), os.uname().nodename, boot_id)


@contextmanager
def held_lock(disk: Disk, layout: RunLayout, *, holder: Holder) -> Iterator[None]:
    """Hold the run's lock, creating its directory where there is none; `RunLockedError` names who has it."""
    lock = _taken(disk, layout)
    if lock is None:
        other = lock_holder(disk, layout)
        who = f"process {other.pid} on {other.host}" if other else "another process"
        raise RunLockedError(
            f"{layout.out} is held by {who}",
            where=str(layout.lock),
            remedy="wait for it, stop it, or choose another output folder",
        )
    try:
        lock.write(json.dumps(asdict(holder)).encode("ascii") + b"\n")
        yield
        lock.write(b"")  # free: a name left behind would mislead
    finally:
        lock.release()


def _taken(disk: Disk, layout: RunLayout) -> FileLock | None:
    """The lock; None where another process has it."""
    left = _TRIES
    while True:
        try:
            make_run_directory(disk, layout)
            return disk.lock(layout.lock)
        except StorageError as error:
            # A run that never came to be takes its folder with it (`run/reset.py`), from under our feet too.
            left -= 1
            if not left or not isinstance(error.__cause__, FileNotFoundError):
                raise


def lock_holder(disk: Disk, layout: RunLayout) -> Holder | None:
    """Who says to hold the lock; hearsay, for messages. None where nobody does."""
    try:
        said = json.loads(disk.read(layout.lock))
        return Holder(int(said["pid"]), str(said["host"]), str(said["boot_id"]))
    except (BatchctlError, ValueError, KeyError, TypeError):
        return None
