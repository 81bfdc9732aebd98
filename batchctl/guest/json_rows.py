"""The jsonl form of results: see rows.py for what it promises."""

from __future__ import annotations

import json
import math

from .failure import refuse_twice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List


def jsonl(result: Any, *, is_frame: bool) -> bytes:
    """One line per element of a list or row of a DataFrame."""
    if is_frame:
        names = [str(name) for name in result.columns]
        refuse_twice(names)
        # Column by column, so that each keeps its own type (a row of a mixed frame would be promoted).
        columns = [result.iloc[:, index].tolist() for index in range(len(names))]
        rows: List[Any] = [dict(zip(names, values)) for values in zip(*columns)] if names else [{}] * len(result)
    else:
        rows = [row if isinstance(row, dict) else {"prediction": row} for row in result]
    return b"".join([_one(row) for row in rows])


def _one(row: Any) -> bytes:
    try:
        text = _encoder.encode(row)
    except (ValueError, TypeError):  # NaN or infinity somewhere, or a key that is no str
        row = plain(row)
        text = _encoder.encode(row)
    try:
        return text.encode("utf-8") + b"\n"
    except UnicodeEncodeError:  # a lone surrogate: an undecodable file name
        return _escaping.encode(plain(row)).encode("ascii") + b"\n"


def plain(value: Any) -> Any:
    """`value` in JSON's own types."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # of an enum, its value, as the encoder writes it
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_key(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(entry) for entry in value), key=repr)  # a set's own order differs from process to process
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    return _foreign(value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    return json.dumps(key) if key is None or isinstance(key, bool) else str(key)  # as the encoder does


def _foreign(value: Any) -> Any:
    """Values of libraries and of the datetime module, told by what they can do: no library is imported here."""
    name = type(value).__name__
    if name in ("NaTType", "NAType"):
        return None
    if _is_moment(type(value)) or _is_moment(value.__class__):
        return value.isoformat()
    if name in ("datetime64", "timedelta64"):  # item() would give an integer at nanosecond resolution
        return None if str(value) == "NaT" else str(value)
    for method in ("tolist", "item"):  # numpy arrays and scalars, torch tensors, pandas Series
        convert = getattr(value, method, None)
        if callable(convert):
            found = convert()
            if type(found) is not type(value):
                return plain(found)
    return str(value)


def _is_moment(kind: Any) -> bool:
    """A date or a time, told by their names: the module takes 2 ms, and whoever has such a value has imported it."""
    kinds = getattr(kind, "__mro__", ())
    return any(one.__name__ in ("date", "time") and getattr(one, "__module__", "") == "datetime" for one in kinds)


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=plain)
_escaping = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
