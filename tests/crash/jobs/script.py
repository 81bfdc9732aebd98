"""What the scripts of the kill campaign begin with: inputs are read, the campaign is told what is in hand, and an item
fails as its input says. The rest of such a script is `score(names, tasks)`."""

from __future__ import annotations

# `now` is one byte per worker, kept outside OUT, that tells the campaign whether run() has an undivided, innocent
# mini-batch in hand: a part of a divided one has a single attempt, so a kill in it would rightly cost an item.
_BEGINNING = """\
import json
import os
import time

BATCH = {batch}
SCRATCH = os.environ["CAMPAIGN_SCRATCH"]
now = None


def init():
    global now
    time.sleep({init_s})
    now = os.open(os.path.join(SCRATCH, "now.%d" % os.getpid()), os.O_CREAT | os.O_RDWR, 0o600)


def run(mini_batch):
    tasks = []
    for path in mini_batch:
        with open(path) as handle:
            tasks.append(json.load(handle))
    innocent = len(tasks) == BATCH and not any(task["kind"] in ("bad", "deadly") for task in tasks)
    os.pwrite(now, b"F" if innocent else b"P", 0)
    try:
        return score([os.path.basename(path) for path in mini_batch], tasks)
    finally:
        os.pwrite(now, b"-", 0)


def fail_by_order(name, task):
    if task["kind"] == "bad":
        raise ValueError("cannot score %s" % name)
    if task["kind"] == "once":
        try:
            os.close(os.open(os.path.join(SCRATCH, "once." + name), os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return
        raise RuntimeError("not the first time: %s" % name)


"""


def script(scoring: str, *, batch: int, init_s: float = 0.0) -> str:
    """`scoring`: the source of `score` and what it needs; `batch`: inputs in a mini-batch that was not divided."""
    return _BEGINNING.format(batch=batch, init_s=init_s) + scoring
