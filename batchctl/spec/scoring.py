"""The code folder and the scoring script inside it, as both file dialects name them."""

from __future__ import annotations

import os
from pathlib import Path

from batchctl.spec import values
from batchctl.spec.draft import Draft, Rank, Value
from batchctl.spec.nodes import Node
from batchctl.spec.paths import Found, anchored, found, neighbour
from batchctl.spec.problems import Wrong, quoted

_NAMED = 3
_LISTED = 1000


def code_folder(draft: Draft, node: Node, base: Path) -> Path | None:
    """The folder that a key names, or None with a problem."""
    try:
        raw = values.word(node, base)
        if raw.lower().startswith("azureml:"):
            raise Wrong(f"{quoted(raw)} is on Azure", "Name a local folder")
        path = anchored(base, raw)
        kind = found(path)
        if kind is Found.MISSING:
            raise Wrong(f"folder {quoted(raw)} is missing ({path})", neighbour(path) or "Check the path")
        if kind is not Found.FOLDER:
            raise Wrong(f"{quoted(raw)} is {kind}", "Name the folder that holds the script")
    except Wrong as wrong:
        draft.add(node.problem(wrong.what, wrong.remedy))
        return None
    return path


def take_script(draft: Draft, node: Node, *, base: Path, code: Path | None, code_source: str) -> None:
    """Put `script` and `code` into the draft, or the problem that stands against them.

    With a code folder the script's path is against it and must stay inside; without one it is against `base`, and its
    own folder becomes the code folder.
    """
    try:
        raw = values.word(node, base)
        script = anchored(base if code is None else code, raw)
        if code is None:
            code = script.parent
        elif not script.is_relative_to(code.resolve()):
            raise Wrong(f"{quoted(raw)} is outside the code folder ({code})", "Move it into the folder")
        check_script(script, raw)
    except Wrong as wrong:
        draft.add(node.problem(wrong.what, wrong.remedy))
        return
    rank = Rank.SET if node.from_set else Rank.FILE
    draft.put("script", Value(script, node.source, rank))
    draft.put("code", Value(code.resolve(), code_source, rank))


def check_script(script: Path, raw: str) -> None:
    """Raise Wrong unless a readable Python file stands there; what is in it, the user's interpreter will say."""
    kind = found(script)
    if kind is Found.MISSING:
        raise Wrong(f"script {quoted(raw)} is missing ({script})", _others(script, raw))
    if kind is not Found.FILE:
        raise Wrong(f"{quoted(raw)} is {kind}", "Name a Python file")
    if script.suffix != ".py":
        raise Wrong(f"{quoted(raw)} is not a .py file", "Name a Python file")
    if not os.access(script, os.R_OK):
        raise Wrong(f"script {quoted(raw)} cannot be read", "Check its permissions")


def _others(script: Path, raw: str) -> str:
    if "\\" in raw:
        return "Write / between folders"
    hint = neighbour(script)
    if hint:
        return hint
    try:
        entries = [entry.name for _, entry in zip(range(_LISTED), script.parent.iterdir(), strict=False)]
    except OSError:
        return "Check the path"
    names = sorted(name for name in entries if name.endswith(".py"))[:_NAMED]
    return f"The folder holds {', '.join(quoted(name) for name in names)}" if names else "Check the path"
