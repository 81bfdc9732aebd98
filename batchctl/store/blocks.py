"""Blocks of Arrow rows, as a worker wrote them (formats.md draws one), and files for pyarrow to read and write."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from batchctl.errors import CorruptionError
from batchctl.handles import AppendFile, ReadFile
from batchctl.store.growing import GrowingFile

Target = AppendFile | GrowingFile

_TYPES_LENGTH = struct.Struct("<I")
_STREAM_LENGTH = struct.Struct("<Q")


def streams(rows: Window, *, offset: int, length: int) -> Iterator[Section]:
    """The Arrow streams of the blocks that lie there, in order; `CorruptionError` where they do not fill the place."""
    end = offset + length
    while offset < end:
        at = offset + _TYPES_LENGTH.size
        if at <= end:
            at += _TYPES_LENGTH.unpack(rows.pread(offset, _TYPES_LENGTH.size))[0] + _STREAM_LENGTH.size
        size = _STREAM_LENGTH.unpack(rows.pread(at - _STREAM_LENGTH.size, _STREAM_LENGTH.size))[0] if at <= end else 0
        if at + size > end:
            raise CorruptionError("a block of rows is longer than its place")
        yield Section(rows, at, size)
        offset = at + size


class Window:
    """`pread` over a file, a piece of it kept: blocks are read in small steps and lie near each other."""

    __slots__ = ("_file", "_held", "_size", "_start")

    def __init__(self, file: ReadFile, *, size: int = 1 << 20) -> None:
        self._file = file
        self._size = size
        self._start = 0
        self._held = b""

    @property
    def size(self) -> int:
        return self._file.size

    def pread(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`."""
        if length > self._size:
            return self._file.pread(offset, length)
        if not self._start <= offset <= offset + length <= self._start + len(self._held):
            self._start = offset
            self._held = self._file.pread(offset, max(length, min(self._size, self._file.size - offset)))
        at = offset - self._start
        return self._held[at : at + length]


class Section:
    """A part of a file as a file of Python's, for reading: what pyarrow wants."""

    closed = False
    mode = "rb"

    def __init__(self, file: Window, start: int, size: int) -> None:
        self._file = file
        self._start = start
        self._size = size
        self._at = 0

    def read(self, length: int = -1) -> bytes:
        left = max(0, self._size - self._at)
        length = left if length < 0 else min(length, left)
        data = self._file.pread(self._start + self._at, length) if length else b""
        self._at += length
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """The file is somebody else's."""


class Sink:
    """An append file as a file of Python's. `failed`: what it raised first; after that it takes nothing."""

    closed = False
    mode = "wb"

    def __init__(self, target: Target) -> None:
        self._target = target
        self.failed: BaseException | None = None

    def write(self, data: Any) -> int:
        if self.failed is not None:
            raise self.failed
        view = bytes(data)
        try:
            self._target.append(view)
        except BaseException as error:
            self.failed = error
            raise
        return len(view)

    def tell(self) -> int:
        return self._target.size

    def flush(self) -> None:
        """What is durable is decided by whoever made the file."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """The file is somebody else's."""
