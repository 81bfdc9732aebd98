"""Are committed rows still what they were when they were committed? Reads in blocks: there may be a million."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from batchctl.handles import ReadFile
from batchctl.store.ledger import Extent

_WINDOW = 4 << 20
BLOCK = 256 << 10
_HELD = 32  # blocks: plan order goes to and fro between what as many workers have written


def damaged(rows: ReadFile, extents: Iterable[Extent]) -> Iterator[Extent]:
    """Those whose bytes have another CRC-32, or are not there."""
    blocks: dict[int, bytes] = {}  # by number, the one that was wanted last at the end
    block, start, size = b"", 0, 0
    crc32 = zlib.crc32
    for extent in extents:
        _, _, offset, length, crc, _ = extent
        low, high = offset - start, offset - start + length
        if low < 0 or high > size:
            number = offset // BLOCK
            if offset + length > (number + 1) * BLOCK:
                if _crc_of(rows, offset, length=length) != crc:
                    yield extent
                continue
            block, start = block_of(rows, number, held=blocks), number * BLOCK
            low, high, size = offset - start, offset - start + length, len(block)
        if high > size or crc32(block[low:high]) != crc:
            yield extent


def block_of(rows: ReadFile, number: int, *, held: dict[int, bytes]) -> bytes:
    """BLOCK bytes from BLOCK times `number`, fewer at the end. `held`: the blocks that were wanted last."""
    found = held.pop(number, None)
    if found is None:
        start = number * BLOCK
        found = rows.pread(start, max(0, min(BLOCK, rows.size - start)))
        if len(held) >= _HELD:
            del held[next(iter(held))]
    held[number] = found
    return found


def _crc_of(rows: ReadFile, offset: int, *, length: int) -> int | None:
    if offset + length > rows.size:
        return None
    crc = 0
    for at in range(offset, offset + length, _WINDOW):
        crc = zlib.crc32(rows.pread(at, min(_WINDOW, offset + length - at)), crc)
    return crc
