"""One coordinator per run: an flock on the run directory's lock file, which says in JSON who holds it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from batchctl.errors import BatchctlError, RunLockedError, StorageError
from batchctl.files import Disk
from batchctl.store.creation import make_run_directory
from batchctl.store.layout import RunLayout


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
    make_run_directory(disk, layout)
    lock = disk.lock(layout.lock)
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
        with suppress(StorageError):  # all is done and durable: a disk that broke since changes nothing
            lock.write(b"")  # free: a name left behind would mislead
    finally:
        lock.release()


def lock_holder(disk: Disk, layout: RunLayout) -> Holder | None:
    """Who says to hold the lock; hearsay, for messages. None where nobody does."""
    try:
        said = json.loads(disk.read(layout.lock))
        return Holder(int(said["pid"]), str(said["host"]), str(said["boot_id"]))
    except (BatchctlError, ValueError, KeyError, TypeError):
        return None
