"""The parquet file of a run: made at the finish, of blocks and, after a retry, of the rows of the old file.

Its bytes depend on the rows and their order only, not on how mini-batches were divided or who was killed when. No more
than two row groups and what one is made of are held at a time. Of the host only this module and `row_groups` import
pyarrow, when there is a file to be made or looked at.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from batchctl.errors import BatchctlError, CorruptionError, StorageError
from batchctl.handles import ReadFile
from batchctl.model.column_types import Columns, Type
from batchctl.store.blocks import Section, Sink, Target, Window, streams
from batchctl.store.ledger import Extent
from batchctl.store.row_groups import QUANTUM, RowGroups
from batchctl.store.rows import Rows
from batchctl.together import Aside, ahead

if TYPE_CHECKING:
    import pyarrow

_SAMPLES = 16  # pieces from all over the first row group, which tell what columns have a dictionary
_SAMPLE_ROWS, _SAMPLE_BYTES = 1 << 16, 8 << 20  # of them together, at most; but a quantum
_SINK_BUFFER = 1 << 20  # each write asks for the interpreter, which another thread may have
_BATCH = 16 << 10  # rows of an old file that are read at a time
_PARAMETERS = r"(\w+)[\[(]([^\])]*)[\])]"
_UNITS = {"s", "ms", "us", "ns"}


def write_table(
    rows: Rows, target: Target, *, types: Columns, extents: Iterable[Extent], base: int, aside: Aside
) -> None:
    """Write the parquet file of these rows, in this order; not durable. `base`: offsets below it are numbers of rows in
    the old file. `aside`: a row group is made there of `extents` and `rows` while the one before is encoded.
    `CorruptionError` for rows that are not what the log says; what `target` and `extents` raise is passed on."""
    load_arrow(types)
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
    rows = max(QUANTUM, min(_SAMPLE_ROWS, _SAMPLE_BYTES // each))
    pieces = min(_SAMPLES, rows // QUANTUM)
    starts = range(0, group.num_rows, max(rows, group.num_rows) // pieces)
    sample = pyarrow.concat_tables([group.slice(start, rows // pieces) for start in starts])
    found: list[Any] = []
    for dictionaries in (True, False):
        sink = pyarrow.MockOutputStream()  # keeps nothing
        with _writer(sink, sample.schema, dictionaries=dictionaries, metadata_collector=found) as writer:
            writer.write_table(sample, row_group_size=sample.num_rows)
    pairs = zip(*(map(told.row_group(0).column, range(told.num_columns)) for told in found), strict=True)
    return [one.path_in_schema for one, plain in pairs if one.total_compressed_size < plain.total_compressed_size]


def load_arrow(types: Columns) -> bool:
    """Import what `write_table` needs for these columns, ahead of time: 0.07 s, 0.04 more where rows may have to be
    cast. False: they cannot be had, and `write_table` says why.

    On the main thread, and no thread of ours asks an ABC for anything meanwhile: pyarrow makes classes that are
    Sequence and Mapping, and as long as such a one is half made, text counts as a Mapping, which is remembered.
    """
    try:
        if "pyarrow.parquet" not in sys.modules:
            with _without("numpy"):
                import pyarrow
                import pyarrow.parquet
        if "pyarrow.compute" not in sys.modules and not all(map(_is_plain, types)):
            with _without("numpy"):
                import pyarrow.compute  # noqa: F401
    except BatchctlError:  # a signal has come
        raise
    except Exception:  # noqa: BLE001 - whatever a broken package says
        return False
    return True


def _is_plain(column: tuple[str, Type]) -> bool:
    """Has it this type or is null?"""
    return isinstance(column[1], str) and not column[1].startswith("decimal")


@contextmanager
def _without(name: str) -> Iterator[None]:
    """As if this package were not installed, unless it was imported before: pyarrow does without numpy, which takes as
    long to import as all the rest, and nobody here has an array."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # Python's word for one that is not to be had
    try:
        yield
    finally:
        del sys.modules[name]


def rows_in(file: ReadFile) -> int:
    """Rows that a parquet file says it has; `CorruptionError` where it is none."""
    load_arrow(())
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
    arrays = [_cast(array, field.type) for array, field in zip(batch.columns, schema, strict=True)]
    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)


def _cast(array: pyarrow.Array, kind: pyarrow.DataType) -> pyarrow.Array:
    import pyarrow

    if array.type.equals(kind):
        return array
    if pyarrow.types.is_null(array.type):
        return pyarrow.nulls(len(array), kind)  # as a cast would, which takes pyarrow.compute
    return array.cast(kind)


def _batches(rows: Rows, *, extents: Iterable[Extent], base: int) -> Iterator[pyarrow.RecordBatch]:
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


def _section_of(file: ReadFile) -> Section:
    return Section(Window(file), 0, file.size)
