"""A file that is written from its start to its end: on its way to the disk, and digested, while it grows.

    append ... append ... -> sync
        |-> write back         (the kernel begins; promises nothing)
        |-> aside: read, SHA-256

A disk that is told at the end only has all of it to write then, and the processor waits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from batchctl.errors import NoSpaceError
from batchctl.files import Disk
from batchctl.handles import AppendFile, Bytes, ReadFile
from batchctl.together import Aside

_STEP = 4 << 20
_BLOCK = 1 << 20


class GrowingFile:
    """Appends; made by `growing`. `sha256` is that of all bytes, as they were read from the file, once `growing` has
    ended without an error."""

    __slots__ = ("_aside", "_digested", "_disk", "_path", "_sha", "_target", "_told")

    def __init__(self, disk: Disk, path: Path, *, target: AppendFile, aside: Aside) -> None:
        self._disk = disk
        self._path = path
        self._target = target
        self._aside = aside
        self._sha = hashlib.sha256()
        self._told = self._digested = 0  # up to where the others were told, and where the digest is

    @property
    def size(self) -> int:
        return self._target.size

    @property
    def sha256(self) -> bytes:
        return self._sha.digest()

    def append(self, data: Bytes) -> None:
        self._target.append(data)
        self._tell(least=_STEP)

    def append_range(self, source: ReadFile, *, offset: int, length: int) -> None:
        while length:
            step = min(length, _STEP)
            self._target.append_range(source, offset=offset, length=step)
            self._tell(least=_STEP)
            offset, length = offset + step, length - step

    def sync(self) -> None:
        """All of it is durable on return; the digest may not be ready."""
        self._tell(least=1)
        self._target.datasync()

    def _tell(self, *, least: int) -> None:
        end = self._target.size
        if end - self._told >= least:
            self._target.write_back(self._told)
            self._told = end
            self._aside.do(partial(self._digest, end))

    def _digest(self, end: int) -> None:
        with self._disk.open_read(self._path) as source:
            while self._digested < end:
                block = source.pread(self._digested, min(_BLOCK, end - self._digested))
                self._sha.update(block)
                self._digested += len(block)


@contextmanager
def growing(disk: Disk, path: Path) -> Iterator[GrowingFile]:
    """A new file at `path`, in place of what is there; synced at the end. Where the disk is full there is none."""
    disk.remove(path)
    target = disk.open_append(path, create=True)
    try:
        with disk.aside() as aside:
            file = GrowingFile(disk, path, target=target, aside=aside)
            yield file
            file.sync()
    except NoSpaceError:
        target.close()
        disk.remove(path)  # leave the room to whoever can use it
        raise
    finally:
        target.close()
