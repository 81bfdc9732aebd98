"""The job that runs out of memory by order: each input says how much its scoring holds, how much it never gives back,
and the rows that must come of it are known beforehand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20

# While SCRATCH/hold-on exists a hungry item waits, saying so by SCRATCH/waiting.PID: time to choose the victim.
SCRIPT = """\
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
python = {python}
mini_batch_size = {batch}
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
class MemoryJob:
    """`guilty`: the items (by number, in plan order) that no limit of this campaign has room for."""

    folder: Path
    tasks: Sequence[Task]
    guilty: tuple[int, ...]

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def gate(self) -> Path:
        return self.scratch / "hold-on"

    @property
    def rows(self) -> bytes:
        """What OUT must hold in the end."""
        good = [task for number, task in enumerate(self.tasks) if number not in self.guilty]
        names = [number for number in range(len(self.tasks)) if number not in self.guilty]
        lines = [f"{_name(number)} {task.seed}" for number, task in zip(names, good, strict=True)]
        return "\n".join(["prediction", *lines, ""]).encode()

    def command(self, batchctl: str, *, workers: str) -> list[str]:
        """What a user would type."""
        return [
            *(batchctl, "run", str(self.folder / "batchctl.toml"), str(self.folder / "input"), "-o", str(self.out)),
            *("--workers", workers, "--env", f"CAMPAIGN_SCRATCH={self.scratch}"),
        ]


def make_memory_job(
    folder: Path, tasks: Sequence[Task], *, batch: int, guilty: tuple[int, ...], python: str
) -> MemoryJob:
    """Write spec, script and inputs."""
    job = MemoryJob(folder, tasks, guilty)
    for path in (folder / "input", folder / "code", job.scratch):
        path.mkdir(parents=True)
    (folder / "code" / "score.py").write_text(SCRIPT, encoding="utf-8")
    (folder / "batchctl.toml").write_text(_SPEC.format(python=json.dumps(python), batch=batch), encoding="utf-8")
    for number, task in enumerate(tasks):
        content = {"seed": task.seed, "hold": task.hold, "leak": task.leak}
        (folder / "input" / _name(number)).write_text(json.dumps(content), encoding="utf-8")
    return job


def _name(number: int) -> str:
    return f"item-{number:03d}"
