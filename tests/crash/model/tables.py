"""What pyarrow makes of the same rows is the same: worked out once, then written again piece by piece. It would be a
third of the time that the checker takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from batchctl.model.column_types import Columns
from batchctl.store import early, table
from batchctl.store.ledger import Extent
from batchctl.store.rows import WrittenRows
from batchctl.together import Aside

_ORIGINAL = table.write_table
_known: dict[object, list[bytes]] = {}


class _Recording:
    """An append file that notes what is written."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self.pieces: list[bytes] = []

    @property
    def size(self) -> int:
        return int(self._target.size)

    def append(self, data: bytes) -> None:
        self._target.append(data)
        self.pieces.append(data)


@contextmanager
def remembered() -> Iterator[None]:
    """Within, tables that were made before are not made anew. All that they are made of is read each time."""
    with mock.patch.object(table, "write_table", _write_table), mock.patch.object(early, "write_table", _write_table):
        yield


def _write_table(
    rows: WrittenRows, target: Any, *, types: Columns, extents: Iterable[Extent], base: int, aside: Aside
) -> None:
    extents = [*extents]
    read = [
        (one.offset, one.length) if one.offset < base else rows.new.pread(one.offset - base, one.length)
        for one in extents
    ]
    old = rows.sealed.pread(0, rows.sealed.size) if base else b""
    key = (types, base, old, *read, *(one.n_rows for one in extents))
    if key in _known:
        for piece in _known[key]:
            target.append(piece)
        return
    recording = _Recording(target)
    _ORIGINAL(rows, recording, types=types, extents=extents, base=base, aside=aside)  # type: ignore[arg-type]
    _known[key] = recording.pieces
