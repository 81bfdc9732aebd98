"""A job for the kill campaign whose result is a parquet file: a DataFrame per mini-batch, with nested columns, columns
that are null in most mini-batches, and rows above the spill limit. Rows depend on their item alone.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.crash.jobs.job import Job, item_name, lay_job, python_line
from tests.crash.jobs.own_files import BATCH, BATCHES, task_of
from tests.crash.jobs.script import script

LARGE = (9, 20, 40, 77)  # items whose rows go through spill/: enough for an early finish

_SCORING = """\
import pandas as pd


def score(names, tasks):
    return pd.concat([score_one(name, task) for name, task in zip(names, tasks)])


def score_one(name, task):
    fail_by_order(name, task)
    seed, rows = task["seed"], task["rows"]
    return pd.DataFrame({
        "item": [name] * rows,
        "row": range(rows),
        "score": [seed / (row + 1) for row in range(rows)],
        "words": [[name] * (row % 3) for row in range(rows)],
        "note": [None if seed % 50 else {"text": name} for _ in range(rows)],
        "data": [name.encode() * task["width"]] * rows,
    })
"""

_SPEC = """\
name = "table"
script = "score.py"
code = "code"
{python}mini_batch_size = {batch}
max_retries = 5
error_threshold = -1
output_format = "parquet"
timeout = "30s"
"""


def make_table_job(folder: Path, *, python: str, seed: int) -> Job:
    """Write spec, script and inputs, as `make_mixed_job` does."""
    inputs = {
        item_name(item): json.dumps(
            task_of(item, seed=seed) | {"rows": 1 + item % 30, "width": 12_000 if item in LARGE else 5}
        )
        for item in range(BATCH * BATCHES)
    }
    spec = _SPEC.format(python=python_line(python), batch=BATCH)
    return lay_job(folder, spec=spec, script=script(_SCORING, batch=BATCH), inputs=inputs)
