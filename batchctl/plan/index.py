"""From a folder's path back to the names planned in it, over a plan file or over one that is being built."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Protocol

from batchctl.named_tuple import NamedTuple


class Sliceable(Protocol):
    """bytearray, memoryview or mmap: what names lie in."""

    def __getitem__(self, part: slice, /) -> bytes | bytearray | memoryview: ...


class Columns(NamedTuple):
    """The name columns of a plan, as in the layout of guest/plan_map.py; bytes columns start at their own zero."""

    folder_at: Sequence[int]
    folder_bytes: Sliceable
    run_firsts: Sequence[int]
    run_folders: Sequence[int]
    name_at: Sequence[int]
    name_bytes: Sliceable


class FolderIndex:
    """Names planned per folder, found on demand: a dict entry per folder, and the names of the last folder asked for.

    `runs` bounds what is indexed: runs appended to the columns later are not seen.
    """

    def __init__(self, columns: Columns, *, runs: int) -> None:
        self._columns = columns
        self._runs: dict[bytes, list[int]] = {}
        for run in range(runs):
            folder = columns.run_folders[run]
            low, high = columns.folder_at[folder], columns.folder_at[folder + 1]
            self._runs.setdefault(bytes(columns.folder_bytes[low:high]), []).append(run)
        self._last: bytes | None = None
        self._names: frozenset[bytes] = frozenset()

    def folders(self) -> Iterable[bytes]:
        """All that hold planned files."""
        return self._runs.keys()

    def names(self, folder: bytes) -> frozenset[bytes]:
        """Base names planned in `folder`, as a set."""
        if folder != self._last:
            columns = self._columns
            found: list[bytes] = []
            for run in self._runs.get(folder, ()):
                first, end = columns.run_firsts[run], columns.run_firsts[run + 1]
                start = columns.name_at[first]
                joined = bytes(columns.name_bytes[start : columns.name_at[end]])
                cuts = [at - start for at in columns.name_at[first : end + 1]]
                found += [joined[low:high] for low, high in pairwise(cuts)]
            self._last, self._names = folder, frozenset(found)
        return self._names


def path_of(folder: bytes, name: bytes) -> str:
    return os.fsdecode(folder.rstrip(b"/") + b"/" + name)
