"""Paths named in a spec: made absolute against the right folder, and looked at without raising."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from pathlib import Path

from batchctl.spec.problems import Wrong, did_you_mean, quoted

_LISTED = 1000


class Found(StrEnum):
    """What stands at a path."""

    FILE = "a file"
    FOLDER = "a folder"
    MISSING = "missing"
    OTHER = "neither a file nor a folder"


def anchored(base: Path, text: str) -> Path:
    """The path as absolute: against `base`, `~` expanded, parents resolved but the last name kept. Raises Wrong.

    The last name is kept because it is visible: scripts find a model by the base name of its path, and a link named
    `model` must not become `model-v3`.
    """
    if not text:
        raise Wrong("an empty path", "Name a file or folder")
    try:
        path = base / Path(text).expanduser()
        if path.name in ("", ".."):
            return path.resolve()
        return path.parent.resolve() / path.name
    except (OSError, ValueError, RuntimeError) as error:  # NUL, a loop of links, an unknown ~user
        raise Wrong(f"{quoted(text)} is no usable path", "Check the path") from error


def found(path: Path) -> Found:
    """What stands there, links followed; what cannot be looked at counts as missing."""
    try:
        if path.is_file():
            return Found.FILE
        if path.is_dir():
            return Found.FOLDER
        return Found.OTHER if path.exists() else Found.MISSING
    except (OSError, ValueError):
        return Found.MISSING


def neighbour(path: Path) -> str:
    """`did you mean "x"?` from the names beside a missing path, or an empty string."""
    with contextlib.suppress(OSError, ValueError):
        return f"It is a link to {quoted(str(path.readlink()))}"  # the name is there, and what it leads to is not
    try:
        names = [entry.name for _, entry in zip(range(_LISTED), path.parent.iterdir(), strict=False)]
    except (OSError, ValueError):
        return ""
    hint = did_you_mean(path.name, names)
    return hint[:1].upper() + hint[1:]
