"""The final file is begun while the last mini-batch is scored: it is there early, and nothing comes of it but time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.driver import Job, Out, Started, wait_for
from tests.e2e.halting import Gate

ITEMS, WIDE = 60, 200_000
FLAGS = ("--mini-batch-size", "2", "--workers", "2")


@pytest.fixture(params=["parquet", "csv", "jsonl"])
def output_format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def gate(job: Job) -> Gate:
    """The last item waits at it, and all the others make 12 MB of rows."""
    gate = Gate(job.folder / "gate")
    job.script("tables", WIDE=WIDE, GATE=job.folder / "gate")
    job.items(ITEMS)
    (job.inputs / f"item{ITEMS - 1:03d}.txt").write_text("gated")
    return gate


def names(out: Out) -> list[str]:
    return sorted(path.name for path in out.path.iterdir() if path.name != ".batchctl")


def wait_begun(job: Job, started: Started, gate: Gate, output_format: str) -> None:
    """Of text no more is to be seen from outside than that somebody has the rows open for reading."""
    gate.wait_reached(started)
    name = f"predictions.{output_format}"
    if output_format == "parquet":
        wait_for((job.out.path / f"{name}.sorting").exists, "the table to be begun")
    else:
        wait_for(lambda: handles(started.process.pid, job.out.path / f"{name}.partial") == 2, "the rows to be read")


def handles(pid: int, path: Path) -> int:
    """How often this process has the file open."""
    links = Path(f"/proc/{pid}/fd").iterdir()
    return sum(os.path.realpath(link) == str(path.resolve()) for link in links)


def test_a_run_that_is_stopped_when_all_is_scored_leaves_no_table(job: Job, gate: Gate) -> None:
    flags = (*FLAGS, "--output-format", "parquet")
    with job.start("run", "code/score.py", "in", "-o", "out", *flags) as started:
        wait_begun(job, started, gate, "parquet")
        started.signal(signal.SIGTERM)
        wait_for(lambda: job.out.state == "draining" or not started.alive(), "the run to drain")
        gate.open()
        assert started.end().code == 75
    assert names(job.out) == ["predictions.parquet.partial"]
    job.run(*flags).expect(0)
    assert names(job.out) == ["predictions.parquet"]


@pytest.mark.parametrize("number", [None, signal.SIGKILL, signal.SIGTERM], ids=["undisturbed", "SIGKILL", "SIGTERM"])
def test_it_ends_in_the_same_bytes(job: Job, gate: Gate, output_format: str, number: signal.Signals | None) -> None:
    flags = (*FLAGS, "--output-format", output_format)
    final = f"predictions.{output_format}"
    gate.open()
    job.run(*flags, "--workers", "1", "--order", "completion", out="reference").expect(0)
    gate.shut()
    with job.start("run", "code/score.py", "in", "-o", "out", *flags) as started:
        wait_begun(job, started, gate, output_format)
        if number is None:
            gate.open()
            assert started.end().code == 0
        else:
            started.signal(number)
            if number == signal.SIGTERM:
                wait_for(lambda: job.out.state == "draining" or not started.alive(), "the run to drain")
                started.signal(number)
            started.end()
            assert names(job.out) == [
                f"{final}.partial",
                *([f"{final}.sorting"] if number == signal.SIGKILL and output_format == "parquet" else []),
            ]
    if number is not None:
        gate.open()
        job.run(*flags).expect(0)
    assert names(job.out) == [final]
    assert (job.out.path / final).read_bytes() == (job.folder / "reference" / final).read_bytes()
    told = job.batchctl("verify", "out", "--json").expect(0).json
    assert (told["sound"], told["n_rows"]) == (True, ITEMS)
