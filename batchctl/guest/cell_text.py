"""What the cells of a DataFrame's columns are as text, where we are sure to say what pandas' to_csv says.

pandas writes floats as numpy's astype(str) does, all else as Python's str(), and what is missing as nothing. Floats
that are not whole, from 0.001 up to a million (float32: up to 65,536), have one text in numpy, Python and Arrow: the
shortest that reads back, without an exponent. Whole ones in those bounds are integers with ".0" in numpy and in Python.
Of all others numpy is asked.
"""

from __future__ import annotations

import sys
from math import isnan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List

_LEAST, _MOST = 0.001, {"float64": 1e6, "float32": 65536.0}
_THIRD = {"float64": "0.3333333333333333", "float32": "0.33333334"}
_TEXTS = {str}
_MISSING = {"NoneType", "NAType", "float"}
_KNOWN = {str, type(None), float, int, bool}


class Unsure(Exception):
    """Only pandas knows the text of this."""


def row_major(columns: List[Any]) -> Any:
    """The cells of several columns of one type, row after row."""
    return columns[0] if len(columns) == 1 else sys.modules["numpy"].stack(columns, axis=1).ravel()


def has_one_text(values: Any) -> Any:
    """Of each float: is its text the same in numpy, Python and Arrow?"""
    numpy = sys.modules["numpy"]
    name = values.dtype.name
    # A script can have numpy write floats as it did long ago (legacy print options), and so does a numpy before 1.14.
    if numpy.full(1, 1 / 3, values.dtype).astype(str)[0] != _THIRD[name]:
        return numpy.zeros(len(values), bool)
    with numpy.errstate(all="ignore"):  # a NaN of any bits; a script may have made warnings errors
        size = numpy.abs(values)
        return (size >= _LEAST) & (size < _MOST[name]) & (numpy.rint(values) != values)


def is_whole(values: Any) -> Any:
    """Of each float: is its text that of an integer and ".0"? Not of minus zero. So in each of numpy's modes."""
    numpy = sys.modules["numpy"]
    with numpy.errstate(all="ignore"):
        whole = (numpy.abs(values) < _MOST[values.dtype.name]) & (numpy.rint(values) == values)
        return whole & ~((values == 0) & numpy.signbit(values))


def float_texts(values: Any) -> List[str]:
    """As pandas has them: numpy's, and nothing for NaN."""
    texts: List[str] = values.astype(str).tolist()
    if "nan" in texts:
        texts = ["" if text == "nan" else text for text in texts]
    if ("inf" in texts or "-inf" in texts) and not _knows_no_option():
        raise Unsure
    return texts


def _knows_no_option() -> bool:
    """Before pandas 3 an option, mode.use_inf_as_na, makes infinity a missing value."""
    major = sys.modules["pandas"].__version__.split(".")[0]
    return major.isdecimal() and int(major) >= 3


def plain_list(column: Any) -> List[Any]:
    """Its cells as Python's objects. Strings that lie in Arrow are taken from there, None for what is missing: pandas
    takes five times as long for each."""
    held = getattr(getattr(column, "_pa_array", None), "to_pylist", None)
    cells: List[Any] = column.tolist() if held is None else held()
    return cells


def string_cells(column: Any) -> List[str]:
    """A column of strings, or of objects that are strings, None, NaN and Python's integers and booleans only."""
    cells = plain_list(column)
    kinds = set(map(type, cells))  # of a subclass str() may say something else
    if kinds == _TEXTS:
        return cells
    if column.dtype != object:
        if {kind.__name__ for kind in kinds - _TEXTS} <= _MISSING:
            return [cell if type(cell) is str else "" for cell in cells]
    elif kinds <= _KNOWN and not any(type(cell) is float and not isnan(cell) for cell in cells):
        return ["" if cell is None or type(cell) is float else str(cell) for cell in cells]
    raise Unsure
