"""The trees in a cache folder: which there are, who uses them, and how one is removed.

    .lock      held exclusively while somebody unpacks, sweeps or, here, removes
    BUILD-ID/  locked (shared) by every process that runs from it
    .tmp-*     a tree being made or removed: nobody's, as soon as .lock is ours

A tree goes by an exclusive lock on its folder, which nobody gets while a process runs from it, then by a new name, then
by its content: whoever starts meanwhile finds either the whole tree or none.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from batchctl.errors import StorageError
from batchctl.executable.manifest import NAME
from batchctl.files import RealDisk

LOCK = ".lock"
_HALF = ".tmp-"


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree, or a half one; `size` in bytes."""

    path: Path
    size: int
    files: int
    half: bool


def trees_in(root: Path) -> tuple[Tree, ...]:
    """What lies in a cache folder, by name; nothing where there is no such folder. Folders of others are not told."""
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return ()
    found = (_tree(root / name) for name in names if name.startswith(_HALF) or (root / name / NAME).is_file())
    return tuple(tree for tree in found if tree is not None)


def _tree(path: Path) -> Tree | None:
    size = files = 0
    try:
        for place, _folders, names in os.walk(path):
            for name in names:
                size += Path(place, name).lstat().st_size
                files += 1
    except FileNotFoundError:  # it was removed under our eyes
        return None
    return Tree(path, size, files, path.name.startswith(_HALF))


def in_use(path: Path, *, ours: int = -1) -> bool:
    """Does a process run from this tree? For our own give the descriptor that holds our lock: we do not count."""
    with _locked(path, ours=ours) as free:
        return not free


@contextmanager
def root_locked(root: Path) -> Iterator[None]:
    """Hold `root`'s lock, waiting for whoever has it; nobody unpacks or sweeps meanwhile. StorageError."""
    try:
        fd = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StorageError(f"cannot lock the cache folder: {error.strerror}", where=str(root)) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise StorageError(f"cannot change the cache folder: {error.strerror}", where=str(root)) from error
    finally:
        os.close(fd)


def remove(tree: Tree, *, ours: int = -1) -> bool:
    """Remove it, unless somebody runs from it (False). Under `root_locked`; `ours` as for `in_use`. StorageError."""
    with _locked(tree.path, ours=ours) as free:
        if not free:
            return False
        doomed = tree.path
        if not tree.half:
            doomed = tree.path.with_name(f"{_HALF}{os.getpid()}-{secrets.token_hex(8)}")
            tree.path.rename(doomed)
        RealDisk().remove_tree(doomed)
    return True


@contextmanager
def _locked(path: Path, *, ours: int) -> Iterator[bool]:
    """Hold the tree's lock exclusively; False where somebody else has it, True also where there is no tree."""
    try:
        fd = ours if ours >= 0 else os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield True
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        yield free
    finally:
        if fd == ours:
            fcntl.flock(fd, fcntl.LOCK_SH)  # a lock that is converted, or fails to be, may have been let go
        else:
            os.close(fd)
