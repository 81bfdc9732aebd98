"""The job that the kill campaign runs over and over: inputs that say what their scoring shall do, and the script.

An input file holds one JSON object. Rows depend on that object alone, so any two runs must agree byte for byte. The
plan mixes what the store has to get right: rows of every size (some above the spill limit), files that the script
writes itself, items that always fail (alone and beside files), one that kills its worker, and one that fails once.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from batchctl.run.plan_order import HOLD_S
from tests.crash.jobs.job import Job, item_name, lay_job, python_line
from tests.crash.jobs.script import script

BATCH = 4
BATCHES, BRIEF = 56, 24
SPILLED = 1 << 20  # rows above this go through spill/

_SCORING = """\
def score(names, tasks):
    return [score_one(name, task) for name, task in zip(names, tasks)]


def score_one(name, task):
    time.sleep(task["sleep"])
    if task["kind"] == "deadly":
        os._exit(9)
    fail_by_order(name, task)
    if task["kind"] == "file":
        folder = os.path.join(os.environ["AZUREML_BI_OUTPUT_PATH"], *task["folder"])
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name + ".out"), "wb") as handle:
            handle.write((name + "\\n").encode() * task["lines"])
    unit = "%s: caf\\u00e9, \\"quoted\\"\\n" % name
    text = (unit * (task["size"] // len(unit) + 1))[: task["size"]]
    return {"item": name, "seed": task["seed"], "score": task["seed"] / 7, "text": text}
"""


def make_mixed_job(folder: Path, *, python: str, seed: int, output_format: str = "csv") -> Job:
    """Write spec, script and inputs. `python`: the interpreter for the script, "" for the command's own."""
    return _write_job(folder, python=python, tasks=_tasks(random.Random(seed)), output_format=output_format)


def make_brief_job(folder: Path, *, python: str, seed: int) -> Job:
    """The same in a third of the time: rows of every size, files of the script's own, one item that always fails."""
    return _write_job(folder, python=python, tasks=_few_tasks(random.Random(seed)))


def make_filling_job(folder: Path, *, python: str, seed: int, what: str) -> Job:
    """The same with some megabytes of `what`: rows, files (of the script's own) or spills (rows in files of ours)."""
    dice = random.Random(seed)
    tasks = _plain(dice, BRIEF)
    for number, task in enumerate(tasks):
        task["size"] = {"rows": 40_000, "files": 500, "spills": SPILLED if number % 12 == 5 else 500}[what]
        task["sleep"] = 0.02
        if what == "files":
            task.update(kind="file", folder=[], lines=5_000)
    if what == "rows":
        tasks[0]["sleep"] = 3 * HOLD_S  # nothing waits for it so long: the rows have to be sorted
    return _write_job(folder, python=python, tasks=tasks)


def _write_job(folder: Path, *, python: str, tasks: list[dict[str, object]], output_format: str = "csv") -> Job:
    spec = _SPEC.format(python=python_line(python), batch=BATCH, format=output_format)
    inputs = {f"d{number // 50}/{item_name(number)}.json": json.dumps(task) for number, task in enumerate(tasks)}
    return lay_job(folder, spec=spec, script=script(_SCORING, batch=BATCH, init_s=0.03), inputs=inputs)


# Worker kills are charged attempts: more of those than the campaign is likely to spend on one mini-batch, few enough
# that the mini-batch that kills its workers by itself does not take all the time.
_SPEC = """\
name = "campaign"
script = "score.py"
code = "code"
{python}mini_batch_size = {batch}
max_retries = 5
error_threshold = -1
output_format = "{format}"
output_file_name = "predictions.csv"
timeout = "30s"
"""


def _plain(dice: random.Random, batches: int) -> list[dict[str, object]]:
    return [
        {
            "kind": "plain",
            "seed": dice.randrange(10**9),
            "size": int(dice.lognormvariate(5, 2)) % 60_000,
            "sleep": round(dice.expovariate(1 / 0.005), 4),
        }
        for _ in range(batches * BATCH)
    ]


def _few_tasks(dice: random.Random) -> list[dict[str, object]]:
    tasks = _plain(dice, BRIEF)
    spots = [batch * BATCH + dice.randrange(BATCH) for batch in dice.sample(range(1, BRIEF), 6)]
    tasks[spots[0]].update(kind="bad")
    tasks[spots[1]].update(size=SPILLED + 1)
    for number, spot in enumerate(spots[2:]):
        tasks[spot].update(kind="file", folder=["kept"] * (number % 2), lines=10**number)
    return tasks


def _tasks(dice: random.Random) -> list[dict[str, object]]:
    tasks = _plain(dice, BATCHES)
    # Each special item has a mini-batch of its own, except where two are to meet.
    spots = iter(dice.sample(range(1, BATCHES), 22))

    def special(kind: str, batch: int, **more: object) -> None:
        tasks[batch * BATCH + dice.randrange(BATCH)].update(kind=kind, **more)

    for _ in range(4):
        special("bad", next(spots))
    special("deadly", next(spots))
    for _ in range(2):
        special("once", next(spots))
    for size in (SPILLED - 200, SPILLED + 1, 1_600_000, 3_000_000):
        special("plain", next(spots), size=size)
    for number in range(8):
        folder = [[], ["kept"], ["kept", f"deep-{number}"]][number % 3]
        special("file", next(spots), folder=folder, lines=10 ** (number % 5))
    shared = next(spots) * BATCH  # files of a failed attempt must not be published twice, nor the guilty one's at all
    tasks[shared].update(kind="file", folder=["kept"], lines=50)
    tasks[shared + 2].update(kind="bad")
    large = next(spots) * BATCH  # spilled rows and a file in one answer
    tasks[large].update(kind="file", folder=[], lines=200_000, size=1_300_000)
    for batch in {spot // BATCH for spot, task in enumerate(tasks) if task["kind"] in ("bad", "deadly")}:
        for task in tasks[batch * BATCH : batch * BATCH + BATCH]:
            task["sleep"] = 0.0  # isolation runs these again and again
    return tasks
