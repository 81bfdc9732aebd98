"""The parquet form of results: blocks of Arrow rows that say of what types they are. The coordinator makes the file.

    block   u32 LE length | column types, JSON | u64 LE length | Arrow IPC stream: schema, batches, end
    types   [["name", T], ...]; T a name of Arrow's, or ["list", T], or ["struct", [["name", T], ...]]

"null" is the type of what holds only nulls. What Arrow can say in several ways is brought to one: categories and
run-end encodings are decoded, large and view types become plain ones, lists of a fixed size lists, seconds
milliseconds (parquet has no others). NaN of pandas is null, as `Table.from_pandas` has it. Index and metadata of a
DataFrame are left out.

pyarrow is the user's own, imported at the first result.
"""

from __future__ import annotations

import importlib
import json
import struct

from .failure import ContractError, refuse_twice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

_TYPES_LENGTH = struct.Struct("<I")
_STREAM_LENGTH = struct.Struct("<Q")
_BATCH_ROWS = 64 << 10
_BATCH_BYTES = 8 << 20  # the coordinator holds a batch at a time
# By the name of the test in pyarrow.types; not every version has all of them.
_AS_IT_IS = (
    "null",
    "boolean",
    "integer",
    "floating",
    "decimal128",
    "decimal256",
    "date32",
    "time",
    "timestamp",
    "duration",
    "fixed_size_binary",
)
_TEXT = ("string", "large_string", "string_view")
_BYTES = ("binary", "large_binary", "binary_view")
_LISTS = ("list", "large_list", "fixed_size_list", "list_view", "large_list_view")
_ENCODED = ("dictionary", "run_end_encoded")
_DEEPEST = 48  # levels of lists and structs: a list has two of parquet's, of which readers take 100


def block(columns: Dict[str, Any]) -> Tuple[bytes, bytes]:
    """One block of these columns (all of one length, by name, in order), and its types as JSON. ContractError names
    the column that cannot be held."""
    arrow = importlib.import_module("pyarrow")
    arrays, fields, told = [], [], []
    for name, values in columns.items():
        array, kind = _array(arrow, name, values)
        arrays.append(array)
        fields.append(arrow.field(name, array.type))
        told.append([name, kind])
    table = arrow.Table.from_arrays(arrays, schema=arrow.schema(fields))
    sink = arrow.BufferOutputStream()
    writer = arrow.ipc.new_stream(sink, table.schema)
    rows = min(_BATCH_ROWS, max(1, _BATCH_BYTES * table.num_rows // max(1, table.nbytes)))
    writer.write_table(table, rows)
    writer.close()
    stream = sink.getvalue()
    types = json.dumps(told, separators=(",", ":")).encode("ascii")
    return b"".join([_TYPES_LENGTH.pack(len(types)), types, _STREAM_LENGTH.pack(stream.size), stream]), types


def frame_columns(frame: Any) -> Dict[str, Any]:
    """The columns of a DataFrame by name."""
    names = [str(name) for name in frame.columns]
    if not names:
        raise ContractError("run() returned a DataFrame without columns: parquet holds columns, not an index")
    _refuse(names)
    return {name: frame.iloc[:, at] for at, name in enumerate(names)}


def dict_columns(rows: List[Dict[Any, Any]], keys: List[Any]) -> Dict[str, Any]:
    """A column per key; what a row lacks is null."""
    names = [str(key) for key in keys]
    if not names:
        raise ContractError("run() returned a list of empty dicts: parquet needs a column")
    _refuse(names)
    return {name: [row.get(key) for row in rows] for name, key in zip(names, keys)}


def _refuse(names: List[str]) -> None:
    refuse_twice(names)
    for name in names:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise ContractError("the column name %r is not UTF-8, which parquet asks for: rename it" % name) from None


def _array(arrow: Any, name: str, values: Any) -> Tuple[Any, Any]:
    """The values as Arrow has them, of a settled type, and that type as we tell it."""
    if isinstance(values, list) and getattr(values[0], "ndim", 0) > 1:  # Arrow takes vectors only
        values = [value.tolist() if hasattr(value, "tolist") else value for value in values]
    try:
        array = arrow.array(values, from_pandas=True)
        kind, told = _settled(arrow, array.type)
        return (array if array.type.equals(kind) else array.cast(kind)), told
    except MemoryError:
        raise
    except _Unheld as error:
        raise ContractError(
            "column %r is of Arrow's type %s, which parquet output does not hold: convert it, for example by "
            "frame.astype({%r: 'str'})" % (name, error, name)
        ) from None
    except UnicodeEncodeError as error:
        text = "column %r holds text that is not UTF-8 (%s), which parquet asks for: give it as bytes, or replace it"
        raise ContractError(text % (name, error.reason)) from None
    except (arrow.ArrowException, ValueError, TypeError, OverflowError, NotImplementedError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        text = "column %r cannot be held in one type: %s. Give it one, for example by frame.astype({%r: 'str'})"
        raise ContractError(text % (name, why, name)) from error


class _Unheld(Exception):
    """A type of Arrow's that parquet output has no place for."""


def _settled(arrow: Any, kind: Any, depth: int = 0) -> Tuple[Any, Any]:
    """The type that stands for this one, and how it is told."""
    if depth > _DEEPEST:
        raise _Unheld("nested in more than %d levels" % _DEEPEST)
    if _is(arrow, kind, _TEXT):
        return arrow.string(), "string"
    if _is(arrow, kind, _BYTES):
        return arrow.binary(), "binary"
    if _is(arrow, kind, ("timestamp", "time")) and kind.unit == "s":
        kind = arrow.timestamp("ms", kind.tz) if _is(arrow, kind, ("timestamp",)) else arrow.time32("ms")
    elif _is(arrow, kind, ("date64",)):
        kind = arrow.date32()
    elif _is(arrow, kind, ("decimal32", "decimal64")):
        kind = arrow.decimal128(kind.precision, kind.scale)
    if _is(arrow, kind, _AS_IT_IS):
        return kind, str(kind)
    if _is(arrow, kind, _ENCODED):
        return _settled(arrow, kind.value_type, depth)
    if _is(arrow, kind, _LISTS):
        below, told = _settled(arrow, kind.value_type, depth + 1)
        return arrow.list_(below), ["list", told]
    if _is(arrow, kind, ("struct",)) and kind.num_fields:
        fields, several = [], []
        names = [kind[at].name for at in range(kind.num_fields)]
        if len(set(names)) < len(names):  # no reader could tell them apart
            raise _Unheld(str(kind))
        for at in range(kind.num_fields):
            below, told = _settled(arrow, kind[at].type, depth + 1)
            fields.append(arrow.field(kind[at].name, below))
            several.append([kind[at].name, told])
        return arrow.struct(fields), ["struct", several]
    raise _Unheld(str(kind))


def _is(arrow: Any, kind: Any, names: Any) -> bool:
    for name in names:
        test = getattr(arrow.types, "is_" + name, None)
        if test is not None and test(kind):
            return True
    return False
