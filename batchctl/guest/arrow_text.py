"""What frame_text.py does, by pyarrow's compute functions: for large frames, where something has imported them.

Columns become Arrow strings; cells of which Arrow has another text than pandas are put in by themselves. Then rows are
joined, separators and line feeds between them, in one buffer, which is the text. Where rows are many and no cell needs
quotes, Arrow's writer of csv files joins them, which also makes the numbers text on its way, in less time.
"""

from __future__ import annotations

import importlib
import sys

from .cell_text import Unsure, float_texts, has_one_text, is_whole, row_major, string_cells

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence

_NEEDED = ("binary_join_element_wise", "replace_with_mask", "if_else", "fill_null", "match_substring_regex")
_CELLS = 1 << 18  # formatted at a time
_WRITER_ROWS = 256  # below, its fixed cost per column is more than it saves
_WRITER_STEP = 16 << 10  # rows that it has on its way


def arrow_bytes(runs: Sequence[Any], separator: str) -> Optional[bytes]:
    """The text of these runs (frame_text.Run), with line feeds. None where there is no pyarrow that can do it, or where
    a text is not UTF-8. Raises Unsure."""
    compute = sys.modules.get("pyarrow.compute")
    if compute is None or not all(hasattr(compute, name) for name in _NEEDED):
        return None
    maker = _Maker(sys.modules["pyarrow"], compute, separator)
    width = sum(len(run.columns) for run in runs)
    rows = len(runs[0].columns[0])
    step = max(64, _CELLS // width)
    try:
        return b"".join([maker.rows(runs, first, min(first + step, rows), width) for first in range(0, rows, step)])
    except UnicodeEncodeError:  # an undecodable file name
        return None


def _writer(separator: str) -> Any:
    """Arrow's: (columns, sink) -> None; None where its options are not to be had."""
    try:
        csv: Any = importlib.import_module("pyarrow.csv")
        options = csv.WriteOptions(
            include_header=False, batch_size=_WRITER_STEP, delimiter=separator, quoting_style="none"
        )
    except (ImportError, TypeError, ValueError):
        return None
    return lambda columns, sink: csv.write_csv(columns, sink, options)


class _Maker:
    """Arrow's functions, and the texts that stand between cells. Strings are large ones: no offset can overflow."""

    def __init__(self, arrow: Any, compute: Any, separator: str) -> None:
        self._arrow = arrow
        self._compute = compute
        self._text = arrow.large_string()
        self._nothing = self._scalar("")
        self._quote = self._scalar('"')
        self._separator = self._scalar(separator)
        self._line_feed = self._scalar("\n")
        self._special = '["\n' + separator + "]"
        self._quoting = False  # has any cell been quoted? Arrow's writer would do that by rules of its own
        self._write = _writer(separator)
        self._bytes = (b'"', b"\n", separator.encode("ascii"))

    def _scalar(self, text: str) -> Any:
        return self._arrow.scalar(text, self._text)

    def rows(self, runs: Sequence[Any], first: int, end: int, width: int) -> Any:
        """The text of some rows, as bytes or a buffer of Arrow's."""
        if self._write is not None and end - first >= _WRITER_ROWS and width > 1 and not self._quoting:
            columns = [self._column(kind, column[first:end]) for kind, columns in runs for column in columns]
            if not self._quoting:
                try:
                    return self._written(columns)
                except self._arrow.ArrowInvalid:  # older ones hold no more than 2 GiB of strings at a time
                    self._write = None
        pieces: List[Any] = []
        for kind, columns in runs:
            columns = [column[first:end] for column in columns]
            if len(columns) > 1:
                pieces.append(self._side_by_side(kind, columns[:-1]))
            pieces += [self._cells(kind, columns[-1]), self._separator]
        pieces[-1] = self._line_feed
        if width == 1:  # an empty line would be no record
            empty = self._compute.equal(pieces[0], self._nothing)
            pieces[0] = self._compute.if_else(empty, self._scalar('""'), pieces[0])
        found = self._join(*pieces)
        return self._data(found)

    def _written(self, columns: List[Any]) -> Any:
        names = ["%d" % number for number in range(len(columns))]
        sink = self._arrow.BufferOutputStream()
        self._write(self._arrow.RecordBatch.from_arrays(columns, names), sink)
        return sink.getvalue()

    def _column(self, kind: str, values: Any) -> Any:
        """What Arrow's writer makes these cells of: numbers as they are, where it has the right text for all."""
        if kind == "i" or (kind == "f" and has_one_text(values).all()):
            return self._arrow.array(values)
        return self._cells(kind, values)

    def _join(self, *pieces: Any) -> Any:
        return self._compute.binary_join_element_wise(*pieces, self._nothing)

    def _side_by_side(self, kind: str, columns: List[Any]) -> Any:
        """Of each row the cells of these columns, a separator behind each."""
        if len(columns) == 1:
            return self._join(self._cells(kind, columns[0]), self._separator)
        cells = self._join(self._cells(kind, row_major(columns)), self._separator)
        _, offsets, data = cells.buffers()
        ends = sys.modules["numpy"].frombuffer(offsets, "int64")[: len(cells) + 1 : len(columns)]
        buffers = [None, self._arrow.py_buffer(ends.copy()), data]
        return self._arrow.Array.from_buffers(self._text, len(columns[0]), buffers)

    def _cells(self, kind: str, values: Any) -> Any:
        arrow = self._arrow
        if kind == "s":
            return self._strings(values)
        if kind == "f":
            return self._floats(values)
        if kind == "b":
            return arrow.array(["False", "True"], self._text).take(arrow.array(values.view("int8")))
        return arrow.array(values).cast(self._text)

    def _floats(self, values: Any) -> Any:
        arrow, compute, numpy = self._arrow, self._compute, sys.modules["numpy"]
        texts = arrow.array(values).cast(self._text)
        told = has_one_text(values)
        if told.all():
            return texts
        whole = is_whole(values)
        if whole.any():
            integers = arrow.array(numpy.where(whole, values, 0).astype("int64")).cast(self._text)
            texts = compute.if_else(arrow.array(whole), self._join(integers, self._scalar(".0")), texts)
            told |= whole
        if not told.all():
            others = arrow.array(float_texts(values[~told]), self._text)
            texts = compute.replace_with_mask(texts, arrow.array(~told), others)
        return texts

    def _strings(self, column: Any) -> Any:
        arrow, compute = self._arrow, self._compute
        if column.dtype == object:
            texts = arrow.array(string_cells(column), self._text)
        else:
            texts = arrow.array(column)
            if isinstance(texts, arrow.ChunkedArray):
                texts = texts.combine_chunks()
            texts = texts.cast(self._text)
            if texts.null_count:
                texts = compute.fill_null(texts, self._nothing)
        data = self._data(texts)
        if b"\r" in data:  # quoted or not, that depends on Python's version
            raise Unsure
        if any(special in data for special in self._bytes):
            self._quoting = True
            special = compute.match_substring_regex(texts, self._special)
            doubled = compute.replace_substring(texts, '"', '""')
            texts = compute.if_else(special, self._join(self._quote, doubled, self._quote), texts)
        return texts

    def _data(self, texts: Any) -> bytes:
        """All of its texts, one after the other."""
        _, offsets, data = texts.buffers()
        if data is None:
            return b""
        ends = sys.modules["numpy"].frombuffer(offsets, "int64")
        first, end = int(ends[texts.offset]), int(ends[texts.offset + len(texts)])
        return data.slice(first, end - first).to_pybytes()  # type: ignore[no-any-return]
