"""JSON values back into frozen records, every type checked: job directories may come from elsewhere."""

from __future__ import annotations

import types
import typing
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")
_MOST = 1e15
_MOST_WHOLE = 1 << 63


def record_from(cls: type[T], value: object) -> T:
    """`value` (a JSON object) as a `cls`, a NamedTuple of strings, numbers, enums, tuples and such NamedTuples.

    Keys that `cls` does not know are left out (a newer batchctl wrote them); missing ones take their default. Raises
    ValueError, naming the field, for anything that does not fit.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{cls.__name__}: an object was expected")
    hints = typing.get_type_hints(cls)
    found: dict[str, Any] = {}
    record = typing.cast(Any, cls)
    for name in record._fields:
        if name in value:
            found[name] = _value_from(hints[name], value[name], name)
        elif name not in record._field_defaults:
            raise ValueError(f"{cls.__name__}.{name} is missing")
    return cls(**found)


def _value_from(hint: Any, value: object, name: str) -> object:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
        return _value_from(hint, value, name)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{name}: a list was expected")
        return tuple(_value_from(typing.get_args(hint)[0], element, name) for element in value)
    if isinstance(hint, type) and issubclass(hint, tuple):
        return record_from(hint, value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return _as_float(value, name)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{name}: {hint.__name__} was expected")
    if isinstance(value, int) and abs(value) >= _MOST_WHOLE:
        raise ValueError(f"{name}: a number out of range")
    return _as_float(value, name) if isinstance(value, float) else value


def _as_float(value: float, name: str) -> float:
    """Times, rates and durations: nobody who shows them asks again whether they can be shown."""
    if not abs(value) < _MOST:  # NaN is not either
        raise ValueError(f"{name}: a number out of range")
    return float(value)
