"""One small tree for all file formats: every value as written, with the place it was written at.

Scalars stay text: what `017`, `on` or `1:30` means is decided by the field that takes them (values.py), never by the
file format. The readers (yaml_nodes.py, toml_nodes.py) cap size, depth and count before a tree gets here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from batchctl.named_tuple import NamedTuple
from batchctl.spec.problems import Problem, Wrong, did_you_mean, quoted

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
MAX_DEPTH = 64

SET_SOURCE = "--set"


class Kind(StrEnum):
    """What a node is; NULL is a key without a value."""

    MAPPING = "mapping"
    LIST = "list"
    SCALAR = "scalar"
    NULL = "null"


class Place(NamedTuple):
    """Where something was written: a file with line and column (from 1), or a flag or variable, which have none."""

    source: str
    line: int = 0
    column: int = 0

    @property
    def where(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


class KeyPath(NamedTuple):
    """A dotted key, linked to its parent: a path costs the same however deep the tree and long the keys above it."""

    key: str | int
    parent: KeyPath | None = None

    def __str__(self) -> str:
        parts: list[str] = []
        step: KeyPath | None = self
        while step is not None:
            parts.append(f"[{step.key}]" if isinstance(step.key, int) else f".{step.key}")
            step = step.parent
        return "".join(reversed(parts)).removeprefix(".")


class Node(NamedTuple):
    """A value as written. `place` is that of its key where it has one. Only the member that fits `kind` is filled.

    `plain`: a scalar that a YAML file holds without quotes, so that YAML may take it for a number or a switch.
    """

    kind: Kind
    place: Place
    path: KeyPath | None = None
    text: str = ""
    entries: tuple[tuple[str, Node], ...] = ()
    elements: tuple[Node, ...] = ()
    plain: bool = False

    def get(self, key: str) -> Node | None:
        """The value of `key`; None where there is none, or where this is no mapping."""
        return next((node for name, node in self.entries if name == key), None)

    def find(self, dotted: str) -> Node | None:
        """The value of a dotted key ("retry_settings.timeout"), or None."""
        node: Node | None = self
        for key in dotted.split("."):
            node = node.get(key) if node is not None else None
        return node

    @property
    def key(self) -> str:
        return str(self.path) if self.path is not None else ""

    @property
    def from_set(self) -> bool:
        """Was this written on the command line, by --set?"""
        return self.place.source == SET_SOURCE

    @property
    def source(self) -> str:
        """Where this value comes from, in words: `deployment.yml:14 settings.mini_batch_size`, `--timeout`."""
        return f"{self.place.where} {self.key}" if self.path is not None else self.place.where

    def problem(self, what: str, remedy: str = "", *, field: str = "") -> Problem:
        """A problem at this node's place."""
        return Problem(where=self.place.where, key=self.key, what=what, remedy=remedy, field=field)


class Tree(NamedTuple):
    """What a reader made of a file: the root (a mapping), or None and the reasons; problems may come with both."""

    root: Node | None
    problems: tuple[Problem, ...] = ()


def scalar(source: str, text: str) -> Node:
    """A value that was not written in a file: the text of a flag or of an environment variable."""
    return Node(Kind.SCALAR, Place(source), text=text)


def listed(source: str, texts: Iterable[str]) -> Node:
    """A list of such values."""
    return Node(Kind.LIST, Place(source), elements=tuple(scalar(source, text) for text in texts))


def empty(source: str) -> Node:
    """A mapping without keys: the tree of a spec that has no file of settings."""
    return Node(Kind.MAPPING, Place(source))


def moved(node: Node, path: KeyPath | None) -> Node:
    """The node and all below it at another path; places stay. The caller has capped size and depth."""
    return node._replace(
        path=path,
        entries=tuple((name, moved(child, KeyPath(name, path))) for name, child in node.entries),
        elements=tuple(moved(child, KeyPath(index, path)) for index, child in enumerate(node.elements)),
    )


def overridden(root: Node, assignment: str) -> Node:
    """The tree with one `dotted.key=value` of --set applied; mappings are made as needed. Raises Wrong."""
    dotted, equals, text = assignment.partition("=")
    keys = dotted.strip().split(".")
    if not equals:
        raise Wrong(f"{quoted(dotted)} has no value", "Write --set dotted.key=value")
    if not all(keys) or len(keys) > MAX_DEPTH:
        raise Wrong(f"{quoted(dotted)} is no dotted key", "Write --set dotted.key=value")
    return _with(root, keys, Node(Kind.SCALAR, Place(SET_SOURCE), text=text))


def _with(parent: Node, keys: list[str], leaf: Node) -> Node:
    key, rest = keys[0], keys[1:]
    path = KeyPath(key, parent.path)
    if not rest:
        child = leaf._replace(path=path)
    else:
        old = parent.get(key)
        if old is None or old.kind is not Kind.MAPPING:  # a scalar gives way: model: azureml:x:1, --set model.path=...
            old = Node(Kind.MAPPING, Place(SET_SOURCE), path)
        child = _with(old, rest, leaf)
    entries = tuple(entry for entry in parent.entries if entry[0] != key)
    return parent._replace(entries=(*entries, (key, child)))


def unknown_keys(mapping: Node, known: Iterable[str]) -> Iterator[Problem]:
    """A problem for every key of the mapping that is not among the known ones."""
    names = tuple(known)
    allowed = frozenset(names)
    for name, node in mapping.entries:
        if name not in allowed:
            hint = did_you_mean(name, names)
            yield node.problem("unknown key", hint[:1].upper() + hint[1:] or "Remove it")
