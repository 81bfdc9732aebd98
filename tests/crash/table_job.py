"""A job for the kill campaign whose result is a parquet file: a DataFrame per mini-batch, with nested columns, columns
that are null in most mini-batches, and rows above the spill limit. Rows depend on their item alone.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.crash.job import Job
from tests.crash.own_files_job import BAD, BATCH, BATCHES, ONCE, name_of

LARGE = (40, 77)  # items whose rows go through spill/

SCRIPT = """\
import json
import os

import pandas as pd

BATCH = {batch}
SCRATCH = os.environ["CAMPAIGN_SCRATCH"]
now = None


def init():
    global now
    now = os.open(os.path.join(SCRATCH, "now.%d" % os.getpid()), os.O_CREAT | os.O_RDWR, 0o600)


def run(mini_batch):
    tasks = []
    for path in mini_batch:
        with open(path) as handle:
            tasks.append(json.load(handle))
    innocent = len(tasks) == BATCH and not any(task["kind"] == "bad" for task in tasks)
    os.pwrite(now, b"F" if innocent else b"P", 0)
    try:
        names = [os.path.basename(path) for path in mini_batch]
        return pd.concat([score(name, task) for name, task in zip(names, tasks)])
    finally:
        os.pwrite(now, b"-", 0)


def score(name, task):
    if task["kind"] == "bad":
        raise ValueError("cannot score %s" % name)
    if task["kind"] == "once":
        try:
            os.close(os.open(os.path.join(SCRATCH, "once." + name), os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            pass
        else:
            raise RuntimeError("not the first time: %s" % name)
    seed, rows = task["seed"], task["rows"]
    return pd.DataFrame({{
        "item": [name] * rows,
        "row": range(rows),
        "score": [seed / (row + 1) for row in range(rows)],
        "words": [[name] * (row % 3) for row in range(rows)],
        "note": [None if seed % 50 else {{"text": name}} for _ in range(rows)],
        "data": [name.encode() * task["width"]] * rows,
    }})
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
    """Write spec, script and inputs, as `make_job` does."""
    job = Job(folder)
    job.inputs.mkdir(parents=True)
    (folder / "code").mkdir()
    (folder / "code" / "score.py").write_text(SCRIPT.format(batch=BATCH), encoding="utf-8")
    asked = f"python = {json.dumps(python)}\n" if python else ""
    job.spec.write_text(_SPEC.format(python=asked, batch=BATCH), encoding="utf-8")
    for item in range(BATCH * BATCHES):
        kind = "bad" if item in BAD else "once" if item in ONCE else "plain"
        task = {
            "kind": kind,
            "seed": seed * 1000 + item,
            "rows": 1 + item % 30,
            "width": 12_000 if item in LARGE else 5,
        }
        (job.inputs / name_of(item)).write_text(json.dumps(task), encoding="utf-8")
    return job
