"""Files that several mini-batches write: kept as pieces in `parts/` until the finish makes one file of them.

    parts/<mini-batch>.<first item>/<path>     the piece of one committed attempt
    parts/whole/<path>                         a file being assembled (end of a run only)

A piece is announced by a PART frame and moved there before its COMMIT, as a published file is moved to OUT.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from batchctl.model.lease import Lease
from batchctl.model.outcome import StagedFile
from batchctl.named_tuple import NamedTuple

WHOLE = "whole"


class Piece(NamedTuple):
    """What one attempt wrote to a name; pieces sort in plan order."""

    first: int  # item
    batch: int
    size: int
    sha256: str

    @property
    def folder(self) -> str:
        """Its folder in `parts/`."""
        return folder_of(self.batch, self.first)


class Whole(NamedTuple):
    """A file as it is in OUT, or is about to be."""

    path: str
    size: int
    sha256: str


def folder_of(batch: int, first: int) -> str:
    return f"{batch}.{first}"


class Parts:
    """Pieces by name, and which names have been assembled: for good, once ASSEMBLED says so."""

    __slots__ = ("_pieces", "wholes")

    def __init__(self) -> None:
        self._pieces: dict[str, dict[int, Piece]] = {}
        self.wholes: dict[str, Whole] = {}

    def add(self, lease: Lease, files: Sequence[StagedFile], *, digests: Sequence[str]) -> None:
        """Count what an attempt wrote; ValueError for what cannot be."""
        if self.wholes:
            raise ValueError("a piece of a file after files were assembled")
        for file, digest in zip(files, digests, strict=True):
            pieces = self._pieces.setdefault(file.path, {})
            if lease.first in pieces:
                raise ValueError(f"item {lease.first} has two pieces of {file.path!r}")
            pieces[lease.first] = Piece(lease.first, lease.batch, file.size, digest)

    def assembled(self, wholes: Iterable[Whole]) -> None:
        """These are sealed; ValueError for what cannot be."""
        for whole in wholes:
            if whole.path not in self._pieces or whole.path in self.wholes:
                raise ValueError(f"{whole.path!r} is assembled from nothing, or twice")
            self.wholes[whole.path] = whole

    @property
    def names(self) -> list[str]:
        return sorted(self._pieces)

    @property
    def complete(self) -> bool:
        """Is every name assembled?"""
        return len(self.wholes) == len(self._pieces)

    @property
    def batches(self) -> set[int]:
        """Mini-batches that wrote pieces."""
        return {piece.batch for pieces in self._pieces.values() for piece in pieces.values()}

    def pieces(self, name: str) -> list[Piece]:
        """In plan order."""
        return sorted(self._pieces[name].values())
