"""The only door to durable disk: `Disk` says in prose what each operation promises, `RealDisk` keeps it.

Durable means: survives a power cut right after the call returned. Nothing here is durable unless its docstring says so.
Errors: `NoSpaceError` where the file system is full (never from a sync), else `StorageError`; both name the path. A
symbolic link in the last component is never followed, and descriptors are never inherited. The operations keep no
state and may run on any thread; for what open files promise, see `handles.py`.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat as stat_bits
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Protocol

from batchctl.errors import StorageError
from batchctl.handles import (
    AppendFile,
    FileLock,
    ReadFile,
    RealAppendFile,
    RealFileLock,
    RealReadFile,
    give_up,
    is_at,
    storage_error,
    take_flock,
)
from batchctl.named_tuple import NamedTuple
from batchctl.together import Aside, together

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_RENAME_NOREPLACE, _AT_FDCWD = 1, -100
_NOT_OURS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL})


class FileKind(StrEnum):
    """What a directory entry is; links are never followed to find out."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    OTHER = "other"


class Stat(NamedTuple):
    """A directory entry: kind, size in bytes, permission bits, owner, how many names the file has."""

    kind: FileKind
    size: int
    mode: int
    uid: int
    links: int = 1


class Disk(Protocol):
    """The operations that promises are made of. Paths are absolute."""

    def open_append(self, path: Path, *, create: bool = False) -> AppendFile:
        """Open for appending; `create`: a new file (0600), `StorageError` where the name exists. The entry is durable
        after `sync_dir` of its folder."""

    def open_read(self, path: Path) -> ReadFile:
        """Open a regular file; `StorageError` for a link or anything else."""

    def read(self, path: Path) -> bytes:
        """The whole file."""

    def map(self, path: Path) -> memoryview:
        """The whole file mapped read-only. Only for files that nobody truncates while the view lives."""

    def replace(self, source: Path, target: Path) -> None:
        """Rename over whatever is there, atomically. Durable after `sync_dir` of both folders."""

    def rename_new(self, source: Path, target: Path) -> bool:
        """Rename unless `target` exists (then False, nothing done). Durable after `sync_dir` of the target's folder;
        the old name may come back with a power cut until its own folder is synced."""

    def sync_dir(self, path: Path) -> None:
        """Entries created, renamed or removed in this folder are durable on return."""

    def sync_file(self, path: Path) -> None:
        """A file that somebody else wrote: bytes, size and mode are durable on return (its entry is not)."""

    def remove(self, path: Path) -> None:
        """Remove a file or link; one that is not there is fine. Durable after `sync_dir`."""

    def remove_tree(self, path: Path) -> None:
        """Remove a folder with all in it, whatever modes its folders have, or a file, following no link; one that is
        not there is fine."""

    def listdir(self, path: Path) -> list[str]:
        """Names in a folder, sorted; empty where there is no folder."""

    def mkdir(self, path: Path, *, mode: int = 0o777) -> bool:
        """Create a folder; False where the name exists. Durable after `sync_dir` of its parent."""

    def stat(self, path: Path) -> Stat | None:
        """What the name is, links not followed; None where there is none."""

    def lock(self, path: Path) -> FileLock | None:
        """Take the lock on this file (created 0600 where missing) without waiting; None: another process has it."""

    def free_space(self, path: Path) -> int:
        """Bytes that this user may still write on the file system of this folder."""

    def together(self, steps: Sequence[Callable[[], None]]) -> None:
        """Do all of these, syncs of different files and folders, in no order: a disk that takes 10 ms for one takes
        little more for eight that it is given at once. Errors as in `together`."""

    def aside(self) -> Aside:
        """For what only reads, while the caller goes on."""


class Draft:
    """A file's next content, written beside it under a temporary name. Then `sync`, and only then `place`."""

    def __init__(self, disk: Disk, path: Path, *, chunks: Iterable[bytes]) -> None:
        self._disk, self._path = disk, path
        self._temporary = path.with_name(path.name + ".tmp")
        disk.remove(self._temporary)
        self._handle = disk.open_append(self._temporary, create=True)
        try:
            for chunk in chunks:
                self._handle.append(chunk)
        except BaseException:
            give_up(self._handle)
            raise

    def sync(self) -> None:
        """The content is durable on return: before the rename, or the name may outlive a cut that it does not."""
        try:
            self._handle.datasync()
        except BaseException:
            give_up(self._handle)
            raise
        self._handle.close()

    def rename(self) -> None:
        """Replace the file as a whole: a crash leaves the old one or the new one. Not durable yet."""
        self._disk.replace(self._temporary, self._path)

    def place(self) -> None:
        """The same, durable on return."""
        self.rename()
        self._disk.sync_dir(self._path.parent)


def write_whole(disk: Disk, path: Path, *, chunks: Iterable[bytes]) -> None:
    """Replace a file as a whole: on return the new content is durable; a crash leaves the old one or the new one."""
    draft = Draft(disk, path, chunks=chunks)
    draft.sync()
    draft.place()


def make_dirs(disk: Disk, path: Path) -> None:
    """Create `path` and its missing parents; on return all their entries are durable.

    Parents that exist are synced too: a run killed between creating and syncing them leaves folders that look settled.
    A parent that we may not open is none that we created.
    """
    disk.together(dirs_made(disk, path))


def dirs_made(disk: Disk, path: Path) -> list[Callable[[], None]]:
    """As `make_dirs`, but for what is left to be done `together` with other syncs: then their entries are durable."""
    for folder in (*reversed(path.parents), path):
        if disk.stat(folder) is None:
            disk.mkdir(folder)
    return [partial(_sync_parent, disk, folder) for folder in path.parents]


def _sync_parent(disk: Disk, folder: Path) -> None:
    try:
        disk.sync_dir(folder)
    except StorageError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _NOT_OURS:
            raise


class RealDisk:
    """`Disk` on the machine's own file systems."""

    def open_append(self, path: Path, *, create: bool = False) -> AppendFile:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        return RealAppendFile(path, self._open(path, flags))

    def open_read(self, path: Path) -> ReadFile:
        return RealReadFile(path, self._open(path, _READ | os.O_NONBLOCK))  # a planted FIFO must not hang us

    def _open(self, path: Path, flags: int) -> int:
        try:
            return os.open(path, flags, 0o600)
        except OSError as cause:
            raise storage_error("open", path, cause=cause) from cause

    def read(self, path: Path) -> bytes:
        with self.open_read(path) as source:
            return source.pread(0, source.size) if source.size else b""

    def map(self, path: Path) -> memoryview:
        with RealReadFile(path, self._open(path, _READ | os.O_NONBLOCK)) as source:
            return memoryview(mmap.mmap(source.fd, 0, prot=mmap.PROT_READ) if source.size else b"")

    def replace(self, source: Path, target: Path) -> None:
        with _door("rename", target):
            os.replace(source, target)

    def rename_new(self, source: Path, target: Path) -> bool:
        with _door("rename", target):
            try:
                if not _renameat2(source, target):
                    os.link(source, target, follow_symlinks=False)
                    os.unlink(source)
            except FileExistsError:
                return False
        return True

    def sync_dir(self, path: Path) -> None:
        self._sync(path, _READ | os.O_DIRECTORY)

    def sync_file(self, path: Path) -> None:
        self._sync(path, _READ | os.O_NONBLOCK)

    def _sync(self, path: Path, flags: int) -> None:
        fd = self._open(path, flags)
        try:
            os.fsync(fd)
        except OSError as cause:
            raise StorageError(f"cannot sync {path}: {cause.strerror}", where=str(path)) from cause
        finally:
            os.close(fd)

    def remove(self, path: Path) -> None:
        with _door("remove", path):
            path.unlink(missing_ok=True)

    def remove_tree(self, path: Path) -> None:
        with _door("remove", path):
            try:
                # rmtree opens what it is given: a pipe would block it
                if not stat_bits.S_ISDIR(os.lstat(path).st_mode):
                    path.unlink()
                    return
                import shutil  # with its archives 8 ms that few starts need

                try:
                    shutil.rmtree(path)
                except PermissionError:  # a script took the right to change a folder of its own away from itself
                    _give_back(path)
                    shutil.rmtree(path)
            except FileNotFoundError:
                pass

    def listdir(self, path: Path) -> list[str]:
        with _door("list", path):
            try:
                return sorted(os.listdir(path))
            except FileNotFoundError:
                return []

    def mkdir(self, path: Path, *, mode: int = 0o777) -> bool:
        with _door("create", path):
            try:
                os.mkdir(path, mode)
            except FileExistsError:
                return False
        return True

    def stat(self, path: Path) -> Stat | None:
        with _door("stat", path):
            try:
                found = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                return None
        kind = _KINDS.get(stat_bits.S_IFMT(found.st_mode), FileKind.OTHER)
        return Stat(kind, found.st_size, stat_bits.S_IMODE(found.st_mode), found.st_uid, found.st_nlink)

    def lock(self, path: Path) -> FileLock | None:
        while True:
            fd = self._open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                taken = take_flock(fd)
                if taken and is_at(fd, path):
                    return RealFileLock(path, fd)
            except OSError as cause:
                os.close(fd)
                raise storage_error("lock", path, cause=cause) from cause
            os.close(fd)
            if not taken:
                return None
            # Its last holder has removed it: whoever comes next locks another file of that name.

    def free_space(self, path: Path) -> int:
        with _door("stat", path):
            found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def together(self, steps: Sequence[Callable[[], None]]) -> None:
        together(steps)

    def aside(self) -> Aside:
        return Aside()


_KINDS = {stat_bits.S_IFREG: FileKind.FILE, stat_bits.S_IFDIR: FileKind.DIRECTORY, stat_bits.S_IFLNK: FileKind.LINK}


def _give_back(path: Path) -> None:
    """Let the owner list and change this folder and all below it; no link is followed."""
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        os.chmod(folder, stat_bits.S_IRWXU)
        with os.scandir(folder) as entries:
            waiting += [folder / entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


@contextmanager
def _door(doing: str, path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into ours."""
    try:
        yield
    except OSError as cause:
        raise storage_error(doing, path, cause=cause) from cause


def _renameat2(source: Path, target: Path) -> bool:
    """False where the C library or the file system does not know how to rename without replacing."""
    import ctypes

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
        return False
    raise OSError(number, os.strerror(number), str(target))
