"""Inputs that take long to list, through the real command: a file system of ours holds each listing up.

What can be told is told meanwhile, and nothing of the user's is run: what init() wrote below an INPUT would be an input
or not, as time goes.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from batchctl.errors import ExitCode
from tests.doubles.fuse import CannotMountError, mounted
from tests.e2e.driver import Job, wait_for

FOLDERS = 100
FLAGS = ("--mini-batch-size", "1", "--workers", "2")


class Held:
    """A job whose first listings take 50 ms each."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.patience = 25
        self.listed = 0
        self.opened = threading.Event()
        self.marks, self.at = job.folder / "marks", job.folder / "slow"
        for folder in (self.marks, self.at):
            folder.mkdir()
        job.script("early", MARKS=self.marks, RUN_OUT=job.out.path)
        for number in range(FOLDERS):
            job.items(1, stem=f"item{number:03d}-", below=f"{number:03d}")
            (job.inputs / f"{number:03d}" / "slow").symlink_to(self.at)
        self.rows = [f"item{number:03d}-000.txt" for number in range(FOLDERS)]

    def hold(self) -> None:
        """Called by the file system, for each listing."""
        self.listed += 1
        if self.listed <= self.patience:
            self.opened.wait(0.05)

    @property
    def inits(self) -> list[str]:
        """Of each init() so far, in order: early, or late (the plan was there)."""
        path = self.marks / "inits"
        return [line.split()[1] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def held(job: Job) -> Iterator[Held]:
    made = Held(job)
    try:
        with mounted(made.at, kind="fuse.held", source="held", hold=made.hold):
            try:
                yield made
            finally:
                made.opened.set()
    except CannotMountError as why:
        pytest.skip(f"not run: {why}")


@pytest.mark.parametrize("flags", [(), ("--own-files", "direct"), ("--preload", "json")])
def test_no_script_is_run_before_the_plan_is_there(held: Held, flags: tuple[str, ...]) -> None:
    held.job.run(*FLAGS, *flags).expect(0)
    assert held.listed >= FOLDERS
    assert set(held.inits) == {"late"}
    assert held.job.out.rows == held.rows


def test_a_script_that_cannot_run_is_told_before_all_is_listed(held: Held) -> None:
    held.patience = FOLDERS
    (held.job.code / "score.py").write_text("def run(mini_batch)\n    return mini_batch\n")
    held.job.run(*FLAGS).expect(ExitCode.USAGE).names("score.py:1")
    assert held.listed < FOLDERS
    assert not held.job.out.path.exists()


def test_a_script_that_is_saved_while_inputs_are_listed_is_the_one_that_the_run_knows(held: Held) -> None:
    with held.job.start("run", "code/score.py", "in", "-o", "out", *FLAGS) as started:
        wait_for(lambda: held.listed > 20 or not started.alive(), "the listing")
        with (held.job.code / "score.py").open("a") as script:
            script.write("# saved once more\n")
        started.end().expect(0)
    held.job.run(*FLAGS).expect(0).names("complete")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_inputs_are_listed(held: Held, number: int) -> None:
    held.patience = FOLDERS
    with held.job.start("run", "code/score.py", "in", "-o", "out", *FLAGS) as started:
        wait_for(lambda: held.listed > 1 or not started.alive(), "the listing")
        started.signal(number)
        code = started.end().code
    assert code in (ExitCode.INTERRUPTED, ExitCode.STOPPED, -signal.SIGKILL)
    assert held.job.out.path.exists() == (number == signal.SIGKILL)
    held.opened.set()
    held.job.run(*FLAGS).expect(0)
    assert held.job.out.rows == held.rows
