"""A job for the kill campaign whose command is `batchctl retry`: of a finished run that gave up on every fourth item,
all of them mended since. OUT is such a run, and what has to come of it is as if nothing had ever been wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.crash.jobs.job import Job
from tests.crash.jobs.mixed import BATCH, BATCHES, make_mixed_job

_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class RetryJob(Job):
    """Every OUT shares one scratch folder: a retry is of the same spec, values of variables included."""

    @property
    def template(self) -> Path:
        """The finished run."""
        return self.folder / "template"

    def scratch(self, name: str) -> Path:
        return self.folder / "retried"

    def lay(self, out: Path) -> None:
        """Copy the finished run there."""
        self.scratch(out.name).mkdir(exist_ok=True)  # a round that held takes it away
        shutil.copytree(self.template, out)

    def command(self, batchctl: str, out: Path, *, workers: int) -> list[str]:
        scratch = self.scratch(out.name)
        return [batchctl, "retry", str(out), "--workers", str(workers), "--env", f"CAMPAIGN_SCRATCH={scratch}"]


def make_retry_job(folder: Path, *, python: str, seed: int) -> RetryJob:
    """Make the campaign's first job, spoil every fourth item, run it, and mend them."""
    made = make_mixed_job(folder, python=python, seed=seed)
    job = RetryJob(folder)
    paths = sorted(job.inputs.rglob("*.json"))
    plain = {path: {**json.loads(path.read_text(encoding="utf-8")), "kind": "plain"} for path in paths}
    for number, path in enumerate(paths):
        kind = "bad" if number % BATCH == 1 else "plain"
        path.write_text(json.dumps({**plain[path], "kind": kind, "sleep": 0}), encoding="utf-8")
    assert len(paths) == BATCH * BATCHES
    job.scratch("").mkdir()
    own = str(Path(sys.executable).with_name("batchctl"))
    first = made.command(own, job.template, workers=2)
    first[-1] = f"CAMPAIGN_SCRATCH={job.scratch('')}"
    done = subprocess.run(first, check=False, capture_output=True, text=True, timeout=_LIMIT_S)
    if done.returncode != 0:
        raise SystemExit(f"the run to be retried exited {done.returncode}: {done.stderr.strip()}")
    for path in paths:
        path.write_text(json.dumps({**plain[path], "sleep": 0.003}), encoding="utf-8")
    return job
