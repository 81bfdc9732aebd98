"""`${{inputs.x}}` and `${{outputs.y}}` of a parallel job: what they stand for on this machine.

An input stands for its local path, made absolute, or for its literal value. An output stands for the folder that a
worker's own files go to (`OUTPUT_FOLDER`, which the worker fills in), a `uri_file` for a file in it.
"""

from __future__ import annotations

import re
from pathlib import Path

from batchctl.model.job import OUTPUT_FOLDER
from batchctl.spec.nodes import Kind, Node
from batchctl.spec.paths import Found, anchored, found, neighbour
from batchctl.spec.problems import Problem, Wrong, did_you_mean, quoted

# Neither may look past the next opening bracket, or a hostile file could make the search quadratic.
_BINDING = re.compile(r"\$\{\{([^{}]*)\}\}")
_OPTIONAL = re.compile(r"\$\[\[([^\[\]]*)\]\]")
_REMOTE = ("azureml:", "http://", "https://", "wasbs://", "abfss://", "adl://")


class Bindings:
    """The inputs and outputs of one job; `base` is the folder of its file. `used` are the names that were asked for."""

    def __init__(self, root: Node, *, base: Path) -> None:
        self._inputs = root.get("inputs")
        self._outputs = root.get("outputs")
        self._base = base
        self.used: set[str] = set()

    def input_of(self, text: str) -> tuple[str, Node]:
        """The input that a lone `${{inputs.x}}` names. Raises Wrong."""
        return self._one(text, "inputs", self._inputs)

    def output_of(self, text: str) -> tuple[str, Node]:
        """The output that a lone `${{outputs.y}}` names. Raises Wrong."""
        return self._one(text, "outputs", self._outputs)

    def local_path(self, node: Node) -> Path | None:
        """The path of an input on this machine; None where it has none, or one that is not local. Raises Wrong."""
        path = node.get("path") if node.kind is Kind.MAPPING else node
        if path is None or path.kind is not Kind.SCALAR or is_remote(path.text) or is_bound(path.text):
            return None
        return anchored(self._base, path.text.removeprefix("file:"))

    def compact(self, text: str) -> str:
        """The text with each binding in one word, and optional parts (`$[[...]]`) resolved, before it is split."""
        text = _OPTIONAL.sub(lambda match: match[1] if self._all_given(match[1]) else "", text)
        return _BINDING.sub(lambda match: "${{" + "".join(match[1].split()) + "}}", text)

    def resolved(self, word: str) -> str:
        """The word with every binding in it replaced. Raises Wrong."""
        return _BINDING.sub(lambda match: self._value(match[1].strip()), word)

    def _one(self, text: str, side: str, block: Node | None) -> tuple[str, Node]:
        match = _BINDING.fullmatch(text.strip())
        if match is None or not match[1].strip().startswith(f"{side}."):
            raise Wrong(f"{quoted(text)} names none of the {side}", f"Write ${{{{{side}.NAME}}}}")
        return self._named(match[1].strip(), block)

    def _named(self, dotted: str, block: Node | None) -> tuple[str, Node]:
        side, _, name = dotted.partition(".")
        node = block.get(name) if block is not None else None
        if node is None:
            known = [entry for entry, _ in block.entries] if block is not None else []
            hint = did_you_mean(name, known)
            raise Wrong(
                f"there is no {quoted(dotted)}", hint[:1].upper() + hint[1:] or f"Write {quoted(name)} below {side}"
            )
        self.used.add(dotted)
        return name, node

    def _all_given(self, text: str) -> bool:
        names = [match[1].strip() for match in _BINDING.finditer(text)]
        names = [name for name in names if name.startswith("inputs.")]
        block = self._inputs
        nodes = [block.get(name.partition(".")[2]) if block is not None else None for name in names]
        self.used.update(name for name, node in zip(names, nodes, strict=True) if node is not None)
        return all(node is not None and _literal(node) is not None for node in nodes)

    def _value(self, dotted: str) -> str:
        if dotted.startswith("inputs."):
            name, node = self._named(dotted, self._inputs)
            return self._input(name, node)
        if dotted.startswith("outputs."):
            name, node = self._named(dotted, self._outputs)
            kind = node.get("type")
            is_file = kind is not None and kind.text.strip().lower() == "uri_file"
            return f"{OUTPUT_FOLDER}/{file_of(node) or name}" if is_file else OUTPUT_FOLDER
        raise Wrong(f"{quoted('${{' + dotted + '}}')} is not known here", "Use ${{inputs.NAME}} or ${{outputs.NAME}}")

    def _input(self, name: str, node: Node) -> str:
        given = _literal(node)
        if given is None:
            raise Wrong(f"input {quoted(name)} has neither a path nor a value", f"Give --set inputs.{name}.path=PATH")
        if given.kind is not Kind.SCALAR:
            raise Wrong(f"input {quoted(name)} is no single value", "Write one value")
        if is_bound(given.text):
            raise Wrong(f"input {quoted(name)} is bound by a pipeline", f"Give its value: --set inputs.{name}=VALUE")
        if is_remote(given.text):
            what = f"input {quoted(name)} is on Azure, and nothing is downloaded"
            raise Wrong(what, f"Give a local copy: --set inputs.{name}.path=PATH")
        path = self.local_path(node) if given is node.get("path") else None
        if path is None:
            return given.text
        if found(path) is Found.MISSING:
            raise Wrong(f"input {quoted(name)} is missing ({path})", neighbour(path) or "Check the path")
        return str(path)


def _literal(node: Node) -> Node | None:
    """What an input was given: its path, its value or default, or itself where it is no mapping."""
    if node.kind is not Kind.MAPPING:
        return None if node.kind is Kind.NULL else node
    return next((node.get(key) for key in ("path", "value", "default") if node.get(key) is not None), None)


def is_remote(text: str) -> bool:
    """Is this the address of something that is not on this machine?"""
    return text.strip().lower().startswith(_REMOTE)


def is_bound(text: str) -> bool:
    """Is this a binding, which a pipeline would fill in?"""
    return text.lstrip().startswith("${{")


def file_of(output: Node) -> str:
    """The base name of an output's path where that names a file (it has a suffix, or the output is a uri_file)."""
    path, kind = output.get("path"), output.get("type")
    if path is None or path.kind is not Kind.SCALAR or path.text.endswith("/"):
        return ""
    name = path.text.rpartition("/")[2]
    is_file = kind is not None and kind.text.strip().lower() == "uri_file"
    return name if "${{" not in name and (is_file or "." in name.strip(".")) else ""


def problem_of(node: Node, wrong: Wrong, *, field: str = "") -> Problem:
    """What is wrong with a binding, at the node that holds it."""
    return node.problem(wrong.what, wrong.remedy, field=field)
