"""JSON values back into frozen records, every type checked: job directories may come from elsewhere."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")
_MOST = 1e15


def record_from(cls: type[T], value: object) -> T:
    """`value` (a JSON object) as a `cls`, a dataclass of strings, numbers, enums, tuples and such dataclasses.

    Keys that `cls` does not know are left out (a newer batchctl wrote them); missing ones take their default. Raises
    ValueError, naming the field, for anything that does not fit.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{cls.__name__}: an object was expected")
    hints = typing.get_type_hints(cls)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(typing.cast(Any, cls)):
        if field.name in value:
            found[field.name] = _value_from(hints[field.name], value[field.name], field.name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{cls.__name__}.{field.name} is missing")
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
    if dataclasses.is_dataclass(hint):
        return record_from(typing.cast(type, hint), value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return _as_float(value, name)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{name}: {hint.__name__} was expected")
    return _as_float(value, name) if isinstance(value, float) else value


def _as_float(value: float, name: str) -> float:
    """Times, rates and durations: nobody who shows them asks again whether they can be shown."""
    if not abs(value) < _MOST:  # NaN is not either
        raise ValueError(f"{name}: a number out of range")
    return float(value)
