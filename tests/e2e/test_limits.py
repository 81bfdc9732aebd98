"""Limits of the machine on whoever runs the command: told as that, with what raises them, and nobody is blamed.

Nothing is lost by them: the same command under a larger limit goes on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.driver import Job

USER = 61_000 + os.getpid() % 4_000  # nobody's: it has no other processes, not those of another test run either
SCRIPT = "def run(mini_batch):\n    return [open(path).read() for path in mini_batch]\n"


def job_of(job: Job) -> Job:
    (job.code / "score.py").write_text(SCRIPT, encoding="utf-8")
    for number in range(6):
        (job.inputs / f"item-{number}").write_text(f"{number}", encoding="utf-8")
    return job


@pytest.mark.parametrize(("files", "workers"), [(10, 1), (12, 1), (14, 1), (17, 1), (24, 6), (32, 8)])
def test_too_few_open_files(job: Job, files: int, workers: int) -> None:
    flags = ("--python", sys.executable, "--workers", str(workers), "--mini-batch-size", "1")
    ran = job_of(job).run(*flags, prefix=("prlimit", f"--nofile={files}:{files}"))
    assert ran.code in (5, 74), ran
    ran.names("Too many open files", "ulimit -n", "--workers")
    ran.remedied()
    job.run(*flags).expect(0)
    assert len((job.folder / "out" / "predictions.csv").read_text().splitlines()) == 7


@pytest.mark.parametrize("files", range(5, 15))
def test_too_few_open_files_for_a_run_to_be_made(job: Job, files: int) -> None:
    """Either there is a run, to be resumed, or nothing of ours is left."""
    flags = ("--python", sys.executable, "--workers", "1")
    ran = job_of(job).run(*flags, prefix=("prlimit", f"--nofile={files}:{files}"))
    assert ran.code in (2, 5, 74), ran
    out = job.folder / "out"
    assert (out / ".batchctl" / "job.json").exists() or not out.exists(), ran
    job.run(*flags).expect(0)


@pytest.fixture
def of_another() -> Iterator[Job]:
    """A job of an account that has no other processes, where it may look by itself."""
    with tempfile.TemporaryDirectory() as folder:
        job = job_of(Job(Path(folder) / "job"))
        for path in (Path(folder), *Path(folder).rglob("*")):
            os.chown(path, USER, USER)
        yield job


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="not run: root and setpriv are needed")
@pytest.mark.parametrize(("processes", "code"), [(1, 2), (3, 5), (4, 5)])
def test_too_few_processes(of_another: Job, processes: int, code: int) -> None:
    job, python = of_another, shutil.which("python3", path="/usr/bin:/bin")
    # The tree and its interpreter may lie where only root may look; a limit on processes does not hold for root.
    caps = "--inh-caps=+dac_override,+dac_read_search", "--ambient-caps=+dac_override,+dac_read_search"
    prefix = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *caps)
    tried = subprocess.run([*prefix, sys.executable, "-c", ""], check=False, capture_output=True)
    if tried.returncode != 0 or python is None:
        pytest.skip(f"not run: {tried.stderr.decode().strip() or 'no python3 that everybody may start'}")
    flags = ("--python", python, "--workers", "2", "--mini-batch-size", "1")
    # The worker that there is room for must not be ready before the other is refused: it would go on alone.
    go = job.folder / "go"
    init = (
        f"import os, time\n\n\ndef init():\n    while not os.path.exists({str(go)!r}):\n        time.sleep(0.01)\n\n\n"
    )
    (job.code / "score.py").write_text(init + SCRIPT, encoding="utf-8")
    ran = job.run(*flags, prefix=(*prefix, "prlimit", f"--nproc={processes}:{processes}"))
    assert ran.code == code, ran
    ran.names("Resource temporarily unavailable", "ulimit -u", "--workers")
    ran.remedied()
    go.touch()
    job.run(*flags, prefix=prefix).expect(0)
    assert len((job.folder / "out" / "predictions.csv").read_text().splitlines()) == 7


def test_more_environment_than_a_worker_can_be_told(job: Job) -> None:
    variables = [word for number in range(11) for word in ("--env", f"V{number}={'x' * 100_000}")]
    ran = job_of(job).run(*variables).expect(2)
    ran.names("score.py", "environment", "1048576")
    ran.remedied()
