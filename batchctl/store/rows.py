"""The rows of a run: written to predictions.csv.partial, header first, then rows in commit order, contiguous.

Where a retry has reopened a finished run, the rows are those of the sealed final file and behind them, as if it were
one file, those of a new .partial: offsets go on where the final file ends. Where that is a table they go on at the
number of its rows, for that is how those are found.

Nothing is durable before `sync` returns; what counts is what the checkpoint log says counts.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from batchctl.errors import CorruptionError, StorageError
from batchctl.files import Disk
from batchctl.handles import AppendFile, ReadFile
from batchctl.model.outcome import Scored
from batchctl.store.layout import RunLayout
from batchctl.store.payloads import Done

_BLOCK = 1 << 20


class RowsFile:
    """Appends rows; one writer. All offsets and sizes count `base`, what the sealed file before it ends at."""

    __slots__ = ("_base", "_changed", "_disk", "_handle", "_spill", "durable")

    def __init__(self, disk: Disk, handle: AppendFile, *, spill: Path, base: int, synced: bool) -> None:
        """`synced`: nothing was written to or cut from the file since this process synced it."""
        self._base = base
        self._changed = not synced
        self._disk = disk
        self._handle = handle
        self._spill = spill
        self.durable = self.size

    @property
    def size(self) -> int:
        return self._base + self._handle.size

    def append(self, header: bytes, scored: Sequence[Scored]) -> list[int]:
        """Append the header (or b"") and all rows; the offset of each one's rows."""
        offsets: list[int] = []
        waiting = [header]
        at = self.size + len(header)
        for one in scored:
            _, rows, length, _, _, _, _, _, spill, _, _, _ = one  # once per mini-batch: no attributes
            offsets.append(at)
            at += length
            if spill:
                self._flush(waiting)
                self._append_spilled(one)
            else:
                waiting.append(rows)
        self._flush(waiting)
        return offsets

    def _flush(self, waiting: list[bytes]) -> None:
        data = b"".join(waiting)
        waiting.clear()
        if data:
            self._changed = True
            self._handle.append(data)

    def _append_spilled(self, one: Scored) -> None:
        # Read and write, not copy_file_range: the bytes that were checked are the bytes that are written.
        path = self._spill / one.spill
        self._changed = True
        crc = 0
        with self._disk.open_read(path) as source:
            for offset in range(0, one.length, _BLOCK):
                block = source.pread(offset, min(_BLOCK, one.length - offset))
                crc = zlib.crc32(block, crc)
                self._handle.append(block)
            size = source.size
        if crc != one.crc or size != one.length:
            raise StorageError(f"{path} does not hold the rows that its worker wrote", where=str(path))

    def sync(self) -> None:
        """All rows are durable on return. Costs nothing where they are already."""
        if self._changed:
            self._handle.datasync()
            self._changed = False
        self.durable = self.size

    def cut(self, size: int) -> None:
        self._changed = True
        self._handle.truncate(size - self._base)
        self.durable = min(self.durable, size)

    def close(self) -> None:
        self._handle.close()


class Rows(ReadFile, Protocol):
    """All rows of a run, as if they were one file."""

    @property
    def sealed(self) -> ReadFile:
        """The final file that a retry has reopened; without one the same as `new`."""

    @property
    def new(self) -> ReadFile:
        """The .partial: what lies behind the rows of `sealed`."""


class WrittenRows:
    """`Rows` that nobody appends to; a context manager."""

    __slots__ = ("_base", "_counted", "_files", "size")

    def __init__(self, disk: Disk, layout: RunLayout, *, sealed: Done | None) -> None:
        """`sealed`: what the final file was sealed as, where a retry has reopened it."""
        self._base = sealed.end if sealed else 0
        self._counted = sealed is not None and sealed.is_table
        if sealed and disk.stat(layout.final) is None:  # it stays until its successor takes its place
            raise CorruptionError(f"{layout.final} is gone, its log is not", where=str(layout.final))
        self._files = [disk.open_read(layout.final)] if sealed else []
        try:
            if sealed and self._files[0].size != sealed.size:
                raise CorruptionError(f"{layout.final} is not the file that was sealed", where=str(layout.final))
            self._files.append(disk.open_read(layout.partial))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.size = self._base + self._files[-1].size

    @property
    def sealed(self) -> ReadFile:
        """The final file that a retry has reopened; without one the same as `new`."""
        return self._files[0]

    @property
    def new(self) -> ReadFile:
        """The .partial: what lies at `base` and above."""
        return self._files[-1]

    def locate(self, offset: int) -> tuple[ReadFile, int]:
        """The file that holds the rows at `offset`, and where in it. No mini-batch's rows lie in both. Not for rows of
        a sealed table, which have no place in bytes."""
        return (self._files[0], offset) if offset < self._base else (self._files[-1], offset - self._base)

    def pread(self, offset: int, length: int) -> bytes:
        """Zeros stand for rows of a sealed table: below `base` offsets are their numbers, and lead to no bytes."""
        before = max(0, min(length, self._base - offset))
        head = bytes(before) if self._counted else self._files[0].pread(offset, before) if before else b""
        if before == length:
            return head
        return head + self._files[-1].pread(max(0, offset - self._base), length - before)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.__exit__(kind, error, trace)
