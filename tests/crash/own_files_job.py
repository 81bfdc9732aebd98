"""Jobs for the kill campaign whose script writes files of its own: three parquet files per mini-batch and, with
`on_collision = append`, a JSONL file that every mini-batch appends to.

Like the campaign's first job, what is written depends on the inputs alone, so any two runs must agree byte for byte.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from tests.crash.job import Job

BATCH = 3
BATCHES = 40
TABLES = ("images", "scores", "words")
BAD, ONCE = (17, 64), (31, 90)  # items: those that always fail, and the first time only

SCRIPT = """\
import json
import os
import time

import pyarrow as pa
import pyarrow.parquet as pq

BATCH = {batch}
TABLES = {tables}
SCRATCH = os.environ["CAMPAIGN_SCRATCH"]
OUT = os.environ["AZUREML_BI_OUTPUT_PATH"]
APPENDS = {appends}
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
        return score([os.path.basename(path) for path in mini_batch], tasks)
    finally:
        os.pwrite(now, b"-", 0)


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
        if task["kind"] == "bad":
            raise ValueError("cannot score %s" % name)
        if task["kind"] == "once":
            try:
                os.close(os.open(os.path.join(SCRATCH, "once." + name), os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError:
                continue
            raise RuntimeError("not the first time: %s" % name)
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
    """Write spec, script and inputs, as `make_job` does. `rule`: on_collision."""
    job = Job(folder)
    job.inputs.mkdir(parents=True)
    (folder / "code").mkdir()
    script = SCRIPT.format(batch=BATCH, tables=TABLES, appends=rule == "append")
    (folder / "code" / "score.py").write_text(script, encoding="utf-8")
    asked = f"python = {json.dumps(python)}\n" if python else ""
    job.spec.write_text(_SPEC.format(python=asked, batch=BATCH, rule=rule), encoding="utf-8")
    for item in range(BATCH * BATCHES):
        kind = "bad" if item in BAD else "once" if item in ONCE else "plain"
        task = {"kind": kind, "seed": seed * 1000 + item}
        (job.inputs / name_of(item)).write_text(json.dumps(task), encoding="utf-8")
    return job


make_parquet_job = partial(make_own_files_job, rule="fail")
make_appending_job = partial(make_own_files_job, rule="append")


def name_of(item: int) -> str:
    return f"item-{item:04d}"
