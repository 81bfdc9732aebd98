"""YAML text to a tree of nodes, from the parser's events: no object is ever constructed from a tag.

The tree is built with a stack of our own, so nesting costs no recursion; aliases are copied in under a cap on the
expanded count, so a bomb is refused before it is unfolded. Merge keys (`<<`) are honoured: Azure's own loader does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from batchctl.spec.nodes import MAX_DEPTH, MAX_NODES, KeyPath, Kind, Node, Place, Tree, moved
from batchctl.spec.problems import Problem, quoted

_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))
_MAX_KEY = 1024

# The parser's words, and what to do about them.
_REMEDIES = (
    ("mapping values are not allowed", "Check the indentation, or quote a value that contains `: `"),
    ("could not find expected ':'", "Every line of a mapping is `key: value`"),
    ("did not find expected key", "Check the indentation and the quotes on the lines above"),
    ("did not find expected '-'", "Check the indentation of the list"),
    ("cannot start any token", "Quote the value, or indent with spaces"),
    ("undefined alias", "Define the anchor (&name) before its alias (*name)"),
    ("unexpected end of stream", "Close the quote"),
)


class _Malformed(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem = problem


class _Open:
    """A mapping or list whose end has not been seen; `key` is the key that waits for its value."""

    def __init__(self, kind: Kind, place: Place, path: KeyPath | None, anchor: str | None) -> None:
        self.kind = kind
        self.place = place
        self.path = path
        self.anchor = anchor
        self.entries: dict[str, Node] = {}
        self.elements: list[Node] = []
        self.merges: list[Node] = []
        self.key: str | None = None
        self.key_place: Place | None = None
        self.merging = False


def read_yaml(text: str, shown: str) -> Tree:
    """The tree of the one document in the text. Syntax errors come as problems with file:line:column; never raises."""
    import yaml

    builder = _Builder(shown)
    loader: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    try:
        builder.build(yaml.parse(text, Loader=loader))
    except _Malformed as malformed:
        return Tree(None, (*builder.problems, malformed.problem))
    except yaml.MarkedYAMLError as error:
        return Tree(None, (*builder.problems, _syntax(error, text, shown)))
    except yaml.YAMLError as error:
        return Tree(None, (Problem(shown, f"is not YAML: {str(error).splitlines()[0]}", "Check the file"),))
    root = builder.root
    if root is None or root.kind is Kind.NULL:
        return Tree(None, (Problem(shown, "is empty", "Write a deployment into it, or give another file"),))
    if root.kind is not Kind.MAPPING:
        return Tree(None, (root.problem("holds no `key: value` lines", "Give a deployment.yml"),))
    return Tree(root, tuple(builder.problems))


class _Builder:
    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._count = 0
        self._documents = 0

    def build(self, events: Iterator[Any]) -> None:
        import yaml

        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    raise self._malformed(event, "a second document begins here", "Keep one document in the file")
            elif isinstance(event, yaml.AliasEvent):
                # Only an alias needs new paths: every other node was made at its own.
                self._add(moved(self._aliased(event), self._next_path()), self._place(event))
            elif isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._start(event, Kind.MAPPING if isinstance(event, yaml.MappingStartEvent) else Kind.LIST)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end()

    def _place(self, event: Any) -> Place:
        return Place(self.shown, event.start_mark.line + 1, event.start_mark.column + 1)

    def _malformed(self, event: Any, what: str, remedy: str) -> _Malformed:
        place = self._place(event)
        return _Malformed(Problem(f"{place.where}:{place.column}", what, remedy))

    def _counted(self, event: Any, nodes: int) -> None:
        self._count += nodes
        if self._count > MAX_NODES:
            raise self._malformed(event, f"more than {MAX_NODES:,} values, aliases unfolded", "Remove the aliases")

    def _aliased(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            what = f"alias {quoted('*' + event.anchor)} stands inside its own anchor or before it"
            raise self._malformed(event, what, "Define the anchor (&name) before its alias (*name)")
        size, depth = _measured(node)
        self._counted(event, size)
        self._deep(event, len(self._stack) + depth)
        return node

    def _deep(self, event: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._malformed(event, f"nested more than {MAX_DEPTH} deep", "Flatten it")

    def _checked_tag(self, event: Any) -> None:
        if event.tag not in (None, "!") and event.tag not in _TAGS:
            raise self._malformed(event, f"tag {quoted(event.tag)} is not allowed", "Remove the tag")

    def _scalar(self, event: Any) -> None:
        self._counted(event, 1)
        self._checked_tag(event)
        place = self._place(event)
        top = self._stack[-1] if self._stack else None
        if top is not None and top.kind is Kind.MAPPING and top.key is None and not top.merging:
            self._key(event, top)
            return
        null = event.value in _NULLS and (event.implicit[0] or event.tag == "tag:yaml.org,2002:null")
        kind = Kind.NULL if null else Kind.SCALAR
        text = "" if null else event.value
        plain = bool(event.implicit[0])
        self._add(Node(kind, place, self._next_path(), text=text, plain=plain), place, anchor=event.anchor)

    def _key(self, event: Any, top: _Open) -> None:
        if event.value == "<<" and event.implicit[0]:
            top.merging = True
            return
        if len(event.value) > _MAX_KEY:
            raise self._malformed(event, "a key longer than 1024 characters", "Shorten it")
        top.key, top.key_place = event.value, self._place(event)

    def _start(self, event: Any, kind: Kind) -> None:
        self._counted(event, 1)
        self._checked_tag(event)
        self._deep(event, len(self._stack) + 1)
        top = self._stack[-1] if self._stack else None
        if top is not None and top.kind is Kind.MAPPING and top.key is None and not top.merging:
            raise self._malformed(event, "a key must be one word, not a list or mapping", "Quote the key")
        self._stack.append(_Open(kind, self._place(event), self._next_path(), event.anchor))

    def _next_path(self) -> KeyPath | None:
        """The path of the node that comes next; None at the root."""
        if not self._stack:
            return None
        top = self._stack[-1]
        if top.kind is Kind.LIST:
            return KeyPath(len(top.elements), top.path)
        return KeyPath("<<" if top.key is None else top.key, top.path)

    def _end(self) -> None:
        done = self._stack.pop()
        for merged in done.merges:
            for name, node in merged.entries:
                done.entries.setdefault(name, moved(node, KeyPath(name, done.path)))
        entries = tuple(done.entries.items())
        node = Node(done.kind, done.place, done.path, entries=entries, elements=tuple(done.elements))
        self._add(node, done.place, anchor=done.anchor)

    def _add(self, node: Node, place: Place, *, anchor: str | None = None) -> None:
        """Put a finished node where it belongs: the waiting key, the list, or the root."""
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        if top.merging:
            self._merge(top, node, place)
            return
        if top.kind is Kind.LIST:
            top.elements.append(node)
            return
        if top.key is None or top.key_place is None:
            raise _Malformed(Problem(f"{place.where}:{place.column}", "an alias as a key", "Write the key out"))
        key, key_place = top.key, top.key_place
        top.key = top.key_place = None
        node = node._replace(place=key_place)
        first = top.entries.get(key)
        if first is not None:
            what = f"given twice: first on line {first.place.line}, again on line {key_place.line}"
            self.problems.append(node.problem(what, "Keep one of them"))
            return
        top.entries[key] = node

    def _merge(self, top: _Open, node: Node, place: Place) -> None:
        top.merging = False
        mappings = node.elements if node.kind is Kind.LIST else (node,)
        if not all(mapping.kind is Kind.MAPPING for mapping in mappings):
            what = "`<<` merges mappings only"
            raise _Malformed(Problem(f"{place.where}:{place.column}", what, "Write the keys out"))
        top.merges.extend(mappings)


def _measured(node: Node) -> tuple[int, int]:
    """Nodes and levels of a finished tree; its depth is capped, so recursion is safe."""
    size, depth = 1, 0
    for child in (*(entry[1] for entry in node.entries), *node.elements):
        below, levels = _measured(child)
        size, depth = size + below, max(depth, levels)
    return size, depth + (node.kind in (Kind.MAPPING, Kind.LIST))


def _syntax(error: Any, text: str, shown: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    what = str(error.problem or error.context or "not YAML")
    if mark is None:
        return Problem(shown, f"YAML syntax: {what}", "Check the file")
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    where = f"{shown}:{mark.line + 1}:{mark.column + 1}"
    if "\t" in line[: len(line) - len(line.lstrip())] or line[mark.column : mark.column + 1] == "\t":
        return Problem(where, "a tab in the indentation", "YAML is indented with spaces")
    remedy = next((advice for words, advice in _REMEDIES if words in what), "Check this line and the one above")
    return Problem(where, f"YAML syntax: {what}", remedy)
