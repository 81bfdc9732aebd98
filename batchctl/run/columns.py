"""The columns of a csv or parquet run: the first rows fix them; other columns fail their mini-batch instead of shifting
cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import reduce

from batchctl.model.column_types import Columns as Types
from batchctl.model.column_types import DriftError, parse_kinds, unify
from batchctl.model.outcome import Failure, FailureKind, Scored


class _Headers(ABC):
    """What each worker has said of the rows that follow: a csv header, or the kinds of its blocks (`parse_kinds`)."""

    def __init__(self) -> None:
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

    def told_apart(
        self, incarnation: int, found: Sequence[Scored]
    ) -> tuple[list[Scored], list[tuple[Scored, Failure]]]:
        """Of results of this worker those that can be taken, and those that cannot, with the reason."""
        problem = self.problem(incarnation) if any(scored.length for scored in found) else None
        if problem is None:  # nearly always: no look at each
            return list(found), []
        return [one for one in found if not one.length], [(one, problem) for one in found if one.length]

    @abstractmethod
    def problem(self, incarnation: int) -> Failure | None:
        """Why rows of this worker cannot be taken; None if they can, and then they have fixed the columns."""


class Columns(_Headers):
    """What each worker's rows look like, held against those of the run. `fixed`: what an earlier epoch has fixed, b""
    for nothing yet; `fix` is told once what the columns are."""

    def __init__(self, fixed: bytes, *, fix: Callable[[bytes], None]) -> None:
        super().__init__()
        self._fixed = fixed
        self._fix = fix

    def problem(self, incarnation: int) -> Failure | None:
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


class ColumnTypes(_Headers):
    """The same for the columns of a table and their types. The first rows fix the names, and the types of columns that
    are not all null; others are fixed by the first rows that have a value there. `fixed`: () for nothing yet; `fix` is
    told whenever more is known."""

    def __init__(self, fixed: Types, *, fix: Callable[[Types], None]) -> None:
        super().__init__()
        self._fixed = fixed
        self._fix = fix
        self._right: set[bytes] = set()  # what has been found right stays right: what is fixed only becomes more

    def problem(self, incarnation: int) -> Failure | None:
        header = self._seen[incarnation]
        if header in self._right:
            return None
        try:
            kinds = parse_kinds(header)
            found = reduce(unify, kinds, self._fixed or kinds[0])
        except DriftError as error:
            return Failure(FailureKind.FAILED, "ColumnsChanged", _drift(error), phase="commit")
        except (ValueError, IndexError) as error:
            return Failure(FailureKind.FAILED, "ContractError", f"column types: {error}", phase="commit")
        if found != self._fixed:
            self._fixed = found
            self._fix(found)
        self._right.add(header)
        return None


# What to write in frame.astype for some of Arrow's types.
_DTYPES = {"double": "float64", "float": "float32", "bool": "bool", "string": "str"}


def _drift(error: DriftError) -> str:
    if not error.column:
        return f"the columns are {error.here}; those of the run are {error.fixed}"
    dtype = _DTYPES.get(error.fixed, error.fixed if error.fixed.lstrip("u").startswith("int") else "")
    column = error.column
    remedy = f"frame.astype({{{column!r}: {dtype!r}}})" if dtype else "frame.astype"
    return (
        f"column {column!r} is {error.here} here; earlier rows of the run have fixed it as {error.fixed}. Give it one "
        f"type in all mini-batches, for example by {remedy}"
    )
