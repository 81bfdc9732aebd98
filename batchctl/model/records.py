"""What the checkpoint log says happened, as the rest of the program sees it.

`store` reads and writes them as frames, `dispatch` replays them, `report` tells them. Order in the log is the order in
which they were decided; only COMMIT, FAIL, QUARANTINE and REOPEN change what is left to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure
from batchctl.named_tuple import NamedTuple


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

    @property
    def records(self) -> Sequence[tuple[int, ...]]:
        """As of a group."""
        return (self,)


class CommittedGroup(NamedTuple):
    """Several `Committed` of one frame, in order, as plain tuples of its fields: a long log is replayed without an
    object of ours for each mini-batch."""

    records: Sequence[tuple[int, ...]]


# Fields of such a tuple.
rows_of = itemgetter(Committed._fields.index("n_rows"))
ok_of = itemgetter(Committed._fields.index("ok"))
failed_of = itemgetter(Committed._fields.index("failed"))


class Claimed(NamedTuple):
    """A lease was handed out (written, not synced): what was in flight when a coordinator died."""

    lease: Lease

    @property
    def leases(self) -> Sequence[tuple[int, ...]]:
        """As of a group."""
        return (self.lease,)


class ClaimedGroup(NamedTuple):
    """Several `Claimed` of one frame, in order, as plain tuples of a lease's fields."""

    leases: Sequence[tuple[int, ...]]


class Charged(NamedTuple):
    """An attempt failed, was lost or timed out, and counts against the lease's range."""

    lease: Lease
    failure: Failure


class Quarantined(NamedTuple):
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


class Reopened(NamedTuple):
    """A retry began: `ranges` are open again. `generation` counts these from 1."""

    generation: int
    ranges: tuple[Reopening, ...]


class EpochOpened(NamedTuple):
    """A coordinator began (or resumed) the run. `number` counts from 1; `boot_id` tells machine crashes from others."""

    number: int
    boot_id: str
    version: str
    settings: str  # compact JSON of what is free to change on a resume (workers, timeouts, threshold, ...)


class EpochClosed(NamedTuple):
    """A coordinator left in good order (drained): nothing was in flight."""

    number: int


Commits = Committed | CommittedGroup
Claims = Claimed | ClaimedGroup
Record = Commits | Claims | Charged | Quarantined | Reopened | EpochOpened | EpochClosed
