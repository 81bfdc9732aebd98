"""Rows on their way into the final file: each byte is read once, and what was checked is what is written, or digested.

Read, not mapped: a bad sector under a mapping kills the process, under a read it is an error.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from batchctl.handles import ReadFile
from batchctl.store.extents import BLOCK, block_of
from batchctl.store.growing import Digest, GrowingFile
from batchctl.store.ledger import Extent

_WINDOW = 1 << 20
_AT_ONCE = 1 << 14  # pieces: some 50 bytes each beside their own while they are gathered


def copy_checked(rows: ReadFile, target: GrowingFile | Digest, extents: Iterable[Extent]) -> Extent | None:
    """Append the rows of all, in this order; the first whose bytes have another CRC-32 or are not there, and then not
    all are appended."""
    blocks: dict[int, bytes] = {}  # by number, the one that was wanted last at the end
    block, start, size = b"", 0, 0
    gathered: list[bytes] = []
    waiting = 0
    crc32 = zlib.crc32
    for extent in extents:
        _, _, offset, length, crc, _ = extent
        low, high = offset - start, offset - start + length
        if low < 0 or high > size:
            number = offset // BLOCK
            if offset + length > (number + 1) * BLOCK:
                target.append(b"".join(gathered))
                gathered, waiting = [], 0
                if not _copy_large(rows, target, extent):
                    return extent
                continue
            block, start = block_of(rows, number, held=blocks), number * BLOCK
            low, high, size = offset - start, offset - start + length, len(block)
        piece = block[low:high]
        if crc32(piece) != crc or high > size:
            return extent
        gathered.append(piece)
        waiting += length
        if waiting >= _WINDOW or len(gathered) >= _AT_ONCE:
            target.append(b"".join(gathered))
            gathered, waiting = [], 0
    target.append(b"".join(gathered))
    return None


def hand_on_checked(
    rows: ReadFile, target: GrowingFile | Digest, checks: Iterable[tuple[int, int]], *, at: int
) -> int | None:
    """The short way to `copy_checked` where rows lie one behind another from `at` on: (length, CRC-32) of each. The
    number of the first whose bytes are others or are not there; what was appended is of no use then."""
    block, low, size = b"", 0, 0  # `at` is behind the block
    crc32 = zlib.crc32
    for number, (length, crc) in enumerate(checks):
        high = low + length
        if high > size:
            target.append(block[:low])
            if length > _WINDOW:
                start = at - size + low
                if not _copy_large(rows, target, Extent(0, 0, start, length, crc)):
                    return number
                block, low, size, at = b"", 0, 0, start + length
                continue
            more = rows.pread(at, max(0, min(_WINDOW, rows.size - at)))
            block, at = block[low:] + more, at + len(more)
            low, high, size = 0, length, len(block)
        if crc32(block[low:high]) != crc or high > size:
            return number
        low = high
    target.append(block[:low])
    return None


def _copy_large(rows: ReadFile, target: GrowingFile | Digest, extent: Extent) -> bool:
    end, crc = extent.offset + extent.length, 0
    if end > rows.size:
        return False
    for at in range(extent.offset, end, _WINDOW):
        piece = rows.pread(at, min(_WINDOW, end - at))
        crc = zlib.crc32(piece, crc)
        target.append(piece)
    return crc == extent.crc
