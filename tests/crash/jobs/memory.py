"""The job that runs out of memory by order: each input says how much its scoring holds, how much it never gives back,
and the rows that must come of it are known beforehand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash.jobs.job import OneRunJob, item_name, lay_job, one_column, python_line

MIB = 1 << 20

# While SCRATCH/hold-on exists a hungry item waits, saying so by SCRATCH/waiting.PID: time to choose the victim.
_SCRIPT = """\
import json
import os
import time

SCRATCH = os.environ["CAMPAIGN_SCRATCH"]
kept = []


def run(mini_batch):
    return [score(path) for path in mini_batch]


def score(path):
    with open(path) as handle:
        task = json.load(handle)
    if task["hold"]:
        wait()
    kept.append(b"x" * (task["leak"] << 20))
    held = b"x" * (task["hold"] << 20)
    time.sleep(0.005)
    return "%s %d" % (os.path.basename(path), task["seed"])


def wait():
    gate = os.path.join(SCRATCH, "hold-on")
    while os.path.exists(gate):
        open(os.path.join(SCRATCH, "waiting.%d" % os.getpid()), "w").close()
        time.sleep(0.005)
"""

_SPEC = """\
name = "memory"
script = "score.py"
code = "code"
{python}mini_batch_size = {batch}
output_format = "csv"
mem_reserve = "16M"
timeout = "60s"
"""


@dataclass(frozen=True, slots=True)
class Task:
    """One input, in MiB: `hold` while it is scored, `leak` for ever."""

    seed: int
    hold: int = 0
    leak: int = 0


@dataclass(frozen=True, slots=True)
class MemoryJob(OneRunJob):
    """`guilty`: the items (by number, in plan order) that no limit of this campaign has room for."""

    tasks: Sequence[Task]
    guilty: tuple[int, ...]

    @property
    def gate(self) -> Path:
        return self.scratch / "hold-on"

    @property
    def rows(self) -> bytes:
        """What OUT must hold in the end."""
        good = [(number, task) for number, task in enumerate(self.tasks) if number not in self.guilty]
        return one_column(f"{item_name(number)} {task.seed}" for number, task in good)


def make_memory_job(
    folder: Path, tasks: Sequence[Task], *, batch: int, guilty: tuple[int, ...], python: str
) -> MemoryJob:
    """Write spec, script and inputs."""
    inputs = {
        item_name(number): json.dumps({"seed": task.seed, "hold": task.hold, "leak": task.leak})
        for number, task in enumerate(tasks)
    }
    lay_job(folder, spec=_SPEC.format(python=python_line(python), batch=batch), script=_SCRIPT, inputs=inputs)
    job = MemoryJob(folder, tasks, guilty)
    job.scratch.mkdir()
    return job
