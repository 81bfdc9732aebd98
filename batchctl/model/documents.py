"""Values as JSON documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def as_document(value: Any) -> Any:
    """A value of NamedTuples, tuples, lists and mappings as what `json` writes: a NamedTuple becomes an object by its
    field names, at any depth; everything else stays what it is."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: as_document(part) for name, part in zip(value._fields, value, strict=True)}
    if isinstance(value, (tuple, list)):
        return [as_document(part) for part in value]
    if isinstance(value, Mapping):
        return {key: as_document(part) for key, part in value.items()}
    return value
