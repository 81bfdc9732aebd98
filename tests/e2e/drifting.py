"""A run that was killed midway, for tests that change something before it is resumed."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.driver import Job, Ran
from tests.e2e.halting import Gate, halt

ITEMS = 24  # the gate is at item020
TOML = 'script = "score.py"\ncode = "code"\nmodel = "model"\nmini_batch_size = 2\n'
FLAGS = ("--workers", "1", "--max-retries", "0")
DONE, LEFT = "item000.txt", "item022.txt"  # of a committed mini-batch; of one that is not


@dataclass
class Drifting:
    """`committed`: how many items, from the first on, were committed when it was killed."""

    job: Job
    gate: Gate
    flags: tuple[str, ...] = ()
    committed: int = 0
    env: dict[str, str] = field(default_factory=dict)

    @classmethod
    def begun(cls, job: Job) -> Drifting:
        """The job, nothing run yet."""
        gate = Gate(job.folder / "gate")
        job.script("drift", GATE=job.folder / "gate", GATE_AT="item020")
        (job.code / "helper.py").write_text("VERSION = 1\n")
        job.write("model/weights.txt", "1\n")
        job.write("batchctl.toml", TOML)
        job.items(ITEMS)
        return cls(job, gate)

    def kill(self, *flags: str) -> None:
        """Run up to the gate, kill -9, open the gate."""
        self.flags = (*FLAGS, *flags)
        halt(self.job, self.gate, *self.flags, number=signal.SIGKILL, spec="batchctl.toml")
        self.gate.open()
        self.committed = self.job.batchctl("verify", "out", "--json").expect(0).json["committed"]
        assert 0 < self.committed <= 20

    def resume(self, *more: str, spec: str = "batchctl.toml", out: str = "out", **given: Any) -> Ran:
        """The same command again."""
        return self.job.batchctl("run", spec, "in", "-o", out, *self.flags, *more, **given)

    @property
    def done(self) -> Path:
        return self.job.inputs / DONE

    @property
    def left(self) -> Path:
        return self.job.inputs / LEFT

    def row(self, item: int, **now: str) -> str:
        """The row of an item by script, model and spec as they were; `now`: what differs if it was scored since."""
        was = {"size": "23", "helper": "1", "model": "1", "flavour": "plain", "word": "none"}
        if item >= self.committed:
            was.update(now)
        return " ".join((f"item{item:03d}.txt", *was.values()))

    def rows(self, **now: str) -> list[str]:
        return [self.row(item, **now) for item in range(ITEMS)]

    def epochs(self) -> list[dict[str, Any]]:
        """What the coordinators said of themselves, with their settings read."""
        lines = self.job.batchctl("inspect", "out").expect(0).lines
        return [{**line, "settings": json.loads(line["settings"])} for line in lines if line["type"] == "EPOCH"]


def drifting(job: Job, *flags: str) -> Drifting:
    """Such a run, killed."""
    found = Drifting.begun(job)
    found.kill(*flags)
    return found
