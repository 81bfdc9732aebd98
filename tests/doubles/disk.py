"""The remembering disk: a `Disk` in memory that knows, byte by byte and name by name, what has been synced.

A kill keeps everything as it looks (`view`); a power cut keeps what was synced, and of the rest what `survive` is told
to. States are immutable underneath, so that a snapshot is two dict copies. Harsher than real file systems on
purpose: names and data of one file are independent, unsynced pieces survive in any combination.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from batchctl.errors import NoSpaceError, StorageError
from batchctl.files import FileKind, Stat
from batchctl.together import Aside

DIR = -1
FOLDER = Stat(FileKind.DIRECTORY, 0, 0o700, os.geteuid())


class Piece(NamedTuple):
    """An unsynced write (`data` at `offset`) or, with `data` None, a truncation to `offset`."""

    offset: int
    data: bytes | None


class FileState(NamedTuple):
    """`view` is what reads see; `durable` what a power cut keeps; `ghost` what lay here before a truncation."""

    view: bytes
    durable: bytes
    pending: tuple[Piece, ...] = ()
    ghost: bytes = b""
    drifted: bool = False  # a sync failed: view and durable + pending differ


class NameOp(NamedTuple):
    """An unsynced change of names in one folder: each (path, inode or None for gone), all or nothing."""

    folder: str
    changes: tuple[tuple[str, int | None], ...]
    other: NameOp | None = None  # the old name of a rename between folders goes only with or after the new one


class Image(NamedTuple):
    """A whole disk at one moment; never changed."""

    files: dict[int, FileState]
    names: dict[str, int]
    durable_names: dict[str, int]
    pending_names: tuple[NameOp, ...]
    inodes: int


EMPTY = Image({}, {"/": DIR}, {"/": DIR}, (), 0)


class Crash(BaseException):
    """Raised by a hook to end a run in the middle of an operation."""


def storage(message: str, path: Path | str) -> StorageError:
    return StorageError(message, where=str(path))


def parent_of(path: str) -> str:
    return path[: path.rfind("/")] or "/"


def written(content: bytes, offset: int, data: bytes) -> bytes:
    if offset == len(content):
        return content + data
    if offset > len(content):
        return content + bytes(offset - len(content)) + data
    return content[:offset] + data + content[offset + len(data) :]


def applied(content: bytes, piece: Piece) -> bytes:
    if piece.data is None:
        return content[: piece.offset]
    return written(content, piece.offset, piece.data)


class MemoryDisk:
    """`hook(disk, operation, file, piece)` is called before every change; it may raise what the real disk would."""

    def __init__(self, image: Image = EMPTY, *, hook: Callable[..., None] | None = None) -> None:
        self.files = dict(image.files)
        self.names = dict(image.names)
        self.durable_names = dict(image.durable_names)
        self.pending_names = list(image.pending_names)
        self.inodes = image.inodes
        self.hook = hook
        self.locked: set[str] = set()
        self.operations = 0

    def image(self) -> Image:
        return Image(
            dict(self.files), dict(self.names), dict(self.durable_names), tuple(self.pending_names), self.inodes
        )

    def at(self, operation: str, ino: int = -1, piece: Piece | None = None) -> None:
        self.operations += 1
        if self.hook:
            self.hook(self, operation, ino, piece)

    def inode(self, path: Path | str) -> int:
        found = self.names.get(str(path))
        if found is None or found == DIR:
            raise storage(f"cannot open {path}: no such file", path)
        return found

    def change(self, folder: str, *changes: tuple[str, int | None]) -> None:
        if self.names.get(folder) != DIR:
            raise storage(f"no folder {folder}", folder)
        for path, ino in changes:
            if ino is None:
                self.names.pop(path, None)
            else:
                self.names[path] = ino
        self.pending_names.append(NameOp(folder, changes))

    # --- Disk ---------------------------------------------------------------------------------------------------------

    def open_append(self, path: Path, *, create: bool = False) -> MemoryAppendFile:
        name = str(path)
        if create:
            if name in self.names:
                raise storage(f"{path} exists", path)
            self.at("create")
            self.inodes += 1
            self.files[self.inodes] = FileState(b"", b"")
            self.change(parent_of(name), (name, self.inodes))
        return MemoryAppendFile(self, self.inode(name))

    def open_read(self, path: Path) -> MemoryReadFile:
        return MemoryReadFile(self, self.inode(path), path)

    def read(self, path: Path) -> bytes:
        return self.files[self.inode(path)].view

    def map(self, path: Path) -> memoryview:
        return memoryview(self.read(path))

    def replace(self, source: Path, target: Path) -> None:
        self.at("replace")
        self._rename(str(source), str(target))

    def rename_new(self, source: Path, target: Path) -> bool:
        self.inode(source)
        if str(target) in self.names:
            return False
        self.at("rename_new")
        self._rename(str(source), str(target))
        return True

    def _rename(self, source: str, target: str) -> None:
        ino = self.inode(source)
        if parent_of(source) == parent_of(target):
            self.change(parent_of(target), (target, ino), (source, None))
        else:
            # No journalling file system loses both names, so the model does not; it may well keep both.
            self.change(parent_of(target), (target, ino))
            self.change(parent_of(source), (source, None))
            self.pending_names[-1] = self.pending_names[-1]._replace(other=self.pending_names[-2])

    def sync_dir(self, path: Path) -> None:
        name = str(path)
        if self.names.get(name) != DIR:
            raise storage(f"no folder {path}", path)
        self.at("sync_dir")
        kept = []
        for op in self.pending_names:
            if op.folder == name:
                if op.other in self.pending_names:
                    keep_names(self.durable_names, op.other)
                keep_names(self.durable_names, op)
            else:
                kept.append(op)
        self.pending_names = kept

    def sync_file(self, path: Path) -> None:
        self.sync_inode(self.inode(path))

    def sync_inode(self, ino: int) -> None:
        self.at("sync", ino)
        state = self.files[ino]
        durable = state.durable if state.drifted else state.view
        if state.drifted:
            for piece in state.pending:
                durable = applied(durable, piece)
        self.files[ino] = state._replace(durable=durable, pending=())

    def remove(self, path: Path) -> None:
        name = str(path)
        if name in self.names:
            self.at("remove")
            self.change(parent_of(name), (name, None))

    def remove_tree(self, path: Path) -> None:
        prefix = f"{path}/"
        for name in sorted((name for name in self.names if name.startswith(prefix)), reverse=True):
            self.remove(Path(name))
        self.remove(path)

    def listdir(self, path: Path) -> list[str]:
        name = str(path)
        return sorted(
            n[len(name) + 1 :] for n in self.names if n.startswith(name + "/") and "/" not in n[len(name) + 1 :]
        )

    def mkdir(self, path: Path, *, mode: int = 0o777) -> bool:
        name = str(path)
        if name in self.names:
            return False
        self.at("mkdir")
        self.change(parent_of(name), (name, DIR))
        return True

    def stat(self, path: Path) -> Stat | None:
        ino = self.names.get(str(path))
        if ino is None:
            return None
        if ino == DIR:
            return FOLDER
        return Stat(FileKind.FILE, len(self.files[ino].view), 0o600, FOLDER.uid)

    def lock(self, path: Path) -> MemoryLock | None:
        if str(path) in self.locked:
            return None
        if str(path) not in self.names:
            self.open_append(path, create=True)
        self.locked.add(str(path))
        return MemoryLock(self, str(path))

    def free_space(self, path: Path) -> int:
        return 1 << 40

    def together(self, steps: Sequence[Callable[[], None]]) -> None:
        """One after the other. That some come earlier, and later ones before them, is among the cuts before the first:
        what is unsynced there survives in any combination."""
        for step in steps:
            step()

    def aside(self) -> Aside:
        return AtOnce()


class AtOnce(Aside):
    """On the caller's thread: reads change nothing, and a cut while one is under way is one of before or after it."""

    def __enter__(self) -> Self:
        return self


class MemoryLock:
    def __init__(self, disk: MemoryDisk, path: str) -> None:
        self.disk, self.path = disk, path

    def write(self, note: bytes) -> None:
        ino = self.disk.inode(self.path)
        self.disk.files[ino] = FileState(note, b"", (Piece(0, note),), drifted=True)

    def release(self) -> None:
        self.disk.locked.discard(self.path)


class MemoryReadFile:
    def __init__(self, disk: MemoryDisk, ino: int, path: Path) -> None:
        self.disk, self.ino, self.path = disk, ino, path
        self.data = disk.files[ino].view  # as it was last seen: the file may be removed meanwhile
        self.size = len(self.data)

    def pread(self, offset: int, length: int) -> bytes:
        if self.ino in self.disk.files:
            self.data = self.disk.files[self.ino].view
        if offset + length > len(self.data):
            raise storage(f"{self.path} ends before byte {offset + length}", self.path)
        return self.data[offset : offset + length]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class MemoryAppendFile:
    def __init__(self, disk: MemoryDisk, ino: int) -> None:
        self.disk, self.ino = disk, ino
        self.size = len(disk.files[ino].view)
        self.broken = ""

    def _ready(self) -> None:
        if self.broken:
            raise storage(f"not to be used again: {self.broken}", "handle")

    def _write(self, piece: Piece) -> None:
        self._ready()
        try:
            self.disk.at("write", self.ino, piece)
        except StorageError as error:
            self.broken = "full" if isinstance(error, NoSpaceError) else error.message
            raise
        apply_write(self.disk, self.ino, piece)

    def append(self, data: bytes | memoryview) -> None:
        self._write(Piece(self.size, bytes(data)))
        self.size += len(data)

    def append_range(self, source: Any, *, offset: int, length: int) -> None:
        self.append(source.pread(offset, length))

    def overwrite(self, offset: int, data: bytes | memoryview) -> None:
        self._write(Piece(offset, bytes(data)))

    def datasync(self) -> None:
        self._ready()
        try:
            self.disk.sync_inode(self.ino)
        except StorageError as error:
            self.broken = error.message
            raise

    def write_back(self, start: int) -> None:
        """That all of it, or a part, survives is among the cuts that there are without."""
        self._ready()

    def truncate(self, size: int) -> None:
        if self.broken == "full":
            self.broken = ""
        self._ready()
        self.disk.at("truncate", self.ino)
        state = self.disk.files[self.ino]
        self.disk.files[self.ino] = state._replace(
            view=state.view[:size],
            pending=(*state.pending, Piece(size, None)),
            ghost=state.view if len(state.view) > size else state.ghost,
        )
        self.size = size

    def close(self) -> None:
        self.broken = self.broken or "closed"


def apply_write(disk: MemoryDisk, ino: int, piece: Piece) -> None:
    state = disk.files[ino]
    disk.files[ino] = state._replace(view=applied(state.view, piece), pending=(*state.pending, piece))


def fail_sync(disk: MemoryDisk, ino: int) -> None:
    """What Linux does when a sync fails: the pages look clean from now on and are on no disk."""
    state = disk.files[ino]
    disk.files[ino] = state._replace(pending=(), drifted=True)


def keep_names(names: dict[str, int], op: NameOp) -> None:
    for path, ino in op.changes:
        if ino is None:
            names.pop(path, None)
        else:
            names[path] = ino
