"""The job that coordinators race for: small, and with one item that fails until it is mended; and its OUT in every
state that a race may begin in."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.crash.checks import STATE, Results, results_of, run_id_of
from tests.crash.jobs.job import Job, item_name, lay_job, python_line
from tests.crash.targets import carriers

RESULT = "predictions.csv"
ITEMS, BATCH = 12, 2
BAD = 7
LIMIT_S = 60.0

_SCRIPT = """\
import os
import time


def run(mini_batch):
    return [score(path) for path in mini_batch]


def score(path):
    time.sleep(0.01)
    with open(path) as handle:
        text = handle.read()
    if "bad" in text and not os.path.exists({mended!r}):
        raise ValueError("not yet")
    return {{"item": os.path.basename(path), "text": text * 20}}
"""

_SPEC = """\
name = "race"
script = "score.py"
code = "code"
{python}mini_batch_size = {batch}
max_retries = 0
output_format = "csv"
timeout = "30s"
workers = 1
"""


class Start(StrEnum):
    """What OUT is when a race begins."""

    NOTHING = "no OUT"
    HALF = "half-created"
    KILLED = "killed run"
    FINISHED = "finished run"
    GIVEN_UP = "run with an item to retry"


@dataclass(frozen=True, slots=True)
class RaceJob:
    """Where it lies; `batchctl`: the command."""

    folder: Path
    batchctl: str

    @property
    def nothing(self) -> Path:
        """An input folder without inputs: a run of it never comes to be."""
        return self.folder / "empty"

    def arguments(self, kind: str, out: Path) -> list[str]:
        """What is typed after the command's name; `kind`: run, fresh, refused, or a sub-command of OUT alone."""
        spec, inputs = str(Job(self.folder).spec), str(Job(self.folder).inputs)
        if kind == "refused":
            return ["run", spec, str(self.nothing), "-o", str(out)]
        if kind in ("run", "fresh"):
            return ["run", spec, inputs, "-o", str(out), *["--fresh"] * (kind == "fresh")]
        return [kind, str(out)]

    def type(self, kind: str, out: Path) -> subprocess.CompletedProcess[str]:
        """One command alone, to its end."""
        return subprocess.run(
            [self.batchctl, *self.arguments(kind, out)],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=LIMIT_S,
        )


@dataclass(frozen=True, slots=True)
class Templates:
    """OUT in each state, to be copied, and what has to come of a run (`scored`) and of a retry (`retried`)."""

    folder: Path
    scored: Results
    retried: Results

    def lay(self, start: Start, out: Path) -> None:
        """Make `out` such an OUT."""
        if start is not Start.NOTHING:
            shutil.copytree(self.folder / start.name.lower(), out)


def make_race_job(folder: Path, *, batchctl: str, python: str) -> RaceJob:
    """Write spec, script and inputs."""
    inputs = {item_name(item): f"{'bad' if item == BAD else 'good'} item {item}, caf\u00e9\n" for item in range(ITEMS)}
    spec = _SPEC.format(python=python_line(python), batch=BATCH)
    lay_job(folder, spec=spec, script=_SCRIPT.format(mended=str(folder / "mended")), inputs=inputs)
    job = RaceJob(folder, batchctl)
    job.nothing.mkdir()
    return job


def make_templates(job: RaceJob, folder: Path) -> Templates:
    """Run, kill and mend until there is one of each."""
    folder.mkdir()
    given_up, retried, finished = (folder / name for name in ("given_up", "retried", "finished"))
    _good(job, "run", given_up)
    (job.folder / "mended").touch()
    shutil.copytree(given_up, retried)
    _good(job, "retry", retried)
    _good(job, "run", finished)
    half = folder / "half" / STATE
    half.mkdir(parents=True)
    half.chmod(0o700)
    for name in ("guest.pyz", "plan", "lock"):
        shutil.copyfile(finished / STATE / name, half / name)
    _killed(job, folder / "killed")
    return Templates(folder, results_of(finished, job.batchctl), results_of(retried, job.batchctl))


def _good(job: RaceJob, kind: str, out: Path) -> None:
    done = job.type(kind, out)
    if done.returncode != 0:
        raise SystemExit(f"{kind}, undisturbed, exited {done.returncode}: {done.stderr.strip()}")


def _killed(job: RaceJob, out: Path) -> None:
    """A run that was killed with some rows committed and others not."""
    for _ in range(20):
        command = [job.batchctl, *job.arguments("run", out)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            partial = out / (RESULT + ".partial")
            while process.poll() is None and not (partial.exists() and item_name(0).encode() in partial.read_bytes()):
                time.sleep(0.001)
            process.kill()
        until = time.monotonic() + LIMIT_S
        while carriers(run_id_of(out)) and time.monotonic() < until:
            time.sleep(0.005)
        if process.returncode == -signal.SIGKILL and not (out / RESULT).exists():
            return
        shutil.rmtree(out)
    raise SystemExit("no run could be killed before its end")
