"""Rows dealt into the row groups of a parquet file: by their number, so that it does not show how they came.

Rows make quanta, and a row group is closed by the quantum that fills it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow

QUANTUM = 256  # rows: row groups end at multiples of it
GROUP_BYTES = 64 << 20
GROUP_ROWS = 1 << 19


class RowGroups:
    """Deals rows into row groups; each is a table of one chunk.

    Arrow counts what is in a column of texts or lists with 32 bits. Where 256 rows, or those of a row group, have more,
    they are halved until they fit: by their number, so that it does not show how they came.
    """

    def __init__(self, schema: pyarrow.Schema) -> None:
        self._schema = schema
        self._fixed = all(map(_has_one_width, schema.types))
        self._quantum: list[pyarrow.RecordBatch] = []
        self._in_quantum = 0
        self._group: list[pyarrow.RecordBatch] = []
        self._rows = self._bytes = 0

    def of(self, batches: Iterable[pyarrow.RecordBatch]) -> Iterator[pyarrow.Table]:
        for batch in batches:
            yield from self._add(batch)
        if self._quantum:
            self._close_quantum()
        if self._group:
            yield from self._close_group()

    def _add(self, batch: pyarrow.RecordBatch) -> Iterator[pyarrow.Table]:
        at = 0
        alike = self._fixed and batch.num_rows >= QUANTUM and not any(column.null_count for column in batch.columns)
        while at < batch.num_rows:
            if alike and not self._in_quantum and batch.num_rows - at >= QUANTUM:
                at += self._add_alike(batch.slice(at))
                if self._is_full:
                    yield from self._close_group()
                continue
            piece = batch.slice(at, QUANTUM - self._in_quantum)
            self._quantum.append(piece)
            self._in_quantum += piece.num_rows
            at += piece.num_rows
            if self._in_quantum == QUANTUM:
                self._close_quantum()
                if self._is_full:
                    yield from self._close_group()

    @property
    def _is_full(self) -> bool:
        return self._bytes >= GROUP_BYTES or self._rows >= GROUP_ROWS

    def _add_alike(self, batch: pyarrow.RecordBatch) -> int:
        """All its whole quanta up to the one that fills the row group, at once; they have the same size. Their rows."""
        import pyarrow

        size = int(pyarrow.ipc.get_record_batch_size(batch.slice(0, QUANTUM)))
        room = min(-(-(GROUP_BYTES - self._bytes) // size), -(-(GROUP_ROWS - self._rows) // QUANTUM))
        count = min(int(batch.num_rows) // QUANTUM, room)
        self._group.append(batch.slice(0, count * QUANTUM))
        self._rows += count * QUANTUM
        self._bytes += count * size
        return count * QUANTUM

    def _close_quantum(self) -> None:
        import pyarrow

        batches = self._fitting(self._quantum, rows=self._in_quantum)
        self._group += batches
        self._rows += self._in_quantum
        # As the batch would be written, for that does not depend on what it was cut out of; nbytes does.
        self._bytes += sum(pyarrow.ipc.get_record_batch_size(batch) for batch in batches)
        self._quantum, self._in_quantum = [], 0

    def _close_group(self) -> Iterator[pyarrow.Table]:
        import pyarrow

        joined = self._joined(self._group)
        self._group, self._rows, self._bytes = [], 0, 0
        for batch in joined:
            yield pyarrow.Table.from_batches([batch], self._schema)

    def _fitting(self, batches: list[pyarrow.RecordBatch], *, rows: int) -> list[pyarrow.RecordBatch]:
        """These rows as one batch; halves of them where one does not hold them."""
        found = self._combined(batches)
        if found is not None:
            return [found]
        half = rows // 2
        return [
            *self._fitting(_cut(batches, 0, half), rows=half),
            *self._fitting(_cut(batches, half, rows), rows=rows - half),
        ]

    def _joined(self, batches: list[pyarrow.RecordBatch]) -> list[pyarrow.RecordBatch]:
        """The same for quanta, which stay whole."""
        found = self._combined(batches)
        if found is not None:
            return [found]
        half = len(batches) // 2
        return [*self._joined(batches[:half]), *self._joined(batches[half:])]

    def _combined(self, batches: list[pyarrow.RecordBatch]) -> pyarrow.RecordBatch | None:
        """All of them as one; None where that has no room for them."""
        import pyarrow

        if len(batches) == 1:
            return batches[0]
        try:
            found = pyarrow.Table.from_batches(batches, self._schema).combine_chunks().to_batches()
        except pyarrow.ArrowInvalid:  # of lists; of texts there is more than one
            return None
        return found[0] if len(found) == 1 else None


def _has_one_width(kind: pyarrow.DataType) -> bool:
    """Do as many values always take as many bytes, where none is null?"""
    import pyarrow

    return bool(pyarrow.types.is_primitive(kind)) and kind.bit_width % 8 == 0


def _cut(batches: list[pyarrow.RecordBatch], first: int, end: int) -> list[pyarrow.RecordBatch]:
    """The rows from `first` to before `end`, counted through all batches."""
    found, at = [], 0
    for batch in batches:
        low, high = max(first - at, 0), min(end - at, batch.num_rows)
        if low < high:
            found.append(batch.slice(low, high - low))
        at += batch.num_rows
    return found
