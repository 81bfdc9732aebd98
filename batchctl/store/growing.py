"""A file that is written from its start to its end: on its way to the disk, and digested, while it grows.

    append ... append ... -> sync
        |-> write back         (the kernel begins; promises nothing)
        |-> aside: SHA-256

A disk that is told at the end only has all of it to write then, and the processor waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from batchctl.digests import sha256
from batchctl.errors import NoSpaceError
from batchctl.files import Disk
from batchctl.handles import AppendFile
from batchctl.together import Aside

_STEP = 4 << 20


class Digest:
    """Takes what a file would and keeps nothing. `sha256` is that of all that was appended, once `aside` has ended
    without an error. `size` at the beginning: about what will come, where that is known."""

    __slots__ = ("_aside", "_sha", "size")

    def __init__(self, aside: Aside, *, size: int | None = None) -> None:
        self._aside = aside
        self._sha = sha256(size)
        self.size = 0

    @property
    def sha256(self) -> bytes:
        return self._sha.digest()

    def append(self, data: bytes) -> None:
        if data:
            self.size += len(data)
            self._aside.do(partial(self._sha.update, data))


class GrowingFile:
    """Appends; made by `growing`. `sha256` is that of all that was appended, once `growing` has ended without an
    error."""

    __slots__ = ("_digest", "_target", "_told")

    def __init__(self, target: AppendFile, *, aside: Aside, size: int | None) -> None:
        self._target = target
        self._digest = Digest(aside, size=size)
        self._told = 0  # up to where the kernel was told to write

    @property
    def size(self) -> int:
        return self._target.size

    @property
    def sha256(self) -> bytes:
        return self._digest.sha256

    def append(self, data: bytes) -> None:
        if data:
            self._target.append(data)
            self._digest.append(data)
            if self._target.size - self._told >= _STEP:
                self._target.write_back(self._told)
                self._told = self._target.size

    def sync(self) -> None:
        """All of it is durable on return; the digest may not be ready."""
        self._target.datasync()


@contextmanager
def growing(disk: Disk, path: Path, *, size: int | None = None) -> Iterator[GrowingFile]:
    """A new file at `path`, in place of what is there; synced at the end. Where the disk is full there is none.
    `size`: about how many bytes it will have, where that is known."""
    disk.remove(path)
    target = disk.open_append(path, create=True)
    try:
        with disk.aside() as aside:
            file = GrowingFile(target, aside=aside, size=size)
            yield file
            file.sync()
    except NoSpaceError:
        target.close()
        disk.remove(path)  # leave the room to whoever can use it
        raise
    finally:
        target.close()
