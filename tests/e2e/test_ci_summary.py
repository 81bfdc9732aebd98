"""In CI the end of a run is also written as Markdown, however it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.driver import Job, Ran
from tests.e2e.halting import gated, halt

WARNING = b"warning: the summary was not written to "


@pytest.fixture
def step(job: Job) -> Path:
    """The file that a runner of GitHub Actions makes for a step."""
    path = job.folder / "step summary.md"
    path.touch()
    job.environment["GITHUB_STEP_SUMMARY"] = str(path)
    return path


def beside(job: Job) -> str:
    return (job.out.run_directory / "summary.md").read_text()


def test_a_finished_run_is_told_in_both_places(job: Job, step: Path) -> None:
    job.script()
    job.items(7)
    job.run("-q").expect(0)
    told = step.read_text()
    assert told.startswith("### batchctl: score: finished\n\nFinished; failures, if any,")
    assert "| succeeded | 7 |" in told and "| rows | 7 |" in told and "batchctl verify" in told
    assert beside(job) == told


def test_a_rerun_of_a_finished_run_is_told_after_it(job: Job, step: Path) -> None:
    job.script()
    job.items(3)
    job.run().expect(0)
    job.run().expect(0)
    told = step.read_text()
    assert told.count("### batchctl: score: finished") == 2
    assert told == f"{beside(job)}\n\n{beside(job)}"


@pytest.mark.parametrize(
    ("environment", "files"),
    [
        pytest.param({}, [], id="no CI"),
        pytest.param({"GITHUB_STEP_SUMMARY": "", "GITLAB_CI": ""}, [], id="empty variables"),
        pytest.param({"GITLAB_CI": "true"}, ["summary.md"], id="GitLab"),
    ],
)
def test_where_it_is_not_asked_for_nothing_is_written(
    job: Job, environment: Mapping[str, str], files: list[str]
) -> None:
    job.environment.update({"GITHUB_STEP_SUMMARY": "", "GITLAB_CI": ""})
    job.script()
    job.items(2)
    job.run(env=environment).expect(0)
    assert [path.name for path in job.out.run_directory.glob("*.md")] == files


@pytest.mark.parametrize(
    ("number", "code", "meaning"),
    [
        pytest.param(signal.SIGTERM, 75, "Stopped early, resumable.", id="SIGTERM"),
        pytest.param(signal.SIGINT, 130, "Ctrl-C, resumable.", id="SIGINT"),
    ],
)
def test_a_stopped_run(job: Job, step: Path, number: int, code: int, meaning: str) -> None:
    gate, _ = gated(job)
    halt(job, gate, "--mini-batch-size", "2", "--env", "TOKEN=hush", number=number).expect(code)
    told = step.read_text()
    assert told.startswith(f"### batchctl: score: stopped, exit code {code}\n\n{meaning}\n")
    assert "| left to do |" in told
    assert "TOKEN=***" in told and "hush" not in told and "put back what *** stands for" in told
    assert beside(job) == told


def test_a_threshold(job: Job, step: Path) -> None:
    job.script("flaky", STATE=job.folder, FAILS=9)
    job.items(4, stem="flaky")
    job.run("--max-retries", "0", "--no-isolate").expect(3)
    assert step.read_text().startswith("### batchctl: score: failed, exit code 3\n\nError threshold exceeded")
    assert "| failures | items | attempts |" in step.read_text()
    assert beside(job) == step.read_text()


def test_a_failing_init(job: Job, step: Path) -> None:
    job.script("gate", GATE="", GATE_AT="x")
    job.items(4)
    job.run().expect(4)
    told = step.read_text()
    assert told.startswith("### batchctl: score: failed, exit code 4\n\n")
    assert "KeyError: 'no gate'" in told and "fix: " in told and "| items | 4 |" in told
    assert beside(job) == told


def test_a_refused_resume_says_why_and_counts_nothing(job: Job, step: Path) -> None:
    job.script()
    job.items(4)
    job.run().expect(0)
    step.write_text("")
    job.run("--mini-batch-size", "3").expect(6)
    told = step.read_text()
    assert told.startswith("### batchctl: failed, exit code 6\n\nResume refused: ")
    assert "mini_batch_size" in told and "| items |" not in told
    assert beside(job) == told


def test_a_bad_spec_is_told_and_makes_no_folder(job: Job, step: Path) -> None:
    job.script()
    job.run("--timeout", "soon").expect(2)
    assert "--timeout" in step.read_text() and "exit code 2" in step.read_text()
    assert not job.out.path.exists()


def test_a_run_directory_that_was_refused_is_not_written_to(job: Job, step: Path) -> None:
    job.script()
    job.items(1)
    elsewhere = job.folder / "elsewhere"
    elsewhere.mkdir()
    job.out.path.mkdir()
    job.out.run_directory.symlink_to(elsewhere)
    job.run().expect(2)
    assert "is not a directory" in step.read_text()
    assert list(elsewhere.iterdir()) == []


def test_the_run_of_somebody_else_is_not_written_to(job: Job, step: Path) -> None:
    gate, _ = gated(job)
    with job.start("run", "code/score.py", "in", "-o", "out") as started:
        gate.wait_reached(started)
        job.run().expect(8)
        assert not (job.out.run_directory / "summary.md").exists()
        assert "exit code 8" in step.read_text()
        gate.open()
        started.end().expect(0)


def full(path: Path) -> None:
    path.write_bytes(b"x" * ((1 << 20) - 10))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/full")


def gone(path: Path) -> None:
    path.unlink()


def below_a_file(path: Path) -> None:
    path.rename(path.parent / "parent")
    path.symlink_to(path.parent / "parent" / "below")


@pytest.mark.parametrize("make", [full, folder, pipe, device, below_a_file], ids=lambda make: make.__name__)
def test_what_cannot_be_written_costs_one_line_and_nothing_else(job: Job, step: Path, make: object) -> None:
    job.script()
    job.items(2)
    make(step)  # type: ignore[operator]
    before = step.read_bytes() if make is full else b""
    ran = job.run("-q").expect(0)
    assert warnings(ran) == 1, ran
    assert make is not full or step.read_bytes() == before
    assert "| succeeded | 2 |" in beside(job)


def test_a_step_file_that_is_gone_is_made_anew(job: Job, step: Path) -> None:
    job.script()
    job.items(2)
    step.unlink()
    assert warnings(job.run().expect(0)) == 0
    assert "| succeeded | 2 |" in step.read_text()


def test_a_failure_to_write_leaves_the_exit_code_of_an_error(job: Job, step: Path) -> None:
    job.script("gate", GATE="", GATE_AT="x")
    job.items(1)
    folder(step)
    ran = job.run().expect(4)
    assert warnings(ran) == 1
    assert b"init() failed" in ran.stderr


def warnings(ran: Ran) -> int:
    return ran.stderr.count(WARNING)
