"""Which Python runs the script. First that applies: asked for, an active environment, our own.

Our own is, from source, the one that we run in. In the packaged file it is the file itself, asked to be a Python: it
has what was bundled and nothing else; the packages of an environment are never mixed in.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from batchctl import frozen
from batchctl.errors import UsageError
from batchctl.named_tuple import NamedTuple

_EMBEDDED = "embedded"


class Interpreter(NamedTuple):
    """An absolute path, and in words why it was chosen. It is called as `path *arguments FILE ...`."""

    path: str
    reason: str
    arguments: tuple[str, ...] = ()

    @property
    def embedded(self) -> bool:
        """Is it the one in the packaged file?"""
        return bool(self.arguments)

    @property
    def shown(self) -> str:
        """What people are told; the embedded one lies in a cache folder, whose path says nothing to them."""
        return "batchctl's own Python" if self.embedded else self.path

    @property
    def lasting(self) -> str:
        """What a run remembers of it: for the embedded one no path, so that a later build may resume."""
        return _EMBEDDED if self.embedded else self.path


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
    if frozen.is_frozen():
        return Interpreter(sys.executable, "embedded; nothing else was asked for", (frozen.EMBEDDED,))
    return Interpreter(sys.executable, "batchctl's own Python (nothing else was asked for)")


def _executable(text: str) -> str | None:
    # os.path's, because Path's raise: for a user that is not known, for a folder that may not be looked at.
    path = Path(os.path.expanduser(text))  # noqa: PTH111
    for candidate in (path, path / "bin" / "python3", path / "bin" / "python"):
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):  # noqa: PTH113
            return str(Path.cwd() / candidate)  # absolute, yet not resolved
    if "/" not in text:
        import shutil  # with its archives 8 ms, and a name on PATH is rare

        return shutil.which(text)
    return None
