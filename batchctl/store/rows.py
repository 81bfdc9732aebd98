"""The writer of predictions.csv.partial: header first, then rows in commit order, contiguous.

Nothing is durable before `sync` returns; what counts is what the checkpoint log says counts.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

from batchctl.errors import StorageError
from batchctl.files import Disk
from batchctl.handles import AppendFile
from batchctl.model.outcome import Scored

_BLOCK = 1 << 20


class RowsFile:
    """Appends rows; one writer."""

    __slots__ = ("_disk", "_handle", "_spill", "durable")

    def __init__(self, disk: Disk, handle: AppendFile, *, spill: Path, durable: int) -> None:
        self._disk = disk
        self._handle = handle
        self._spill = spill
        self.durable = durable

    @property
    def size(self) -> int:
        return self._handle.size

    def append(self, header: bytes, scored: Sequence[Scored]) -> list[int]:
        """Append the header (or b"") and all rows; the offset of each one's rows."""
        offsets: list[int] = []
        waiting = [header]
        at = self._handle.size + len(header)
        for one in scored:
            offsets.append(at)
            at += one.length
            if one.spill:
                self._flush(waiting)
                self._append_spilled(one)
            else:
                waiting.append(one.rows)
        self._flush(waiting)
        return offsets

    def _flush(self, waiting: list[bytes]) -> None:
        data = b"".join(waiting)
        waiting.clear()
        if data:
            self._handle.append(data)

    def _append_spilled(self, one: Scored) -> None:
        # Read and write, not copy_file_range: the bytes that were checked are the bytes that are written.
        path = self._spill / one.spill
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
        """All rows are durable on return."""
        self._handle.datasync()
        self.durable = self._handle.size

    def cut(self, size: int) -> None:
        self._handle.truncate(size)
        self.durable = min(self.durable, size)

    def close(self) -> None:
        self._handle.close()
