"""The text of a DataFrame as its own to_csv(header=False, index=False, sep=...) writes it, to the byte, in less time.

Known are columns of numpy's booleans, integers, float32 and float64, and of strings; of a frame that holds anything
else, or a value of whose text we are not sure, pandas itself is asked by the caller. Columns of one type that stand
side by side are a *run* and formatted at once: a frame may have hundreds. Large frames are formatted by pyarrow where
pandas has imported it (arrow_text.py).
"""

from __future__ import annotations

import sys
from itertools import islice

from .arrow_text import arrow_bytes
from .cell_text import Unsure, float_texts, has_one_text, row_major, string_cells
from .named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, List, Optional

_SEPARATORS = frozenset(" ,\t;|")  # none may be part of a number
_ARROW_CELLS = 1500  # below, its fixed cost per column is more than it saves
_REPR_CELLS = 200
_FEW = 8  # columns of whole numbers that are not worth being put together


class Run(NamedTuple):
    """`kind`: b, i, f or s (booleans, integers, floats, strings). `columns`: arrays of one type; of strings one."""

    kind: str
    columns: List[Any]


def text_of(frame: Any, separator: str) -> Optional[bytes]:
    """UTF-8 rows with line feeds, undecodable bytes of file names as they were. None: ask pandas."""
    pandas = sys.modules["pandas"]
    # Arrays without a Series around each: those would cost as much as all the rest.
    arrays = getattr(frame, "_iter_column_arrays", None)
    if type(frame) is not pandas.DataFrame or separator not in _SEPARATORS or arrays is None:
        return None
    width = len(frame.columns)
    if not width:
        return None
    try:
        runs = list(_runs(arrays(), pandas.StringDtype))
        found = arrow_bytes(runs, separator) if len(frame) * width >= _ARROW_CELLS else None
        if found is not None:
            return found
        texts = [text for run in runs for text in _texts(run, separator)]
    except Unsure:
        return None
    rows = texts[0] if len(texts) == 1 else list(map(separator.join, zip(*texts)))
    if width == 1 and "" in rows:
        rows = [text or '""' for text in rows]  # an empty line would be no record
    rows.append("")
    return "\n".join(rows).encode("utf-8", "surrogateescape")


def _runs(arrays: Iterator[Any], string_type: Any) -> Iterator[Run]:
    run: List[Any] = []
    of: Any = None
    for array in arrays:
        if run and array.dtype is of and of.kind in "biuf":  # numpy has one object for each of these
            run.append(array)
            continue
        if run:
            yield Run(_kind(run[0], string_type), run)
        run, of = [array], array.dtype
    yield Run(_kind(run[0], string_type), run)


def _kind(array: Any, string_type: Any) -> str:
    of = array.dtype
    if type(array).__module__ == "numpy":
        if of.kind in "biu" and of.isnative:
            return "b" if of.kind == "b" else "i"
        if of.kind == "f" and of.isnative and of.itemsize in (4, 8):
            return "f"
        if of.kind == "O":
            return "s"
    elif isinstance(of, string_type):
        return "s"
    raise Unsure


def _texts(run: Run, separator: str) -> List[List[str]]:
    """Of each row the cells of these columns, with separators between them: all as one text, or as several."""
    kind, columns = run
    if kind == "s":
        return [_strings(columns[0], separator)]
    if len(columns) == 1 or (kind != "f" and len(columns) <= _FEW):
        return [_numbers(kind, column) for column in columns]
    rest, count = iter(_numbers(kind, row_major(columns))), len(columns)
    return [[separator.join(islice(rest, count)) for _ in range(len(columns[0]))]]


def _numbers(kind: str, values: Any) -> List[str]:
    if kind != "f":
        return list(map(str, values.tolist()))
    if len(values) > _REPR_CELLS and values.itemsize == 8 and has_one_text(values).all():
        return list(map(repr, values.tolist()))  # a third less than numpy takes
    return float_texts(values)


def _strings(column: Any, separator: str) -> List[str]:
    cells = string_cells(column)
    text = "".join(cells)
    if "\r" in text:  # quoted or not, that depends on Python's version
        raise Unsure
    if separator in text or '"' in text or "\n" in text:
        return [_quoted(cell, separator) for cell in cells]
    return cells


def _quoted(cell: str, separator: str) -> str:
    if separator in cell or '"' in cell or "\n" in cell:
        return '"' + cell.replace('"', '""') + '"'
    return cell
