"""What the text of a value means: one parser per kind of field.

A parser takes a node and the folder that relative paths are against, returns the typed value, or raises `Wrong` with a
remedy. The same parser serves a spec file, a flag and an environment variable, so `90s` means the same everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from batchctl.model.job import ErrorThreshold
from batchctl.model.partition import PartitionFormat
from batchctl.spec.nodes import Kind, Node
from batchctl.spec.paths import Found, anchored, found, neighbour
from batchctl.spec.problems import Wrong, did_you_mean, quoted

Parser = Callable[[Node, Path], object]
E = TypeVar("E", bound=StrEnum)

_WHOLE = r"[+-]?\d+(?:_\d+)*(?:\.0*)?"
_DURATION = r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+"
_DURATION_PART = r"(\d+(?:\.\d+)?)(ms|s|m|h|d)"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"\d+(?:\.\d*)?"
_SIZE = r"(\d+(?:\.\d+)?)(?:([kmgt])(?:i?b)?|b)?"
_TABULAR = r"\d+[kmg]b"
_TRUE = frozenset(("true", "yes", "on", "1"))
_FALSE = frozenset(("false", "no", "off", "0"))
# What Azure's client refuses in an output file name; one rule for all dialects, so that a job can move.
_FORBIDDEN_IN_NAME = '~"#%&*:<>?/\\{}|'
_MAX_NAME_BYTES = 200  # room for `.partial` and a temporary name within the 255 of the file system
_LONGEST_NUMBER = 20


def text(node: Node, base: Path) -> str:
    """The raw text of one value: `on`, `017` and `1.10` stay what they are."""
    del base
    if node.kind is Kind.NULL:
        raise Wrong("has no value", "Give it one, or remove the line")
    if node.kind is not Kind.SCALAR:
        raise Wrong(f"one value is expected, this is a {node.kind}", "Write one value")
    if "\x00" in node.text:
        raise Wrong("holds a NUL character", "Remove it")
    try:
        node.text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair, which an escape in a file can spell; bytes of file names pass
        raise Wrong("holds half a character", "Remove the escape") from None
    return node.text


def word(node: Node, base: Path) -> str:
    """A text that is not blank."""
    raw = text(node, base)
    if not raw.strip():
        raise Wrong("is empty", "Give it a value, or remove the line")
    return raw


def label(node: Node, base: Path) -> str:
    """A name that fits a line of a report."""
    raw = word(node, base)
    if not raw.isprintable() or len(raw.encode()) > _MAX_NAME_BYTES:
        raise Wrong(f"{quoted(raw)} is no name", f"Use printable characters, at most {_MAX_NAME_BYTES} bytes")
    return raw


def whole(minimum: int, maximum: int) -> Parser:
    """A whole number in a range; `20`, `"20"` and `20.0` are the same, `017` and `2.5` are refused."""

    def parse(node: Node, base: Path) -> int:
        raw = text(node, base).strip()
        if not re.fullmatch(_WHOLE, raw, re.ASCII) or len(raw) > _LONGEST_NUMBER:
            raise Wrong(f"{quoted(raw)} is not a whole number", f"Write a number from {minimum} to {maximum}")
        digits = raw.partition(".")[0].lstrip("+-")
        if len(digits) > 1 and digits[0] == "0":
            raise Wrong(f"{quoted(raw)} could be octal or decimal", f"Write {digits.lstrip('0') or '0'}")
        value = int(raw.partition(".")[0])
        if not minimum <= value <= maximum:
            raise Wrong(f"{value} is out of range", f"Write a number from {minimum} to {maximum}")
        return value

    return parse


def batch_size(node: Node, base: Path) -> int:
    """Items per mini-batch; a size in bytes is refused by name, as it belongs to tabular inputs."""
    raw = text(node, base).strip()
    if re.fullmatch(_TABULAR, raw, re.ASCII | re.IGNORECASE):
        what = f"{quoted(raw)} is a size in bytes, which only tabular inputs have"
        raise Wrong(what, "Write the number of files per mini-batch")
    value = whole(1, 2**31 - 1)(node, base)
    assert isinstance(value, int)
    return value


def count_or_auto(maximum: int) -> Parser:
    """A positive count, or `auto` (None): the machine is measured."""
    number = whole(1, maximum)

    def parse(node: Node, base: Path) -> object:
        raw = text(node, base).strip()
        if raw.lower() == "auto":
            return None
        try:
            return number(node, base)
        except Wrong as wrong:
            raise Wrong(wrong.what, f'{wrong.remedy}, or "auto"') from None

    return parse


def duration(minimum: float, maximum: float) -> Parser:
    """Seconds: `30`, `1.5`, `90s`, `2m`, `1h30m`, `500ms`, `1d`."""

    def parse(node: Node, base: Path) -> float:
        raw = text(node, base).strip().lower().replace(" ", "")
        if len(raw) <= _LONGEST_NUMBER and re.fullmatch(_NUMBER, raw, re.ASCII):
            seconds = float(raw)
        elif len(raw) <= 2 * _LONGEST_NUMBER and re.fullmatch(_DURATION, raw, re.ASCII):
            seconds = sum(float(number) * _SECONDS[unit] for number, unit in re.findall(_DURATION_PART, raw, re.ASCII))
        else:
            raise Wrong(f"{quoted(raw)} is not a duration", "Write seconds (30, 1.5) or 90s, 2m, 1h30m")
        if not minimum <= seconds <= maximum:
            raise Wrong(f"{quoted(raw)} is out of range", f"Write from {minimum:g} to {maximum:g} seconds")
        return seconds

    return parse


def byte_size(node: Node, base: Path) -> int:
    """Bytes: `1048576`, `512M`, `1.5G`, `64MiB`, `2 GB`; units are powers of 1024, in any case."""
    raw = text(node, base).strip()
    found = re.fullmatch(_SIZE, raw.lower().replace(" ", ""), re.ASCII) if len(raw) <= _LONGEST_NUMBER else None
    if found is None:
        raise Wrong(f"{quoted(raw)} is not a size", "Write bytes, or 512M, 1.5G (powers of 1024)")
    size = round(float(found[1]) * (1 << 10 * " kmgt".index(found[2] or " ")))
    if not 1 <= size < 2**63:
        raise Wrong(f"{quoted(raw)} is out of range", "Write from 1 byte to less than 8 EiB")
    return size


def choice(kind: type[E]) -> Parser:
    """One of an enumeration's values, in any case."""
    values = [member.value for member in kind]

    def parse(node: Node, base: Path) -> E:
        raw = text(node, base).strip()
        if raw.lower() not in values:
            hint = did_you_mean(raw, values)
            remedy = f"{hint[:1].upper()}{hint[1:]} " if hint else ""
            raise Wrong(f"{quoted(raw)} is not a choice", f"{remedy}Write one of {', '.join(values)}")
        return kind(raw.lower())

    return parse


def switch(node: Node, base: Path) -> bool:
    """true, yes, on, 1 or false, no, off, 0, in any case."""
    raw = text(node, base).strip().lower()
    if raw in _TRUE or raw in _FALSE:
        return raw in _TRUE
    raise Wrong(f"{quoted(raw)} is neither true nor false", "Write true or false")


def threshold(node: Node, base: Path) -> ErrorThreshold:
    """A number of failed items, or a percentage of all; whatever is below -1 means -1, as Azure's driver has it."""
    raw = text(node, base).strip().replace(" ", "")
    if raw.endswith("%"):
        if len(raw) > _LONGEST_NUMBER or not re.fullmatch(_NUMBER, raw[:-1], re.ASCII) or float(raw[:-1]) > 100:
            raise Wrong(f"{quoted(raw)} is not a percentage", "Write 0% to 100%")
        return ErrorThreshold(count=None, percent=float(raw[:-1]))
    try:
        value = whole(-(2**31), 2**31 - 1)(node, base)
    except Wrong as wrong:
        raise Wrong(wrong.what, "Write a number of files (-1: any number) or a percentage such as 3%") from None
    assert isinstance(value, int)
    return ErrorThreshold(count=max(value, -1))


def batch_threshold(node: Node, base: Path) -> int:
    """A number of failed mini-batches; whatever is below -1 means -1."""
    try:
        value = whole(-(2**31), 2**31 - 1)(node, base)
    except Wrong as wrong:
        raise Wrong(wrong.what, "Write a number of mini-batches (-1: any number)") from None
    assert isinstance(value, int)
    return max(value, -1)


def percent(node: Node, base: Path) -> float:
    """0 to 100; a % sign may follow."""
    raw = text(node, base).strip().removesuffix("%").rstrip()
    if len(raw) > _LONGEST_NUMBER or not re.fullmatch(_NUMBER, raw, re.ASCII) or float(raw) > 100:
        raise Wrong(f"{quoted(raw)} is not a percentage", "Write 0 to 100")
    return float(raw)


def texts(node: Node, base: Path) -> tuple[str, ...]:
    """A list of texts; one text stands for a list of one."""
    if node.kind is not Kind.LIST:
        return (word(node, base),)
    values = []
    for element in node.elements:
        if element.kind is not Kind.SCALAR:
            raise Wrong(f"a {element.kind} where a text is expected", "Write a list of texts")
        values.append(word(element, base))
    return tuple(values)


def partition_keys(node: Node, base: Path) -> tuple[str, ...]:
    """Names of partition keys, each once, as a list or in one text with commas; without what takes paths apart."""
    keys = texts(node, base)
    if node.kind is not Kind.LIST:
        keys = tuple(key.strip() for key in keys[0].split(","))
    for key in keys:
        if not key.strip():
            raise Wrong("holds an empty name", "Write the names of the keys, or remove the comma")
        if not key.isprintable() or any(mark in key for mark in "/={}:*"):
            raise Wrong(f"{quoted(key)} cannot be a partition key", "Write names without / = { } : *")
        if keys.count(key) > 1:
            raise Wrong(f"{quoted(key)} is named twice", "Name each key once")
    return keys


def partition_format(node: Node, base: Path) -> str:
    """A template of paths; kept as it is written."""
    raw = word(node, base)
    try:
        PartitionFormat.of(raw)
    except ValueError as error:
        raise Wrong(f"{quoted(raw)} {error}", "Write a path with a {key} for each key: {user}/{season}/*.csv") from None
    return raw


def arguments(node: Node, base: Path) -> tuple[str, ...]:
    """A list of texts of which any may be empty, as a program's arguments may."""
    if node.kind is not Kind.LIST:
        raise Wrong(f"a {node.kind} where a list is expected", 'Write ["--flag", "value"]')
    return tuple(text(element, base) for element in node.elements)


def logging_level(node: Node, base: Path) -> str:
    """One word, passed on to the script as written: Azure takes any."""
    raw = word(node, base).strip()
    if not raw.isidentifier() or len(raw) > _LONGEST_NUMBER:
        raise Wrong(f"{quoted(raw)} is not a level", "Write debug, info, warning, error or critical")
    return raw


def file_name(node: Node, base: Path) -> str:
    """A plain file name that any file system and Azure's own client would take."""
    raw = word(node, base)
    bad = [char for char in raw if char in _FORBIDDEN_IN_NAME or not char.isprintable()]
    if bad:
        raise Wrong(f"{quoted(bad[0])} cannot be in a file name", f"Use a name without {_FORBIDDEN_IN_NAME}")
    if raw in (".", "..", ".batchctl") or raw.endswith(".partial") or raw != raw.strip():
        raise Wrong(f"{quoted(raw)} cannot be the output's name", "Use a name such as predictions.csv")
    if len(raw.encode()) > _MAX_NAME_BYTES:
        raise Wrong("the name is too long", f"Use at most {_MAX_NAME_BYTES} bytes")
    return raw


def existing(node: Node, base: Path) -> Path:
    """A file or folder that is there."""
    raw = text(node, base)
    path = anchored(base, raw)
    if found(path) is Found.MISSING:
        raise Wrong(f"{quoted(raw)} is missing ({path})", neighbour(path) or "Check the path")
    return path


def folder(node: Node, base: Path) -> Path:
    """A folder, which need not be there yet. A link to one is followed once, here, because the user named it."""
    raw = text(node, base)
    path = anchored(base, raw)
    what = found(path)
    if what not in (Found.FOLDER, Found.MISSING):
        raise Wrong(f"{quoted(raw)} is {what.value}", "Name a folder, or one that is not there yet")
    return path.resolve() if what is Found.FOLDER else path


def interpreter(node: Node, base: Path) -> str:
    """A command to be found on PATH, or a path; a path is made absolute and links are kept (a venv's python is one)."""
    raw = word(node, base)
    if "/" not in raw and raw != "~":
        return raw
    path = anchored(base, raw)
    if found(path) is Found.FOLDER:
        candidate = path / "bin" / "python"
        if found(candidate) is not Found.FILE:
            raise Wrong(f"{quoted(raw)} is a folder without bin/python", "Name the interpreter or its environment")
        return str(candidate)
    if found(path) is not Found.FILE:
        raise Wrong(f"{quoted(raw)} is missing ({path})", neighbour(path) or "Name a Python interpreter")
    return str(path)


def variables(node: Node, base: Path) -> dict[str, str]:
    """Environment variables: a mapping, or a list of `NAME=value`. Values are never quoted in what is raised."""
    if node.kind is Kind.MAPPING:
        pairs = [(name, _value_of(name, child, base)) for name, child in node.entries]
    elif node.kind is Kind.NULL:
        pairs = []
    else:
        pairs = [_pair(element) for element in (node.elements if node.kind is Kind.LIST else (node,))]
    for name, _ in pairs:
        if not name or "=" in name or not name.isprintable():
            raise Wrong(f"{quoted(name)} cannot be a variable's name", "Write NAME=value")
    return dict(pairs)


def _value_of(name: str, node: Node, base: Path) -> str:
    try:
        return text(node, base)
    except Wrong as wrong:
        raise Wrong(f"{quoted(name)}: {wrong.what}", f'Write {name}: "text"') from None


def _pair(node: Node) -> tuple[str, str]:
    name, equals, value = node.text.partition("=")
    if node.kind is not Kind.SCALAR or not equals or "\x00" in node.text:
        raise Wrong("a variable without `=`", "Write NAME=value")  # not quoted: it may be the value
    try:
        text(node, Path())
    except Wrong as wrong:
        raise Wrong(f"{quoted(name)}: {wrong.what}", wrong.remedy) from None
    return name, value
