"""TOML text to a tree of nodes.

The standard library parses and says nothing of lines, so a scan of the same text finds where each key stands. The scan
is only ever used for messages; inside inline tables it gives the place of the key that holds them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

from batchctl.spec.nodes import MAX_DEPTH, MAX_NODES, KeyPath, Kind, Node, Place, Tree
from batchctl.spec.problems import Problem

# Dotted keys of one line are quadratic in the standard library's parser; nothing honest is this long.
_MAX_LINE = 16_384
_MAX_DOTS = 500

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = re.compile(rf"[ \t]*({_PART}(?:[ \t]*\.[ \t]*{_PART})*)[ \t]*")
_PARTS = re.compile(_PART)
_AT = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")

Path = tuple[str | int, ...]


class _RawFloat(str):
    """A float as written: `1.10` in [env] stays `1.10`."""

    __slots__ = ()


class _Seen:
    """Where each key path was first met, and the pairs of lines where one was met again."""

    def __init__(self) -> None:
        self.places: dict[Path, tuple[int, int]] = {}
        self.written: set[Path] = set()  # spelled out in full, not merely the table above a key
        self.twice: list[tuple[Path, int, int]] = []


def read_toml(text: str, shown: str) -> Tree:
    """The tree of the text. A syntax error comes as a problem with file:line:column; never raises."""
    text = text.replace("\r\n", "\n")
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > _MAX_LINE or line.count(".") > _MAX_DOTS:
            what = f"the line is longer than 16 KiB or holds more than {_MAX_DOTS} dots"
            return Tree(None, (Problem(f"{shown}:{number}", what, "Break it up"),))
    try:
        values = tomllib.loads(text, parse_float=_RawFloat)
    except tomllib.TOMLDecodeError as error:
        return Tree(None, (_syntax(error, text, shown),))
    except RecursionError:
        return Tree(None, (Problem(shown, f"nested more than {MAX_DEPTH} deep", "Flatten it"),))
    except ValueError:  # a number of more digits than Python converts, a date that is none
        return Tree(None, (Problem(shown, "holds a number or date that cannot be read", "Check the numbers"),))
    builder = _Builder(shown, _scanned(text).places)
    root = builder.node(values, (), None)
    return Tree(None, tuple(builder.problems)) if builder.problems else Tree(root)


class _Builder:
    def __init__(self, shown: str, places: Mapping[Path, tuple[int, int]]) -> None:
        self.problems: list[Problem] = []
        self._shown = shown
        self._places = places
        self._count = 0

    def node(self, value: object, at: Path, path: KeyPath | None) -> Node:
        place = self._place(at)
        self._count += 1
        if len(at) > MAX_DEPTH or self._count > MAX_NODES:
            if not self.problems:
                deep = len(at) > MAX_DEPTH
                what = f"nested more than {MAX_DEPTH} deep" if deep else f"more than {MAX_NODES:,} values"
                self.problems.append(Problem(place.where, what, "Flatten it"))
            return Node(Kind.NULL, place, path)
        if isinstance(value, dict):
            entries = tuple((key, self.node(child, (*at, key), KeyPath(key, path))) for key, child in value.items())
            return Node(Kind.MAPPING, place, path, entries=entries)
        if isinstance(value, list):
            children = enumerate(value)
            elements = tuple(self.node(child, (*at, index), KeyPath(index, path)) for index, child in children)
            return Node(Kind.LIST, place, path, elements=elements)
        return Node(Kind.SCALAR, place, path, text=self._text(value, place))

    def _place(self, at: Path) -> Place:
        for length in range(len(at), 0, -1):
            found = self._places.get(at[:length])
            if found is not None:
                return Place(self._shown, *found)
        return Place(self._shown, 1, 1)

    def _text(self, value: object, place: Place) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        try:
            return str(value)
        except ValueError:  # a hexadecimal number of more digits than Python writes out
            self.problems.append(Problem(place.where, "the number is too long", "Shorten it"))
            return ""


def _syntax(error: tomllib.TOMLDecodeError, text: str, shown: str) -> Problem:
    message = str(error)
    at = _AT.search(message)
    what = _AT.sub("", message)
    last = text.count("\n") + 1
    line, column = (int(at[1]), int(at[2])) if at and at[1] else (last, 1)
    if re.search(r"overwrite|declare|mutate|Duplicate", what):
        twice = _scanned(text).twice
        if twice:
            path, first, again = twice[0]
            key = ".".join(str(part) for part in path)
            what = f"given twice: first on line {first}, again on line {again}"
            return Problem(f"{shown}:{again}", what, "Keep one of them", key=key)
    remedy = 'Text values need quotes: key = "value"' if what.startswith("Invalid value") else "Check this line"
    return Problem(f"{shown}:{line}:{column}", f"TOML syntax: {what}", remedy)


def _scanned(text: str) -> _Seen:
    """Where the keys of the text stand; best effort where the text is no valid TOML."""
    seen = _Seen()
    table: Path = ()
    arrays: dict[Path, int] = {}
    position, line, counted = 0, 1, 0
    while position < len(text):
        line += text.count("\n", counted, position)
        counted = position
        start = text.rfind("\n", 0, position) + 1
        indent = position
        while text[indent : indent + 1] in (" ", "\t"):
            indent += 1
        head = text[indent : indent + 1]
        if head == "[":
            double = text.startswith("[[", indent)
            match = _KEY.match(text, indent + 2 if double else indent + 1)
            if match:
                table = _nested(_parts(match[1]), arrays)
                if double:
                    arrays[table] = arrays.get(table, -1) + 1
                    table = (*table, arrays[table])
                _note(seen, table, (line, indent - start + 1))
            position = _line_end(text, indent)
            continue
        match = _KEY.match(text, position) if head not in ("", "#", "\n") else None
        if match is None or not text.startswith("=", match.end()):
            position = _line_end(text, position)
            continue
        _note(seen, table + _parts(match[1]), (line, indent - start + 1))
        position = _value_end(text, match.end() + 1)
    return seen


def _note(seen: _Seen, path: Path, place: tuple[int, int]) -> None:
    if path in seen.written:
        seen.twice.append((path, seen.places[path][0], place[0]))
    else:
        seen.written.add(path)
        seen.places[path] = place
    for length in range(1, len(path)):  # the tables above a dotted key stand where it does
        seen.places.setdefault(path[:length], place)


def _nested(parts: Path, arrays: Mapping[Path, int]) -> Path:
    """A table's path with the index of the array of tables that it lies in."""
    path: Path = ()
    for part in parts[:-1]:
        path = (*path, part)
        if path in arrays:
            path = (*path, arrays[path])
    return path + parts[-1:]


def _parts(dotted: str) -> Path:
    parts = _PARTS.findall(dotted)[: MAX_DEPTH + 1]
    return tuple(part[1:-1] if part[0] in "\"'" else part for part in parts)


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


def _value_end(text: str, position: int) -> int:
    """The offset behind the line on which the value that begins here ends: strings and brackets may span lines."""
    depth = 0
    while position < len(text):
        char = text[position]
        if char in "\"'":
            position = _string_end(text, position)
            continue
        if char == "#":
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
            continue
        if char == "\n" and depth <= 0:
            return position + 1
        depth += (char in "[{") - (char in "]}")
        position += 1
    return position


def _string_end(text: str, position: int) -> int:
    quote = text[position]
    fence = quote * 3 if text.startswith(quote * 3, position) else quote
    position += len(fence)
    while position < len(text):
        if quote == '"' and text[position] == "\\":
            position += 2
        elif text.startswith(fence, position):
            return position + len(fence)
        else:
            position += 1
    return position
