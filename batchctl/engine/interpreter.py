"""Which Python runs the script. First that applies: asked for, an active environment, our own."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from batchctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An absolute path, and in words why it was chosen."""

    path: str
    reason: str


def choose_interpreter(requested: str | None, environ: Mapping[str, str], *, source: str = "--python") -> Interpreter:
    """The interpreter for the script: `requested`, else VIRTUAL_ENV, else CONDA_PREFIX, else the one we run in.

    `requested` may be a path to an executable, a name on PATH, or an environment's folder. Symlinks are not resolved:
    a virtual environment is recognised by the path it is called by. Raises UsageError naming what was looked at.
    """
    if requested:
        path = _executable(requested)
        if path is None:
            raise UsageError(
                f"no Python interpreter at {requested!r}",
                where=source,
                remedy="give the path of a python executable, of an environment's folder, or a name on PATH",
            )
        return Interpreter(path, f"asked for ({source})")
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        folder = environ.get(name)
        if folder:
            path = _executable(folder)
            if path is not None:
                return Interpreter(path, f"the active environment ({name})")
    return Interpreter(sys.executable, "batchctl's own Python (nothing else was asked for)")


def _executable(text: str) -> str | None:
    path = Path(text).expanduser()
    for candidate in (path, path / "bin" / "python3", path / "bin" / "python"):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(Path.cwd() / candidate)  # absolute, yet not resolved
    if "/" not in text:
        return shutil.which(text)
    return None
