"""Are committed rows still what they were when they were committed? Reads in large windows: there may be a million."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from batchctl.handles import ReadFile
from batchctl.store.ledger import Extent

_WINDOW = 4 << 20
_BACK = 1 << 20  # workers finish almost in order: what comes next lies near, sometimes a little before


def damaged(rows: ReadFile, extents: Iterable[Extent]) -> Iterator[Extent]:
    """Those whose bytes have another CRC-32, or are not there."""
    window, start, size = memoryview(b""), 0, 0
    crc32 = zlib.crc32
    for extent in extents:
        _, _, offset, length, crc, _ = extent
        low, high = offset - start, offset - start + length
        if low < 0 or high > size:
            if length > _WINDOW:
                if _crc_of(rows, offset, length=length) != crc:
                    yield extent
                continue
            start = max(0, offset - _BACK)
            window = memoryview(rows.pread(start, min(_WINDOW + _BACK, max(0, rows.size - start))))
            low, high, size = offset - start, offset - start + length, len(window)
        if high > size or crc32(window[low:high]) != crc:
            yield extent


def _crc_of(rows: ReadFile, offset: int, *, length: int) -> int | None:
    if offset + length > rows.size:
        return None
    crc = 0
    for at in range(offset, offset + length, _WINDOW):
        crc = zlib.crc32(rows.pread(at, min(_WINDOW, offset + length - at)), crc)
    return crc
