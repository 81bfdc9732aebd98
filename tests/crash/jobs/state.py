"""The campaign's first job with its run directory elsewhere, which only the first command of each OUT names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.crash.jobs.job import Job
from tests.crash.jobs.mixed import make_mixed_job


@dataclass(frozen=True, slots=True)
class StateJob(Job):
    """Each OUT has its own state directory. Where a kill came before OUT knew of it, it is named again."""

    def command(self, batchctl: str, out: Path, *, workers: int) -> list[str]:
        words = Job.command(self, batchctl, out, workers=workers)
        known = (out / ".batchctl" / "state.json").exists()
        return words if known else [*words, "--state-dir", str(self.scratch(out.name) / "state")]


def make_state_job(folder: Path, *, python: str, seed: int) -> StateJob:
    """As `make_mixed_job`."""
    return StateJob(make_mixed_job(folder, python=python, seed=seed).folder)
