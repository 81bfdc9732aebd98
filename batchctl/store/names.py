"""Which attempt has which name in OUT: a name is a file's or a folder's, never both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from batchctl.model.lease import Lease


class Names:
    """Names of scripts' files, relative to OUT, each with the first attempt that wrote it."""

    __slots__ = ("_files", "_folders")

    def __init__(self) -> None:
        self._files: dict[str, Lease] = {}
        self._folders: dict[str, Lease] = {}

    def add(self, path: str, lease: Lease) -> Lease:
        """Whose the name is from now on: the first one's."""
        for folder in _folders_of(path):
            self._folders.setdefault(folder, lease)
        return self._files.setdefault(path, lease)

    @property
    def batches(self) -> set[int]:
        """Mini-batches that wrote some of them first."""
        return {lease.batch for lease in self._files.values()}

    def in_the_way(self, path: str, *, shared: bool) -> Lease | None:
        """Who makes it impossible to place a file there. `shared`: other attempts may write the same file."""
        if path in self._folders:
            return self._folders[path]
        names: Sequence[str] = _folders_of(path) if shared else (path, *_folders_of(path))
        return next((self._files[name] for name in names if name in self._files), None)


def _folders_of(path: str) -> tuple[str, ...]:
    return tuple(str(parent) for parent in PurePosixPath(path).parents)[:-1]
