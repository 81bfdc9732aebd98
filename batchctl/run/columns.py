"""The columns of a csv run: the first rows fix them; other columns fail their mini-batch instead of shifting cells."""

from __future__ import annotations

from collections.abc import Callable

from batchctl.model.outcome import Failure, FailureKind


class Columns:
    """What each worker's rows look like, held against those of the run. `fixed`: what an earlier epoch has fixed, b""
    for nothing yet; `fix` is told once what the columns are."""

    def __init__(self, fixed: bytes, *, fix: Callable[[bytes], None]) -> None:
        self._fixed = fixed
        self._fix = fix
        self._seen: dict[int, bytes] = {}  # by incarnation

    def seen(self, incarnation: int, header: bytes) -> None:
        """The rows that follow from this worker have this header."""
        self._seen[incarnation] = header

    def gone(self, incarnation: int) -> None:
        """It will send no more."""
        self._seen.pop(incarnation, None)

    def concern(self, incarnation: int) -> bool:
        """Has this worker rows with columns at all? Spares a look per result where it has not."""
        return incarnation in self._seen

    def problem(self, incarnation: int) -> Failure | None:
        """Why rows of this worker cannot be taken; None if they can, and then they have fixed the columns."""
        header = self._seen[incarnation]
        if not self._fixed:
            self._fixed = header
            self._fix(header)
        if header == self._fixed:
            return None
        told = f"the columns are {_told(header)}; those of the run are {_told(self._fixed)}"
        return Failure(FailureKind.FAILED, "ColumnsChanged", told, phase="commit")


def _told(header: bytes) -> str:
    return header.decode(errors="replace").strip()
