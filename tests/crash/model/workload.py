"""A scripted job small enough to be run fifty thousand times: everything the store does, decided by pure functions.

What a lease yields depends on the lease alone, so any number of crashes must end in the bytes of the undisturbed run.
"""

from __future__ import annotations

import io
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, reduce
from pathlib import Path, PosixPath
from typing import Any

import pyarrow.parquet as pq

from batchctl.guest.arrow_rows import block
from batchctl.model.column_types import Columns, parse_columns, unify
from batchctl.model.job import OnCollision, Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Scored, StagedFile
from batchctl.model.records import Charged, Quarantined, Reopening
from batchctl.store.commit import Group
from batchctl.store.layout import RunLayout
from batchctl.store.ledger import Ledger
from batchctl.store.replay import LogRecords
from batchctl.store.standing import quarantined, short
from tests.doubles.disk import MemoryDisk

RUN_ID = "run-1"
PLAN = b"the plan: not ours to read, ours to keep"
JOB = {"run_id": RUN_ID}
BOUNDS = (0, 3, 4, 8, 10, 11, 13)
COLUMNS = b"item,score\n"
# EPOCH is as long as a frame of three claims: what an older epoch left then stands where a new frame is looked for.
SETTINGS = "{}" + " " * (48 - len('{"boot_id":"b","version":"1","settings":"{}"}'))
FAILURE = Failure(FailureKind.FAILED, "ValueError", "no", "Traceback: no")
NEEDED_ATTEMPTS = {1: 2}  # mini-batch 1 succeeds the second time
RETRIED = 9  # attempts from here on are a retry's
LATE = 11  # the item whose row has a value in a column that is null elsewhere
GUILTY = 6  # the item of mini-batch 2 that never does


class RememberingPath(PosixPath):
    """A path, and all below it, that is made once: every life asks for the same few hundred, some a dozen times."""

    __slots__ = ("_above", "_below")
    _above: tuple[Path, ...]
    _below: dict[Any, RememberingPath]

    def __truediv__(self, name: Any) -> RememberingPath:
        try:
            return self._below[name]
        except AttributeError:
            self._below = {}
        except KeyError:
            pass
        found = self._below[name] = super().__truediv__(name)
        return found

    @property
    def parents(self) -> tuple[Path, ...]:  # type: ignore[override]
        try:
            return self._above
        except AttributeError:
            self._above = tuple(super().parents)
        return self._above

    @property
    def parent(self) -> Path:  # type: ignore[override]
        return (self.parents or (self,))[0]


class RememberingLayout(RunLayout):
    """Every life asks for the same two layouts anew: made each time, their paths were an eighth of all that it does."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._asked: dict[Path | None, RunLayout] = {}

    def at(self, state: Path | None) -> RunLayout:
        if state not in self._asked:
            self._asked[state] = RememberingLayout(self.out, self.output_file_name, rows=self.rows, state=state)
        return self._asked[state]


@dataclass(frozen=True)
class Scenario:
    """A variant of the job: whether rows are written, in which order they end, how leases are grouped."""

    name: str
    rows: bool = True
    order: Order = Order.PLAN
    sequence: tuple[int, ...] = (5, 3, 0, 2, 4, 1)
    group: int = 3
    columns: bytes = COLUMNS
    table: bool = False  # rows are blocks of Arrow's, the result a parquet file
    on_collision: OnCollision = OnCollision.FAIL
    state: bool = False  # a state directory, on another disk as far as anybody can tell
    early: bool = False  # the final file is begun when half is committed
    retry: str = ""  # "finished": once the run is; "open": before its end, when all is concluded

    @cached_property
    def layout(self) -> RunLayout:
        state = RememberingPath("/state/of/job") if self.state else None
        return RememberingLayout(RememberingPath("/data/job/out"), "p.csv", rows=self.rows, state=state)


SCENARIOS = (
    Scenario("out of order"),
    Scenario("in order", sequence=(0, 1, 2, 3, 4, 5), group=1),
    Scenario("order of completion", order=Order.COMPLETION, group=2, columns=b""),
    Scenario("no rows", rows=False, group=2, columns=b""),
    Scenario("a state directory", group=4, state=True),
    Scenario("one file of many", on_collision=OnCollision.APPEND),
    Scenario("the last file wins", rows=False, columns=b"", on_collision=OnCollision.LAST),
    Scenario("retry of a finished run", retry="finished"),
    Scenario("retry, order of completion", order=Order.COMPLETION, group=2, retry="finished"),
    Scenario("retry before the end", sequence=(0, 1, 2, 3, 4, 5), group=2, retry="open"),
    Scenario("a table", columns=b"", table=True),
    Scenario("retry of a table", order=Order.COMPLETION, columns=b"", group=2, table=True, retry="finished"),
    Scenario("begun early", sequence=(0, 1, 2, 3, 4, 5), group=2, early=True),
    Scenario("a table, begun early", columns=b"", group=2, table=True, early=True),
    Scenario("retry, no rows", rows=False, columns=b"", retry="finished"),
)


def to_reopen(records: LogRecords) -> list[Reopening]:
    """What a retry scores again: the item given up, and the mini-batch that returned too little."""
    lacking = [Reopening(one.batch, one.first, one.count, one.n_rows, one.ok, one.failed) for one in short(records)]
    return [Reopening(*record.lease[:3], 0, 0, 0) for record in quarantined(records)] + lacking


def next_leases(
    batch: int, *, ledger: Ledger, charges: Counter[tuple[int, int]], generation: int
) -> list[tuple[Lease, bool]]:
    """What is to be done of a mini-batch: (lease, whether to give it up)."""
    found: list[tuple[Lease, bool]] = []
    if generation:
        return [
            (Lease(batch, first, count, RETRIED + charges[(first, count)]), False)
            for first, count in ledger.open_ranges(batch)
        ]
    for first, count in ledger.open_ranges(batch):
        found += _ranges(
            batch, BOUNDS[batch], BOUNDS[batch + 1] - BOUNDS[batch], charges=charges, low=first, high=first + count
        )
    return found


def _ranges(
    batch: int, first: int, count: int, *, charges: Counter[tuple[int, int]], low: int, high: int
) -> list[tuple[Lease, bool]]:
    if first >= high or first + count <= low:
        return []
    whole = count == BOUNDS[batch + 1] - BOUNDS[batch]
    charged = charges[(first, count)]
    if charged < (2 if whole else 1):
        return [(Lease(batch, first, count, charged + 1), False)]
    if count == 1:
        return [(Lease(batch, first, count, charged), True)]
    half = count // 2
    return _ranges(batch, first, half, charges=charges, low=low, high=high) + _ranges(
        batch, first + half, count - half, charges=charges, low=low, high=high
    )


def fails(lease: Lease) -> bool:
    if lease.attempt >= RETRIED:  # what a retry gives: the guilty item fails once more, then all is well
        return lease.first == GUILTY and lease.attempt == RETRIED + 1
    return lease.first <= GUILTY < lease.first + lease.count or lease.attempt < NEEDED_ATTEMPTS.get(lease.batch, 1)


def score(disk: MemoryDisk, scenario: Scenario, *, lease: Lease, epoch: int) -> Scored:
    """What a worker does and answers; its files are written but never synced by it."""
    layout = scenario.layout
    rows = b"".join(b"%d,%d\n" % (item, item * item) for item in range(lease.first, lease.first + lease.count))
    failed = 1 if lease.batch == 5 and lease.attempt < RETRIED else 0
    if failed:
        rows = rows[: rows.index(b"\n") + 1]
    if scenario.table:
        rows = block_of(lease.first, lease.count - failed)
    if not scenario.rows:
        rows = b""
    crc, length, spill, staged = zlib.crc32(rows), len(rows), "", ""
    files: tuple[StagedFile, ...] = ()
    tag = f"{epoch}.{lease.batch}.{lease.first}.{lease.attempt}"
    if lease.batch == 4 and rows:
        spill = tag
        _write(disk, layout.spill / tag, data=rows)
        rows = b""
    if lease.batch == 3:
        staged = tag
        files = (StagedFile("sub/eight.txt", 9), StagedFile("nine.txt", 8))
        _write(disk, layout.stage / tag / "sub" / "eight.txt", data=b"eight " * 1 + b"888")
        _write(disk, layout.stage / tag / "nine.txt", data=b"nine 999")
    if scenario.on_collision is not OnCollision.FAIL and lease.batch in {2, 3, 5}:
        staged = tag
        line = b"items %d to %d\n" % (lease.first, lease.first + lease.count - 1)
        files = (*files, StagedFile("sub/all.txt", len(line)))
        _write(disk, layout.stage / tag / "sub" / "all.txt", data=line)
    return Scored(
        lease, rows, length, crc, length and lease.count - failed, lease.count - failed, failed, 1, spill, staged, files
    )


@cache
def block_of(first: int, rows: int) -> bytes:
    """A column, `late`, is null but in the rows of one mini-batch."""
    items = range(first, first + rows)
    late = ["late" if item == LATE else None for item in items]
    return block({"item": [*items], "tags": [["t"] * (item % 2) for item in items], "late": late})[0]


@cache
def _types_of(rows: bytes) -> Columns:
    return parse_columns(rows[4 : 4 + int.from_bytes(rows[:4], "little")])


def types_of(scored: Sequence[Scored], *, fixed: Columns) -> Columns:
    """The column types of a table after these."""
    blocks = [block_of(one.lease.first, one.n_rows) for one in scored]
    found = [*([fixed] if fixed else []), *map(_types_of, blocks)]
    return reduce(unify, found) if found else ()


@cache
def in_item_order(table: bytes) -> bytes:
    """The rows of a parquet file as text, sorted."""
    rows = pq.read_table(io.BytesIO(table)).to_pylist()
    return repr(sorted(rows, key=lambda row: row["item"])).encode()


def _write(disk: MemoryDisk, path: Path, *, data: bytes) -> None:
    missing = []
    folder = path.parent
    while str(folder) not in disk.names:
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        disk.mkdir(folder)
    handle = disk.open_append(path, create=True)
    handle.append(data)


def group_of(
    scored: Sequence[Scored], failed: Sequence[Lease], given_up: Sequence[Lease], *, columns: bytes, types: Columns
) -> Group:
    return Group(
        scored=tuple(scored),
        charged=tuple(Charged(lease, FAILURE) for lease in failed),
        quarantined=tuple(Quarantined(lease, FAILURE) for lease in given_up),
        columns=columns if scored else b"",
        types=types if scored else (),
    )
