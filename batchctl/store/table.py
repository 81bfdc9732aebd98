"""The parquet file of a run: made at the finish, of blocks and, after a retry, of the rows of the old file.

Its bytes depend on the rows and their order only, not on how mini-batches were divided or who was killed when: rows are
dealt into quanta by their number, and a row group is closed by the quantum that fills it. No more than two row groups
and what one is made of are held at a time. Of the host only this module imports pyarrow, when there is a file to be
made or looked at.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from batchctl.errors import CorruptionError, StorageError
from batchctl.handles import ReadFile
from batchctl.model.column_types import Columns, Type
from batchctl.store.blocks import Section, Sink, Target, Window, streams
from batchctl.store.ledger import Extent
from batchctl.store.rows import WrittenRows
from batchctl.together import Aside, ahead

if TYPE_CHECKING:
    import pyarrow

QUANTUM = 256  # rows: row groups end at multiples of it
GROUP_BYTES = 64 << 20
GROUP_ROWS = 1 << 20
_SAMPLE_ROWS, _SAMPLE_BYTES = 1 << 18, 8 << 20  # of the first row group: they tell which columns have a dictionary
_SINK_BUFFER = 1 << 20  # each write asks for the interpreter, which another thread may have
_BATCH = 16 << 10  # rows of an old file that are read at a time
_PARAMETERS = r"(\w+)[\[(]([^\])]*)[\])]"
_UNITS = {"s", "ms", "us", "ns"}


def write_table(
    rows: WrittenRows, target: Target, *, types: Columns, extents: Iterable[Extent], base: int, aside: Aside
) -> None:
    """Write the parquet file of these rows, in this order; not durable. `base`: offsets below it are numbers of rows in
    the old file. `aside`: a row group is made there of `extents` and `rows` while the one before is encoded.
    `CorruptionError` for rows that are not what the log says; what `target` and `extents` raise is passed on."""
    import pyarrow
    import pyarrow.parquet

    sink = Sink(target)
    try:
        schema = schema_of(types)
        batches = (_fitted(batch, schema) for batch in _batches(rows, extents=extents, base=base))
        groups = ahead(aside, RowGroups(schema).of(batches))
        first = next(groups, None)
        named = _worth_a_dictionary(first) if first is not None else ()
        buffered = pyarrow.BufferedOutputStream(pyarrow.PythonFile(sink, mode="w"), _SINK_BUFFER)
        with buffered, _writer(buffered, schema, dictionaries=named) as writer:
            if first is not None:
                writer.write_table(first, row_group_size=max(1, first.num_rows))
                del first
            for group in groups:
                writer.write_table(group, row_group_size=max(1, group.num_rows))
    except MemoryError:  # one of Arrow's exceptions too, and no word about the rows
        raise
    except (pyarrow.ArrowException, OSError, StorageError) as error:  # OSError is Arrow's word for a bad message
        if sink.failed is not None:  # whatever pyarrow made of it
            raise sink.failed from None
        if isinstance(error, StorageError):
            raise
        raise CorruptionError(f"the rows cannot be made a table: {error}") from error


def _writer(sink: Any, schema: pyarrow.Schema, *, dictionaries: bool | Sequence[str], **more: Any) -> Any:
    import pyarrow.parquet

    options = {"compression": "snappy", "version": "2.6", "use_dictionary": dictionaries, **more}
    return pyarrow.parquet.ParquetWriter(sink, schema, **options)


def _worth_a_dictionary(group: pyarrow.Table) -> list[str]:
    """The columns, by their paths, that a dictionary of their values makes smaller: the others, numbers and names that
    hardly repeat, would be looked up in vain, which takes longer than all else that is done with them."""
    import pyarrow

    each = -(-pyarrow.ipc.get_record_batch_size(group.to_batches()[0]) // group.num_rows)
    sample = group.slice(0, max(QUANTUM, min(_SAMPLE_ROWS, _SAMPLE_BYTES // each)))
    found: list[Any] = []
    for dictionaries in (True, False):
        sink = pyarrow.MockOutputStream()  # keeps nothing
        with _writer(sink, sample.schema, dictionaries=dictionaries, metadata_collector=found) as writer:
            writer.write_table(sample, row_group_size=sample.num_rows)
    pairs = zip(*(map(told.row_group(0).column, range(told.num_columns)) for told in found), strict=True)
    return [one.path_in_schema for one, plain in pairs if one.total_compressed_size < plain.total_compressed_size]


@cache
def load_arrow() -> None:
    """Import what `write_table` needs, ahead of time: 0.15 s, the first time. Raises nothing: where it cannot be had
    `write_table` says so, which tries again.

    On the main thread, and no thread of ours asks an ABC for anything meanwhile: pyarrow makes classes that are
    Sequence and Mapping, and as long as such a one is half made, text counts as a Mapping, which is remembered.
    """
    with suppress(Exception):
        import pyarrow
        import pyarrow.parquet  # noqa: F401


def rows_in(file: ReadFile) -> int:
    """Rows that a parquet file says it has; `CorruptionError` where it is none."""
    import pyarrow
    import pyarrow.parquet

    try:
        return int(pyarrow.parquet.ParquetFile(_section_of(file)).metadata.num_rows)
    except MemoryError:
        raise
    except (pyarrow.ArrowException, OSError) as error:
        raise CorruptionError(f"it is no parquet file: {error}") from error


def schema_of(types: Columns) -> pyarrow.Schema:
    """Arrow's schema of these columns."""
    import pyarrow

    return pyarrow.schema([pyarrow.field(name, _type_of(kind)) for name, kind in types])


def _type_of(kind: Type) -> pyarrow.DataType:
    import pyarrow

    if not isinstance(kind, str):
        if kind[0] == "list":
            return pyarrow.list_(_type_of(kind[1]))
        return pyarrow.struct([pyarrow.field(name, _type_of(below)) for name, below in kind[1]])
    found = re.fullmatch(_PARAMETERS, kind)
    if found is None:
        return pyarrow.type_for_alias(kind)
    name, (first, _, second) = found[1], found[2].partition(", ")
    if name == "timestamp" and first in _UNITS:
        return pyarrow.timestamp(first, second.removeprefix("tz=") or None)
    if name in {"decimal128", "decimal256"}:
        return getattr(pyarrow, name)(int(first), int(second))
    if name == "fixed_size_binary":
        return pyarrow.binary(int(first))
    return pyarrow.type_for_alias(kind)  # time32[ms], date32[day], duration[ns]


def _fitted(batch: pyarrow.RecordBatch, schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    import pyarrow

    if batch.schema.names != schema.names:
        raise CorruptionError(f"a block has the columns {', '.join(batch.schema.names)}")
    arrays = [
        array if array.type.equals(field.type) else array.cast(field.type)
        for array, field in zip(batch.columns, schema, strict=True)
    ]
    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)


def _batches(rows: WrittenRows, *, extents: Iterable[Extent], base: int) -> Iterator[pyarrow.RecordBatch]:
    old: _OldTable | None = None
    window = Window(rows.new)
    for extent in extents:
        count = 0
        if extent.offset < base:
            old = old or _OldTable(rows.sealed)
            found = old.rows(extent.offset, extent.length)
        else:
            found = _block_batches(window, offset=extent.offset - base, length=extent.length)
        for batch in found:
            count += batch.num_rows
            yield batch
        if count != extent.n_rows:
            last = extent.first + extent.items - 1
            raise CorruptionError(f"items {extent.first} to {last} have {count} rows, the log says {extent.n_rows}")


def _block_batches(window: Window, *, offset: int, length: int) -> Iterator[pyarrow.RecordBatch]:
    import pyarrow

    for stream in streams(window, offset=offset, length=length):
        with pyarrow.ipc.open_stream(stream) as reader:
            yield from reader


class _OldTable:
    """Rows of a parquet file by their number; cheap where they are asked for in order."""

    def __init__(self, file: ReadFile) -> None:
        import pyarrow.parquet

        self._file = pyarrow.parquet.ParquetFile(_section_of(file), pre_buffer=False)
        metadata = self._file.metadata
        self._starts = [0]
        for group in range(metadata.num_row_groups):
            self._starts.append(self._starts[-1] + metadata.row_group(group).num_rows)
        self._coming: Iterator[pyarrow.RecordBatch] = iter(())
        self._batch: pyarrow.RecordBatch | None = None
        self._first = self._end = 0  # numbers of the batch's first row, and of the first one of the next row group

    def rows(self, first: int, count: int) -> Iterator[pyarrow.RecordBatch]:
        while count:
            batch = self._batch_with(first)
            piece = batch.slice(first - self._first, count)
            yield piece
            first, count = first + piece.num_rows, count - piece.num_rows

    def _batch_with(self, row: int) -> pyarrow.RecordBatch:
        if self._batch is None or not self._first <= row < self._end:
            group = bisect_right(self._starts, row) - 1
            if group + 1 >= len(self._starts):
                raise CorruptionError(f"the old file has no row {row}")
            self._first, self._end = self._starts[group : group + 2]
            self._coming = self._file.iter_batches(batch_size=_BATCH, row_groups=[group], use_threads=False)
            self._batch = next(self._coming)
        while row >= self._first + self._batch.num_rows:
            self._first += self._batch.num_rows
            self._batch = next(self._coming)
        return self._batch


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


def _section_of(file: ReadFile) -> Section:
    return Section(Window(file), 0, file.size)
