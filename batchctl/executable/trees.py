"""The trees in a cache folder: which there are, who uses them, and how one is removed.

    .lock      held exclusively while somebody unpacks, sweeps or, here, removes
    BUILD-ID/  locked (shared) by every process that runs from it
    .tmp-*     a tree being made or removed: nobody's, as soon as .lock is ours
    others     anybody's, and left alone: a tree is known by its name, which ends with the digest of the MANIFEST in it,
               and a half one by the form of its name

A tree goes by an exclusive lock on its folder, which nobody gets while a process runs from it, then by a new name, then
by its content: whoever starts meanwhile finds either the whole tree or none.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil  # noqa: F401 - to remove trees takes it, and the tree that goes may be the one it would be loaded from
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchctl.errors import StorageError
from batchctl.executable.manifest import NAME, digest_of
from batchctl.files import RealDisk
from batchctl.named_tuple import NamedTuple

LOCK = ".lock"
_HALF = ".tmp-"
_HALF_NAME = re.compile(r"\.tmp-(?:old-)?[0-9]+-[0-9a-f]{16}")
_BUILD_ID = re.compile(r"[A-Za-z0-9+-][A-Za-z0-9.+-]*-[0-9a-f]{16}")
_MOST_MANIFEST = 8 << 20


class Tree(NamedTuple):
    """A tree, or a half one; `size` in bytes."""

    path: Path
    size: int
    files: int
    half: bool


def trees_in(root: Path, *, own: Path | None = None) -> tuple[Tree, ...]:
    """The trees in a cache folder, by name; nothing where there is no such folder. Other folders are not told.

    `own` is a tree whatever it looks like: we run from it, and it may be damaged.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return ()
    paths = [root / name for name in names]
    found = (_tree(path) for path in paths if path == own or _HALF_NAME.fullmatch(path.name) or _is_tree(path))
    return tuple(tree for tree in found if tree is not None)


def _is_tree(path: Path) -> bool:
    """As the launcher's sweep knows one. With a damaged manifest it is none: the next start of its build mends it."""
    if not _BUILD_ID.fullmatch(path.name):
        return False
    try:
        found = (path / NAME).lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_MANIFEST:
            return False
        data = (path / NAME).read_bytes()
    except OSError:
        return False
    return data.startswith(b"batchctl-tree ") and path.name.endswith(f"-{digest_of(data)[:16]}")


def _tree(path: Path) -> Tree | None:
    size = files = 0
    try:
        for place, _folders, names in os.walk(path):
            for name in names:
                size += Path(place, name).lstat().st_size
                files += 1
    except FileNotFoundError:  # it was removed under our eyes
        return None
    except OSError:  # a folder in it lost its permissions: what is behind it is not counted
        pass
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
