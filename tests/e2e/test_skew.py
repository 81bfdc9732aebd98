"""Files of very unequal size: which mini-batch is handed out first, and how mini-batches are bounded by bytes."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e.driver import Job, Out, row
from tests.e2e.halting import GATE_AT, ITEMS, Gate, gated, halt

# One at a time, so that attempts.csv has the order in which mini-batches were handed out.
ALONE = ("--workers", "1", "--mini-batch-size", "2")
HALF = int(GATE_AT.removeprefix("item"))


def sized(job: Job, sizes: list[int]) -> list[str]:
    """Inputs of these sizes in plan order, and the rows of score.py."""
    rows = []
    for number, size in enumerate(sizes):
        name, content = f"item{number:03d}.txt", (b"%03d " % number).ljust(size, b".")
        (job.inputs / name).write_bytes(content)
        rows.append(row(name, content))
    return rows


def handed_out(out: Out, *, epoch: int = 1) -> list[int]:
    """First items of the attempts of an epoch, in order."""
    return [int(attempt["First Item"]) for attempt in out.attempts if attempt["Epoch"] == str(epoch)]


def test_the_order_of_work_leaves_no_trace_in_the_output(job: Job) -> None:
    job.script()
    rows = sized(job, [10, 10, 50, 5, 700, 1000, 30, 40, 8])
    job.run(*ALONE).expect(0)
    assert handed_out(job.out) == [4, 6, 2, 0, 8]
    job.run(*ALONE, "--schedule", "plan", out="planned").expect(0)
    planned = Out(job.folder / "planned")
    assert handed_out(planned) == [0, 2, 4, 6, 8]
    assert job.out.predictions == planned.predictions
    assert job.out.rows == rows


def gated_by_size(job: Job) -> tuple[Gate, list[str]]:
    """As `gated`, the items up to the gate larger than the others, and in both halves the last ones largest."""
    gate, _ = gated(job)
    return gate, sized(job, [1000 + n if n < HALF else 100 + n for n in range(ITEMS)])


UP_TO_GATE = list(range(0, HALF, 2))
BEHIND = list(range(HALF, ITEMS, 2))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "drained"])
@pytest.mark.parametrize(
    ("before", "after"),
    [("largest-first", "plan"), ("plan", "largest-first")],
    ids=["to plan order", "from plan order"],
)
def test_a_resume_may_change_the_schedule(job: Job, before: str, after: str, number: int) -> None:
    gate, rows = gated_by_size(job)
    halt(job, gate, *ALONE, "--schedule", before, number=number)
    done = handed_out(job.out)
    assert done == _order(before)[: len(done)]
    gate.open()
    job.run(*ALONE, "--schedule", after).expect(0)
    rest = handed_out(job.out, epoch=2)
    assert rest == [first for first in _order(after) if first in set(rest)]
    assert set(BEHIND[1:-1]) <= set(rest)
    assert job.out.rows == rows
    job.run(*ALONE, out="undisturbed").expect(0)
    assert job.out.predictions == Out(job.folder / "undisturbed").predictions
    job.batchctl("verify", "out").expect(0)


def _order(schedule: str) -> list[int]:
    return [*UP_TO_GATE, *BEHIND] if schedule == "plan" else [*reversed(UP_TO_GATE), *reversed(BEHIND)]


SIZES = [10, 60, 40, 200, 5, 5, 5, 5]
# name: what says so -> items of each mini-batch
BOUNDED = {
    "by flag": (["--max-batch-bytes", "100"], [2, 1, 1, 4]),
    "by --set": (["--set", "max_batch_bytes=100"], [2, 1, 1, 4]),
    "and by count": (["--max-batch-bytes", "100", "--mini-batch-size", "3"], [2, 1, 1, 3, 1]),
    "not": ([], [8]),
}


@pytest.mark.parametrize("case", BOUNDED)
def test_mini_batches_are_bounded_by_bytes(job: Job, case: str) -> None:
    flags, expected = BOUNDED[case]
    job.script()
    rows = sized(job, SIZES)
    assert job.batchctl("plan", "code/score.py", "in", *flags, "--json").expect(0).json["batches"] == len(expected)
    job.run("--workers", "1", *flags, "--schedule", "plan").expect(0)
    assert [int(attempt["Total"]) for attempt in job.out.attempts] == expected
    assert job.out.rows == rows


def test_by_variable_and_by_file(job: Job) -> None:
    job.script()
    sized(job, SIZES)
    job.write("batchctl.toml", 'script = "code/score.py"\nmax_batch_bytes = "100"\n')
    assert job.batchctl("plan", "batchctl.toml", "in", "--json").expect(0).json["batches"] == 4
    env = {"BATCHCTL_MAX_BATCH_BYTES": "1K"}
    assert job.batchctl("plan", "batchctl.toml", "in", "--json", env=env).expect(0).json["batches"] == 1


def test_an_azure_deployment_is_bounded_and_scheduled_by_flag(job: Job) -> None:
    job.script()
    job.write(
        "deployment.yml",
        "name: digits\ntype: model\ncode_configuration:\n  code: code\n  scoring_script: score.py\n"
        "settings:\n  mini_batch_size: 10\n  max_concurrency_per_instance: 1\n",
    )
    rows = sized(job, SIZES)
    job.batchctl("plan", "deployment.yml", "in").expect(0).names("schedule  in plan order: default (azure dialect)")
    flags = ("--max-batch-bytes", "100", "--schedule", "largest-first")
    job.batchctl("run", "deployment.yml", "in", "-o", "out", *flags).expect(0)
    assert handed_out(job.out) == [3, 0, 2, 4]
    assert job.out.rows == rows


def test_another_bound_on_a_resume_is_refused(job: Job) -> None:
    gate, _ = gated_by_size(job)
    halt(job, gate, *ALONE, "--max-batch-bytes", "4K")
    job.run(*ALONE, "--max-batch-bytes", "8K").expect(6).names("max_batch_bytes", "4096", "8192")
    job.run(*ALONE).expect(6).names("max_batch_bytes", "4096")
    gate.open()
    job.run(*ALONE, "--max-batch-bytes", "4K").expect(0)


def test_beside_partition_keys_it_is_refused(job: Job) -> None:
    job.script()
    job.items(2, below="user=a")
    keys = 'script = "code/score.py"\npartition_keys = ["user"]\n'
    job.write("batchctl.toml", keys)
    ran = job.batchctl("plan", "batchctl.toml", "in", "--max-batch-bytes", "1M").expect(2)
    ran.names("--max-batch-bytes", "partition_keys", "Remove one of them")


def many(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"{number:05d}").touch()


def test_plan_says_which_schedule_applies_and_why(job: Job) -> None:
    job.script()
    many(job.inputs, 40)
    plan = ("plan", "code/score.py", "in")
    job.batchctl(*plan).expect(0).names("schedule  largest-first: sizes of 40 files known")
    job.batchctl(*plan, "--schedule", "plan").expect(0).names("schedule  in plan order: --schedule")
    for below in "abcde":  # a folder's files are looked at together, so one of 6,000 would have sizes
        (job.inputs / below).mkdir()
        many(job.inputs / below, 1200)
    unasked = "schedule  in plan order: sizes are not used above 5,000 files"
    job.batchctl(*plan).expect(0).names(unasked, "--schedule largest-first looks at them")
    job.batchctl(*plan, "--schedule", "largest-first").expect(0).names("largest-first: sizes of 6,040 files known")
    job.run("--mini-batch-size", "2000").expect(0)
    late = "in plan order: the run was planned without the sizes of its 6,040 files"
    flags = ("--mini-batch-size", "2000", "-o", "out", "--schedule", "largest-first")
    job.batchctl(*plan, *flags).expect(0).names(f"schedule  {late}")
