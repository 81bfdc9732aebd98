"""mini_batch_error_threshold and allowed_failed_percent: what counts as a failed mini-batch, and when it ends a run."""

from __future__ import annotations

import pytest

from tests.e2e.driver import Job

# A row a file; raises for an empty file whose name holds "bad"; says nothing of an empty one whose name holds "short".
SCRIPT = """
import os


def run(mini_batch):
    names = [os.path.basename(path) for path in mini_batch if os.path.getsize(path)]
    empty = [os.path.basename(path) for path in mini_batch if not os.path.getsize(path)]
    if any("bad" in name for name in empty):
        raise ValueError("a bad file")
    return sorted(names + [name for name in empty if "short" not in name])
"""
GOOD, BAD, SHORT = "good", "bad", "short"
# Mini-batches of two files each, by what is wrong with the second one.
THREE_BAD = (GOOD, BAD, GOOD, BAD, GOOD, BAD, GOOD, GOOD, GOOD, GOOD)
TWO_SHORT = (SHORT, BAD, SHORT, *[GOOD] * 7)

# name: (kinds, flags, exit code, words)
CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...], int, tuple[str, ...]]] = {
    "no limit": (THREE_BAD, (), 0, ()),
    "as many as allowed": (THREE_BAD, ("--mini-batch-error-threshold", "3"), 0, ()),
    "one more than allowed": (
        THREE_BAD, ("--mini-batch-error-threshold", "2"), 3,
        ("mini-batches failed; the mini-batch error threshold is 2",),
    ),
    "none allowed": (THREE_BAD, ("--mini-batch-error-threshold", "0"), 3, ("the mini-batch error threshold is 0",)),
    "as many percent": (THREE_BAD, ("--allowed-failed-percent", "30"), 0, ()),
    "more percent": (
        THREE_BAD, ("--allowed-failed-percent", "29.9"), 3, ("3 of 10 mini-batches failed; 29.9% may fail",),
    ),
    "short, any file may fail": (TWO_SHORT, ("--mini-batch-error-threshold", "1"), 0, ()),
    "short, files are limited": (
        TWO_SHORT, ("--mini-batch-error-threshold", "1", "--error-threshold", "9"), 3,
        ("mini-batches failed; the mini-batch error threshold is 1",),
    ),
    "the first one exceeded decides": (
        THREE_BAD, ("--mini-batch-error-threshold", "9", "--error-threshold", "2"), 3,
        ("items failed; the error threshold is 2",),
    ),
}  # fmt: skip


def prepared(job: Job, kinds: tuple[str, ...]) -> None:
    (job.code / "score.py").write_text(SCRIPT)
    for number, kind in enumerate(kinds):
        (job.inputs / f"{number:02d}-a").touch()
        (job.inputs / f"{number:02d}-b-{kind}").touch()


FLAGS = ("--mini-batch-size", "2", "--workers", "1", "--max-retries", "1")


@pytest.mark.parametrize("name", CASES)
def test_failed_mini_batches(job: Job, name: str) -> None:
    kinds, flags, code, words = CASES[name]
    prepared(job, kinds)
    job.run(*FLAGS, *flags).expect(code).names(*words)
    if code == 3:
        assert not (job.out.path / "predictions.csv").exists()


def test_they_are_judged_anew_on_a_resume(job: Job) -> None:
    prepared(job, THREE_BAD)
    job.run(*FLAGS, "--mini-batch-error-threshold", "1").expect(3).names("the mini-batch error threshold is 1")
    job.run(*FLAGS, "--mini-batch-error-threshold", "1").expect(3).names("the mini-batch error threshold is 1")
    job.run(*FLAGS, "--allowed-failed-percent", "20").expect(3).names("3 of 10 mini-batches failed")
    job.run(*FLAGS).expect(0)
    assert job.out.rows == sorted(path.name for path in job.inputs.iterdir() if "bad" not in path.name)
    job.batchctl("verify", "out").expect(0)


# flags of the run, flags of the retry beside them
RETRIED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "none allowed": (("--mini-batch-error-threshold", "0"), ()),
    "none allowed, percent": (("--allowed-failed-percent", "0"), ()),
    "short ones": (("--mini-batch-error-threshold", "0", "--error-threshold", "9"), ("--short",)),
}


@pytest.mark.parametrize("name", RETRIED)
def test_a_retry_is_judged_by_what_stands(job: Job, name: str) -> None:
    flags, more = RETRIED[name]
    prepared(job, (SHORT, GOOD, SHORT, GOOD) if more else (GOOD, BAD, GOOD, BAD))
    again = ("retry", "out", *more, *FLAGS, *flags)
    job.run(*FLAGS, *flags).expect(3).names("mini-batch")
    job.batchctl(*again).expect(3).names("mini-batch")
    for path in job.inputs.iterdir():
        path.write_text("mended")
    job.batchctl(*again).expect(0)
    assert job.out.rows == sorted(path.name for path in job.inputs.iterdir())
    job.batchctl("verify", "out").expect(0)


def test_what_failed_a_retry_is_scored_again_under_a_wider_threshold(job: Job) -> None:
    """By then it would not fail the run any more, and yet it is what ended the retry."""
    prepared(job, (BAD, BAD, BAD))
    job.run(*FLAGS, "--error-threshold", "-1").expect(0)
    job.batchctl("retry", "out", *FLAGS, "--error-threshold", "0").expect(3)
    for path in job.inputs.iterdir():
        path.write_text("mended")
    job.batchctl("retry", "out", *FLAGS, "--error-threshold", "5").expect(0)
    assert len(job.out.rows) == 6
