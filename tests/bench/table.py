"""What making a run's parquet file takes: `python -m tests.bench.table [--rows 5000000] [--rounds 5]`.

A run of 20 mini-batches with W4's columns (a number, a score, a label of two values) is committed, then finished: as
shipped, where a column gets a dictionary if that makes it smaller, and with a dictionary for each column, which is
pyarrow's own way. Interleaved rounds in shuffled order; medians, and the size of the file.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from batchctl.files import RealDisk
from batchctl.guest.arrow_rows import block
from batchctl.model.column_types import parse_columns
from batchctl.model.job import Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored
from batchctl.store import table
from batchctl.store.commit import Committer, Group
from batchctl.store.creation import create_run
from batchctl.store.finish import finish
from batchctl.store.layout import RunLayout
from batchctl.store.recover import recover

BATCHES = 20
WAYS: dict[str, Callable[[Any], Any]] = {
    "where it is smaller": table._worth_a_dictionary,
    "for each column": lambda sample: True,
}


def committed(layout: RunLayout, rows: int) -> Committer:
    """A run whose rows are all committed, in plan order."""
    disk, each = RealDisk(), rows // BATCHES
    create_run(disk, layout, job_document={"run_id": "r"}, plan_chunks=[b"plan"])
    bounds = range(BATCHES + 1)
    committer = recover(disk, layout, run_id="r", bounds=bounds, boot_id="b", version="0").committer
    numbers = np.random.default_rng(1)
    for batch in range(BATCHES):
        score = numbers.random(each)
        ids = np.arange(batch * each, (batch + 1) * each)
        made, types = block({"id": ids, "score": score, "label": (score > 0.5).astype("int8")})
        one = Scored(Lease(batch, batch, 1, 1), made, len(made), zlib.crc32(made), each, 1, 0, 5)
        committer.commit(Group(scored=(one,), types=parse_columns(types)))
    return committer


def lap(way: str, rows: int) -> tuple[float, int]:
    """(seconds, bytes)"""
    with tempfile.TemporaryDirectory() as work:
        layout = RunLayout(Path(work) / "out", "predictions.parquet")
        committer = committed(layout, rows)
        table._worth_a_dictionary = WAYS[way]
        began = time.perf_counter()
        finish(RealDisk(), layout, committer=committer, order=Order.PLAN, table=True)
        return time.perf_counter() - began, layout.final.stat().st_size


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    table.load_arrow(())
    found: dict[str, list[tuple[float, int]]] = {way: [] for way in WAYS}
    try:
        for _ in range(given.rounds):
            for way in random.sample(list(WAYS), len(WAYS)):
                found[way].append(lap(way, given.rows))
    finally:
        table._worth_a_dictionary = WAYS["where it is smaller"]
    print(f"{given.rows:,} rows, {given.rounds} rounds, {os.cpu_count()} cpus\n")
    print("| dictionaries | the finish, ms, median (min-max) | MB |\n|---|---:|---:|")
    for way, laps in found.items():
        took = [seconds * 1e3 for seconds, _ in laps]
        size = laps[0][1] / 1e6
        print(f"| {way} | {statistics.median(took):.0f} ({min(took):.0f}-{max(took):.0f}) | {size:.1f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
