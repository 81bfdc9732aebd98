"""A parquet run: any division into mini-batches, any order and any crash end in the same bytes, and in the table that
pandas would have written."""

from __future__ import annotations

import io
import random
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchctl.guest.arrow_rows import block, dict_columns
from batchctl.model.column_types import Columns, parse_columns, unify
from batchctl.model.job import Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Scored
from batchctl.model.records import Quarantined, Reopening
from batchctl.store import row_groups, table
from batchctl.store.commit import Group
from batchctl.store.creation import create_run
from batchctl.store.finish import finish
from batchctl.store.layout import RunLayout
from batchctl.store.recover import Recovered, recover
from batchctl.store.reopen import reopen_finished
from batchctl.store.verify import verify
from tests.doubles.disk import MemoryDisk

LAYOUT = RunLayout(Path("/out"), "p.parquet")
FAILURE = Failure(FailureKind.FAILED, "E", "m")
KEYS = ["i", "text", "number", "flags", "deep"]
# The last rows leave no column without a type, so that the reference has the same ones.
FULL: list[dict[str, Any]] = [{"text": "x", "number": 1.0, "flags": [True], "deep": {"a": 1, "b": ["b"]}}]


def rows_of(lease: Lease, rows: Sequence[dict[str, Any]]) -> tuple[Scored, Columns]:
    data, types = block(dict_columns([*rows[lease.first : lease.first + lease.count]], KEYS))
    found = Scored(lease, data, len(data), zlib.crc32(data), lease.count, lease.count, 0, 1)
    return found, parse_columns(types)


def opened(disk: MemoryDisk, bounds: Sequence[int]) -> Recovered:
    return recover(disk, LAYOUT, run_id="r", bounds=bounds, boot_id="b", version="0")


def some_row(dice: random.Random) -> dict[str, Any]:
    """Values and gaps of all kinds; hypothesis itself would draw ten times as long as this takes."""
    maybe = dice.choice([0.1, 0.9])
    found = {
        "text": dice.choice(["word", "", "caf\u00e9" * dice.randrange(9)]),
        "number": dice.choice([0.0, -1.5, 1e300, float("inf")]),
        "flags": [dice.choice([None, True, False]) for _ in range(dice.randrange(4))],
        "deep": {"a": dice.choice([None, 7]), "b": ["b" * dice.randrange(3)] * dice.randrange(3)},
    }
    return {key: value if dice.random() < maybe else None for key, value in found.items()}


def play(dice: random.Random, rows: Sequence[dict[str, Any]], *, guilty: set[int]) -> tuple[MemoryDisk, list[int]]:
    """Score all rows (an item each) in mini-batches and parts as drawn, crash as drawn, finish."""
    bounds = sorted({0, len(rows), *(dice.randrange(1, len(rows)) for _ in range(dice.randrange(9)) if len(rows) > 1)})
    leases = []
    for batch, (low, high) in enumerate(pairwise(bounds)):
        split = bool(guilty & set(range(low, high))) or dice.random() < 0.3
        leases += [Lease(batch, at, 1, 1) for at in range(low, high)] if split else [Lease(batch, low, high - low, 1)]
    disk = MemoryDisk()
    create_run(disk, LAYOUT, job_document={"run_id": "r"}, plan_chunks=[b"plan"])
    run = opened(disk, bounds)
    types: Columns = ()
    for lease in dice.sample(leases, len(leases)):
        if lease.first in guilty:
            run.committer.commit(Group(quarantined=[Quarantined(lease, FAILURE)]))
            continue
        scored, here = rows_of(lease, rows)
        types = unify(types or here, here)
        run.committer.commit(Group(scored=[scored], types=types))
        if dice.random() < 0.2:
            run.committer.close(clean=False)
            run = opened(disk, bounds)
            assert run.types == types
    finish(disk, LAYOUT, committer=run.committer, order=Order.PLAN, table=True)
    return disk, bounds


@pytest.mark.parametrize("seed", range(24))
def test_any_history_ends_in_the_same_bytes(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(seed)
    rows = [{"i": i, **row} for i, row in enumerate([some_row(dice) for _ in range(dice.randrange(60))] + FULL)]
    quantum, most_bytes = dice.choice([(4, 2000), (8, 1 << 20), (3, 1)])
    for name, value in (("QUANTUM", quantum), ("GROUP_BYTES", most_bytes), ("GROUP_ROWS", dice.randrange(4, 60))):
        monkeypatch.setattr(row_groups, name, value)
    monkeypatch.setattr(table, "QUANTUM", quantum)
    guilty = {dice.randrange(len(rows) - 1) for _ in range(dice.randrange(5)) if len(rows) > 1}
    disks = [play(dice, rows, guilty=set()), play(dice, rows, guilty=guilty), play(dice, rows, guilty=guilty)]
    whole, first, second = (disk.read(LAYOUT.final) for disk, _ in disks)
    assert first == second
    disk, bounds = disks[1]
    if guilty:  # a retry of what was given up comes to what never failed
        _retry(disk, bounds, rows, guilty=guilty, dice=dice)
        assert disk.read(LAYOUT.final) == whole
    assert verify(disk, LAYOUT, run_id="r", bounds=bounds).problems == ()
    reference = pa.Table.from_pandas(pd.DataFrame({key: [row[key] for row in rows] for key in KEYS}))
    found = pq.read_table(io.BytesIO(whole))
    assert found.schema.names == KEYS
    assert found.to_pylist() == reference.to_pylist()


def _retry(
    disk: MemoryDisk, bounds: list[int], rows: Sequence[dict[str, Any]], *, guilty: set[int], dice: random.Random
) -> None:
    at = {item: batch for batch, (low, high) in enumerate(pairwise(bounds)) for item in range(low, high)}
    again = [Reopening(at[item], item, 1, 0, 0, 0) for item in sorted(guilty)]
    reopen_finished(disk, LAYOUT, run_id="r", bounds=bounds, ranges=again)
    run = opened(disk, bounds)
    for one in dice.sample(again, len(again)):
        scored, here = rows_of(Lease(one.batch, one.first, 1, 9), rows)
        run.committer.commit(Group(scored=[scored], types=unify(run.types or here, here)))
        if dice.random() < 0.5:
            assert verify(disk, LAYOUT, run_id="r", bounds=bounds).problems == ()
            run.committer.close(clean=False)
            run = opened(disk, bounds)
    finish(disk, LAYOUT, committer=run.committer, order=Order.PLAN, table=True)
