"""One coordinator per OUT, and per state directory: an flock on a lock file, which says in JSON who holds it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from batchctl.errors import BatchctlError, RunLockedError, StorageError, UsageError
from batchctl.files import Disk
from batchctl.handles import FileLock
from batchctl.model.documents import as_document
from batchctl.named_tuple import NamedTuple
from batchctl.store.layout import RunLayout
from batchctl.store.state_directory import make_run_directory

_NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL})
_OTHER_FOLDER = "choose a folder on a local disk, or mount this one with locks"
_TRIES = 10


class Holder(NamedTuple):
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
    """Hold OUT's lock, creating the run directory where there is none; `RunLockedError` names who has it, UsageError
    where the file system gives a lock to two."""
    with _held(disk, layout.at(None), layout.lock, place=layout.out, holder=holder):
        yield


@contextmanager
def held_state(disk: Disk, layout: RunLayout, *, holder: Holder) -> Iterator[None]:
    """Hold the state directory's lock as well, as `held_lock` does; nothing to do where there is none."""
    if layout.state is None:
        yield
        return
    with _held(disk, layout, layout.state_lock, place=layout.state, holder=holder):
        yield


@contextmanager
def _held(disk: Disk, layout: RunLayout, path: Path, *, place: Path, holder: Holder) -> Iterator[None]:
    try:
        lock = _taken(disk, layout, path)
    except StorageError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NO_LOCKS:
            what = f"the file system of {place} has no locks: {error.__cause__.strerror}"
            raise UsageError(what, where=str(path), remedy=_OTHER_FOLDER) from error
        raise
    if lock is None:
        other = _holder(disk, path)
        who = f"process {other.pid} on {other.host}" if other else "another process"
        raise RunLockedError(
            f"{place} is held by {who}",
            where=str(path),
            remedy="wait for it, stop it, or choose another output folder",
        )
    try:
        _check_exclusive(disk, path, place=place)
        _note(lock, json.dumps(as_document(holder)).encode("ascii") + b"\n")
        try:
            yield
        finally:
            _note(lock, b"")  # free: a name left behind would mislead
    finally:
        lock.release()


def _taken(disk: Disk, layout: RunLayout, path: Path) -> FileLock | None:
    """The lock; None where another process has it."""
    left = _TRIES
    while True:
        try:
            make_run_directory(disk, layout)
            return disk.lock(path)
        except StorageError as error:
            # A run that never came to be takes its folder with it (`run/reset.py`), from under our feet too.
            left -= 1
            if not left or not isinstance(error.__cause__, FileNotFoundError):
                raise


def _note(lock: FileLock, note: bytes) -> None:
    """Hearsay for messages: the lock is held or free without it, also where the disk is full."""
    with suppress(StorageError):
        lock.write(note)


def _check_exclusive(disk: Disk, path: Path, *, place: Path) -> None:
    """Where this process gets the lock twice, so does everybody."""
    try:
        second = disk.lock(path)
    except StorageError:  # refused in other words: not given
        return
    if second is not None:
        second.release()
        raise UsageError(
            f"the file system of {place} gives one lock to two: nothing would keep two coordinators apart",
            where=str(path),
            remedy=_OTHER_FOLDER,
        )


def lock_holder(disk: Disk, layout: RunLayout) -> Holder | None:
    """Who says to hold OUT's lock; hearsay, for messages. None where nobody does."""
    return _holder(disk, layout.lock)


def _holder(disk: Disk, path: Path) -> Holder | None:
    try:
        said = json.loads(disk.read(path))
        return Holder(int(said["pid"]), str(said["host"]), str(said["boot_id"]))
    except (BatchctlError, ValueError, KeyError, TypeError):
        return None
