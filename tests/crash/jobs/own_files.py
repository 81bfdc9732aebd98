"""Jobs for the kill campaign whose script writes files of its own: three parquet files per mini-batch and, with
`on_collision = append`, a JSONL file that every mini-batch appends to.

Like the campaign's first job, what is written depends on the inputs alone, so any two runs must agree byte for byte.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from tests.crash.jobs.job import Job, item_name, lay_job, python_line
from tests.crash.jobs.script import script

BATCH = 3
BATCHES = 40
TABLES = ("images", "scores", "words")
BAD, ONCE = (17, 64), (31, 90)  # items: those that always fail, and the first time only

_SCORING = """\
import pyarrow as pa
import pyarrow.parquet as pq

TABLES = {tables}
OUT = os.environ["AZUREML_BI_OUTPUT_PATH"]
APPENDS = {appends}


def score(names, tasks):
    for number, table in enumerate(TABLES):
        folder = os.path.join(OUT, table)
        os.makedirs(folder, exist_ok=True)
        values = [task["seed"] / (number + 1) for task in tasks]
        rows = pa.table({{"item": names * 50, "value": values * 50}})
        pq.write_table(rows, os.path.join(folder, names[0] + ".parquet"))
        time.sleep(0.001)
    if APPENDS:
        with open(os.path.join(OUT, "results.jsonl"), "a") as handle:
            for name, task in zip(names, tasks):
                handle.write(json.dumps({{"item": name, "seed": task["seed"], "text": name * 100}}) + "\\n")
    for name, task in zip(names, tasks):
        fail_by_order(name, task)
    return names
"""

_SPEC = """\
name = "own files"
script = "score.py"
code = "code"
{python}mini_batch_size = {batch}
max_retries = 5
on_collision = "{rule}"
timeout = "30s"
"""


def make_own_files_job(folder: Path, *, python: str, seed: int, rule: str) -> Job:
    """Write spec, script and inputs, as `make_mixed_job` does. `rule`: on_collision."""
    scoring = _SCORING.format(tables=TABLES, appends=rule == "append")
    spec = _SPEC.format(python=python_line(python), batch=BATCH, rule=rule)
    inputs = {item_name(item): json.dumps(task_of(item, seed=seed)) for item in range(BATCH * BATCHES)}
    return lay_job(folder, spec=spec, script=script(scoring, batch=BATCH), inputs=inputs)


def task_of(item: int, *, seed: int) -> dict[str, object]:
    """What its input says."""
    return {"kind": "bad" if item in BAD else "once" if item in ONCE else "plain", "seed": seed * 1000 + item}


make_parquet_job = partial(make_own_files_job, rule="fail")
make_appending_job = partial(make_own_files_job, rule="append")
