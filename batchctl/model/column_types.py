"""What columns a table has and of what types: as the guest tells them, as the log keeps them. Pure.

    [["name", T], ...]   T: a name of Arrow's ("int64", "timestamp[ns, tz=UTC]"), or ["list", T], or
                         ["struct", [["name", T], ...]]

"null" is the type of what holds only nulls; it goes with any other. Decimals go with one another: Arrow finds their
digits out from the values, so each mini-batch has others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

# Nested tuples of the JSON's form; a struct's fields are columns again.
Type = str | tuple[Any, ...]
Columns = tuple[tuple[str, Type], ...]
NULL = "null"
_DECIMAL = r"decimal(?:128|256)\((\d+), (-?\d+)\)"
_NARROW, _WIDE = 38, 76  # digits that decimal128 and decimal256 hold
_DEEPEST = 64  # levels of lists and structs; what compares types goes down as far


class DriftError(ValueError):
    """Columns that cannot stand in one table. `column`: the one (or the field, dotted) whose types differ, "" where the
    names do; `here`, `fixed`: in words."""

    def __init__(self, column: str, *, here: str, fixed: str) -> None:
        super().__init__(f"{column or 'columns'}: {here}, not {fixed}")
        self.column = column
        self.here = here
        self.fixed = fixed


def parse_columns(text: bytes | str) -> Columns:
    """One description; ValueError where it is none."""
    return _columns(_loaded(text))


def parse_kinds(text: bytes | str) -> tuple[Columns, ...]:
    """A list of descriptions, as a worker sends them; ValueError where it is none."""
    found = _loaded(text)
    if not isinstance(found, list):
        raise ValueError("no list of column types")
    return tuple(map(_columns, found))


def pack_columns(columns: Columns) -> bytes:
    """The JSON text, ASCII."""
    return json.dumps(columns, separators=(",", ":")).encode("ascii")


def unify(fixed: Columns, here: Columns) -> Columns:
    """What is both: the more specific type of each column, decimals with the digits of both. `DriftError` where the two
    do not go together."""
    if [name for name, _ in fixed] != [name for name, _ in here]:
        raise DriftError("", here=_names(here), fixed=_names(fixed))
    return tuple((name, _unified(name, a, b)) for (name, a), (_, b) in zip(fixed, here, strict=True))


def refines(fixed: Columns, here: Columns) -> bool:
    """Does `here` say the same as `fixed`, or more?"""
    try:
        return not fixed or unify(fixed, here) == here
    except DriftError:
        return False


def told(kind: Type) -> str:
    """A type in words: list<int64>, struct<a: string, b: null>."""
    if isinstance(kind, str):
        return kind
    if kind[0] == "list":
        return f"list<{told(kind[1])}>"
    return f"struct<{', '.join(f'{name}: {told(below)}' for name, below in kind[1])}>"


def _unified(path: str, a: Any, b: Any) -> Type:
    if b in (a, NULL):
        return a  # type: ignore[no-any-return]
    if a == NULL:
        return b  # type: ignore[no-any-return]
    if isinstance(a, str) and isinstance(b, str):
        both = _decimal(a, b)
        if both:
            return both
    if isinstance(a, tuple) and isinstance(b, tuple) and a[0] == b[0]:
        if a[0] == "list":
            return ("list", _unified(f"{path}[]", a[1], b[1]))
        if [name for name, _ in a[1]] == [name for name, _ in b[1]]:
            pairs = zip(a[1], b[1], strict=True)
            return ("struct", tuple((name, _unified(f"{path}.{name}", x, y)) for (name, x), (_, y) in pairs))
    raise DriftError(path, here=told(b), fixed=told(a))


def _decimal(a: str, b: str) -> str:
    """The decimal that has the digits of both, before the point and behind it; "" where there is none."""
    found = [re.fullmatch(_DECIMAL, kind) for kind in (a, b)]
    sizes = [(int(match[1]), int(match[2])) for match in found if match]
    if len(sizes) < 2:
        return ""
    scale = max(scale for _, scale in sizes)
    digits = max(digits - scale for digits, scale in sizes) + scale
    if digits > _WIDE:
        return ""
    wide = digits > _NARROW or "decimal256" in a + b
    return f"decimal{256 if wide else 128}({digits}, {scale})"


def _names(columns: Columns) -> str:
    return ", ".join(name for name, _ in columns)


def _loaded(text: bytes | str) -> object:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("column types are nested too deeply") from error


def _columns(found: object, depth: int = 0) -> Columns:
    if not isinstance(found, list) or not found:
        raise ValueError("no columns")
    return tuple(_column(pair, depth) for pair in found)


def _column(pair: object, depth: int) -> tuple[str, Type]:
    if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
        raise ValueError("a column is a name and a type")
    return pair[0], _type(pair[1], depth)


def _type(found: object, depth: int) -> Type:
    if isinstance(found, str):
        return found
    if depth >= _DEEPEST:
        raise ValueError("column types are nested too deeply")
    if isinstance(found, Sequence) and len(found) == 2 and found[0] == "list":
        return ("list", _type(found[1], depth + 1))
    if isinstance(found, Sequence) and len(found) == 2 and found[0] == "struct":
        return ("struct", _columns(found[1], depth + 1))
    raise ValueError(f"{found!r} is no type")
