"""What the checkpoint log says happened, as the rest of the program sees it.

`store` reads and writes them as frames, `dispatch` replays them, `report` tells them. Order in the log is the order in
which they were decided; only COMMIT, FAIL, QUARANTINE and REOPEN change what is left to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure


class Committed(NamedTuple):
    """The rows of one successful attempt count: `length` bytes at `offset` of the rows file, with their CRC-32."""

    batch: int
    first: int
    count: int  # type: ignore[assignment]  # shadows tuple.count, which nobody calls on a record
    attempt: int
    offset: int
    length: int
    crc: int
    n_rows: int
    ok: int
    failed: int


class Claimed(NamedTuple):
    """A lease was handed out (written, not synced): what was in flight when a coordinator died."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Charged:
    """An attempt failed, was lost or timed out, and counts against the lease's range."""

    lease: Lease
    failure: Failure


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Items given up on: `lease` is the range and its last attempt, with the last failure."""

    lease: Lease
    failure: Failure


class Reopening(NamedTuple):
    """A range that was concluded, exactly as the log had it, and is to be scored again. `ok` + `failed` is 0 for one
    that was quarantined, `count` for a commit, whose `n_rows` rows no longer count."""

    batch: int
    first: int
    count: int  # type: ignore[assignment]  # shadows tuple.count, which nobody calls on a record
    n_rows: int
    ok: int
    failed: int


@dataclass(frozen=True, slots=True)
class Reopened:
    """A retry began: `ranges` are open again. `generation` counts these from 1."""

    generation: int
    ranges: tuple[Reopening, ...]


@dataclass(frozen=True, slots=True)
class EpochOpened:
    """A coordinator began (or resumed) the run. `number` counts from 1; `boot_id` tells machine crashes from others."""

    number: int
    boot_id: str
    version: str
    settings: str  # compact JSON of what is free to change on a resume (workers, timeouts, threshold, ...)


@dataclass(frozen=True, slots=True)
class EpochClosed:
    """A coordinator left in good order (drained): nothing was in flight."""

    number: int


Record = Committed | Claimed | Charged | Quarantined | Reopened | EpochOpened | EpochClosed
