"""Open files: what may be done with one and what it promises (`AppendFile`, `ReadFile`, `FileLock`), and the real ones.

Durable means: survives a power cut right after the call returned. Nothing here is durable unless its docstring says so.
Handles are made by `files.py` only. Not thread-safe; different handles may be used from different threads.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat as stat_bits
import time
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from batchctl.errors import NoSpaceError, StorageError

Bytes = bytes | memoryview

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_COPY_RANGE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
_NO_WRITE_BACK = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.ESPIPE})
_BEGIN_WRITING = 2  # SYNC_FILE_RANGE_WRITE: does not wait, and takes no error of before away from fdatasync
_BLOCK = 1 << 20
_READERS_S = 5.0  # how long those who only ask about a lock may go on asking


class AppendFile(Protocol):
    """A file with one writer, who knows where it ends.

    After `NoSpaceError` only `truncate` is allowed, and makes the handle good again; after any other failed write, and
    after any failed sync, every use raises `StorageError`: what such a descriptor says later cannot be believed.
    """

    @property
    def size(self) -> int:
        """Bytes appended whole; what a failed `append` left beyond them is not counted."""

    def append(self, data: Bytes) -> None:
        """Write all of `data` at the end, or raise. Not durable."""

    def append_range(self, source: ReadFile, *, offset: int, length: int) -> None:
        """Append that range of another file, in the kernel where it can. Not durable."""

    def overwrite(self, offset: int, data: Bytes) -> None:
        """Write inside the file. For bytes equal to those there: a sync that failed in an earlier process leaves pages
        marked clean that never reached the disk, and only writing them again makes a later sync cover them."""

    def datasync(self) -> None:
        """The file's bytes and size are durable on return (its entry is not), whoever wrote them."""

    def write_back(self, start: int) -> None:
        """Let the kernel begin to write what lies from `start` on, so that `datasync` has less to wait for. Nothing is
        durable. An error that is known at once counts as a failed sync; those that come later `datasync` raises."""

    def truncate(self, size: int) -> None:
        """Cut to `size`, not above the present one. Not durable."""

    def close(self) -> None:
        """Release the descriptor; says nothing about durability. Closing twice is harmless."""


class ReadFile(Protocol):
    """A regular file open for reading; a context manager."""

    @property
    def size(self) -> int:
        """Size in bytes when it was opened."""

    def pread(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; `StorageError` where the file is shorter."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class FileLock(Protocol):
    """An exclusive lock that dies with the process."""

    def write(self, note: bytes) -> None:
        """Replace the lock file's content (who holds it), or raise StorageError: the lock is held all the same. Not
        durable and need not be."""

    def release(self) -> None:
        """Give the lock back; the file stays."""


def storage_error(doing: str, path: Path, *, cause: OSError) -> StorageError:
    """The operating system's refusal in our words: `NoSpaceError` where the disk is full."""
    kind = NoSpaceError if cause.errno in _FULL else StorageError
    error = kind(f"cannot {doing} {path}: {cause.strerror}", where=str(path))
    error.__cause__ = cause
    return error


def _status(path: Path, fd: int) -> os.stat_result:
    """fstat; where that fails the descriptor is closed."""
    try:
        return os.fstat(fd)
    except OSError as cause:
        os.close(fd)
        raise storage_error("stat", path, cause=cause) from cause


class RealAppendFile:
    """`AppendFile` over a descriptor; positions are explicit: what a failed write left is never appended to."""

    __slots__ = ("_dead", "_fd", "_full", "path", "size")

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.size = _status(path, fd).st_size
        self._fd = fd
        self._full = False
        self._dead = ""

    def _ready(self) -> None:
        if self._dead or self._full or self._fd < 0:
            raise StorageError(
                f"{self.path} is not to be used again: {self._dead or 'closed, or full and not cut'}",
                where=str(self.path),
            )

    def _note(self, doing: str, cause: OSError) -> StorageError:
        error = storage_error(doing, self.path, cause=cause)
        if isinstance(error, NoSpaceError):
            self._full = True
        else:
            self._dead = error.message
        return error

    def append(self, data: Bytes) -> None:
        self._ready()
        self._write(self.size, data)
        self.size += len(data)

    def overwrite(self, offset: int, data: Bytes) -> None:
        self._ready()
        self._write(offset, data)

    def _write(self, offset: int, data: Bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self._fd, view, offset)
                view = view[written:]
                offset += written
        except OSError as cause:
            raise self._note("write", cause) from cause

    def append_range(self, source: ReadFile, *, offset: int, length: int) -> None:
        self._ready()
        end = self.size
        while length and isinstance(source, RealReadFile):
            try:
                copied = os.copy_file_range(source.fd, self._fd, length, offset, end)
            except OSError as cause:
                if cause.errno not in _NO_COPY_RANGE:
                    raise self._note("write", cause) from cause
                copied = 0
            if not copied:
                break  # another file system, an old kernel, or the source's end: pread says which
            offset, end, length = offset + copied, end + copied, length - copied
        while length:
            block = source.pread(offset, min(length, _BLOCK))
            self._write(end, block)
            offset, end, length = offset + len(block), end + len(block), length - len(block)
        self.size = end

    def datasync(self) -> None:
        self._ready()
        try:
            os.fdatasync(self._fd)
        except OSError as cause:
            self._dead = f"a sync failed: {cause.strerror}"
            raise StorageError(f"cannot sync {self.path}: {cause.strerror}", where=str(self.path)) from cause

    def write_back(self, start: int) -> None:
        self._ready()
        number = _written_back(self._fd, start, self.size - start)
        if number and number not in _NO_WRITE_BACK:
            self._dead = f"a sync failed: {os.strerror(number)}"
            raise StorageError(f"cannot sync {self.path}: {os.strerror(number)}", where=str(self.path))

    def truncate(self, size: int) -> None:
        self._full = False  # cutting is what a full disk asks for
        self._ready()
        try:
            os.ftruncate(self._fd, size)
        except OSError as cause:
            self._dead = str(cause)
            raise StorageError(f"cannot truncate {self.path}: {cause.strerror}", where=str(self.path)) from cause
        self.size = size

    def close(self) -> None:
        """Network file systems tell here that what was not synced did not fit."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                os.close(fd)
            except OSError as cause:
                raise storage_error("close", self.path, cause=cause) from cause


def _written_back(fd: int, start: int, length: int) -> int:
    """sync_file_range, for which Python has no name: an error number, or 0."""
    import ctypes

    try:
        call = ctypes.CDLL(None, use_errno=True).sync_file_range
    except AttributeError:
        return errno.ENOSYS
    failed = call(fd, ctypes.c_int64(start), ctypes.c_int64(length), _BEGIN_WRITING)
    return ctypes.get_errno() if failed else 0


class RealReadFile:
    """`ReadFile` over a descriptor."""

    __slots__ = ("fd", "path", "size")

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.fd = fd
        found = _status(path, fd)
        self.size = found.st_size
        if not stat_bits.S_ISREG(found.st_mode):
            os.close(fd)
            raise StorageError(f"{path} is not a regular file", where=str(path))

    def pread(self, offset: int, length: int) -> bytes:
        blocks: list[bytes] = []
        try:
            while length > 0:
                block = os.pread(self.fd, length, offset)
                if not block:
                    raise StorageError(f"{self.path} ends before byte {offset + length}", where=str(self.path))
                blocks.append(block)
                offset, length = offset + len(block), length - len(block)
        except OSError as cause:
            raise storage_error("read", self.path, cause=cause) from cause
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)


def take_flock(fd: int) -> bool:
    """Lock an open file for us alone, without waiting for others who want that; False: one has it.

    Who only asks whether there is one (`report/status.py`) shares the lock for a moment, and is waited for.
    """
    give_up = time.monotonic() + _READERS_S
    while True:
        with contextlib.suppress(BlockingIOError, PermissionError):  # SMB says EACCES where another machine has it
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        fcntl.flock(fd, fcntl.LOCK_UN)
        if time.monotonic() > give_up:
            return False
        time.sleep(0.001 + os.getpid() % 7 / 1000)  # two who wait must not keep meeting


def is_at(fd: int, path: Path) -> bool:
    """Is it the open file that has this name now?"""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(fd), there)


def give_up(*handles: AppendFile | None) -> None:
    """Close these where something has failed: that is to be told, and not what closing may have to say after it."""
    for handle in handles:
        if handle is not None:
            with contextlib.suppress(StorageError):
                handle.close()


class RealFileLock:
    """`FileLock` by flock: the kernel drops it with the last descriptor, and ours is inherited by nobody."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def write(self, note: bytes) -> None:
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, note, 0)
        except OSError as cause:
            raise storage_error("write", self.path, cause=cause) from cause

    def release(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
