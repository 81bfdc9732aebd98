"""What an attack found once, each as a run of the real command."""

from __future__ import annotations

import os

import pytest

from tests.e2e.driver import Job
from tests.e2e.halting import gated, halt

ONE = ("--mini-batch-size", "1", "--workers", "1")


def mischief(job: Job, what: str, *, items: int = 8) -> list[str]:
    job.script("mischief", MISCHIEF=what, PRECIOUS=job.folder / "precious")
    return job.items(items)


@pytest.mark.parametrize("what", ["link", "link_and_raise"])
def test_a_link_in_place_of_the_output_folder_leads_nowhere(job: Job, what: str) -> None:
    mischief(job, what)
    precious = job.folder / "precious"
    (precious / "sub").mkdir(parents=True)
    (precious / "a").write_text("mine")
    (precious / "sub" / "b").write_text("mine too")
    job.run(*ONE, "--max-retries", "0").expect(0)
    assert sorted(str(path.relative_to(precious)) for path in precious.rglob("*")) == ["a", "sub", "sub/b"]
    assert not (job.out.path / "a").exists()


def test_a_name_is_a_file_or_a_folder_and_not_both(job: Job) -> None:
    mischief(job, "clash")
    job.run(*ONE, "--max-retries", "0").expect(0)
    for number in range(4):
        assert (job.out.path / f"x{number}").exists()
    assert job.out.summary["items_failed"] == 4
    job.batchctl("verify", "out").expect(0)


def test_a_file_that_is_still_being_written_fails_its_attempt_only(job: Job) -> None:
    mischief(job, "leave_writer")
    ran = job.run(*ONE, "--max-retries", "0")
    ran.expect(0)
    assert job.out.summary["items_succeeded"] in (7, 8)  # its own may have been read when the writer was through
    assert len(job.out.rows) == job.out.summary["items_succeeded"]
    job.batchctl("verify", "out").expect(0)


def test_rows_that_were_damaged_are_never_sealed(job: Job) -> None:
    gate, _ = gated(job)
    halt(job, gate, *ONE).expect(75)
    partial = job.out.path / "predictions.csv.partial"
    data = bytearray(partial.read_bytes())
    data[len(data) // 3] ^= 1
    partial.write_bytes(bytes(data))
    gate.open()
    job.run(*ONE).expect(7).names("predictions.csv.partial")
    assert not (job.out.path / "predictions.csv").exists()


@pytest.mark.parametrize("given", ["@list.txt", "-"])
def test_a_list_is_what_it_says(job: Job, given: str) -> None:
    job.script()
    job.items(12)
    paths = sorted(os.fspath(path) for path in job.inputs.iterdir())

    def run(wanted: list[str], code: int) -> None:
        listing = "\n".join(wanted) + "\n"
        (job.folder / "list.txt").write_text(listing)
        job.batchctl("run", "code/score.py", given, "-o", "out", stdin=listing.encode()).expect(code)

    run(paths[:6], 0)
    run(paths[:6], 0)
    run(paths, 6)


def test_a_current_folder_that_is_gone_is_said(job: Job) -> None:
    job.script()
    job.items(3)
    gone = ("/bin/sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh")
    ran = job.batchctl("run", job.code / "score.py", job.inputs, "-o", job.folder / "out", prefix=gone)
    ran.expect(2).names("current folder")
    ran.remedied()


def test_a_result_that_somebody_put_there_is_not_taken_for_ours(job: Job) -> None:
    gate, rows = gated(job)
    halt(job, gate, *ONE).expect(75)
    final = job.out.path / "predictions.csv"
    final.write_text("mine\n")
    gate.open()
    job.run(*ONE).expect(2).names("predictions.csv", "move it away")
    assert final.read_text() == "mine\n"
    final.unlink()
    job.run(*ONE).expect(0)
    assert job.out.rows == rows


def test_rows_without_their_log_are_no_sound_run(job: Job) -> None:
    gate, _ = gated(job)
    halt(job, gate, *ONE).expect(75)
    (job.out.run_directory / "checkpoint.log").unlink()
    job.batchctl("verify", "out").expect(7).names("checkpoint.log")


def test_a_fork_server_that_is_stopped_costs_the_late_item_only(job: Job) -> None:
    mischief(job, "stop_server")
    job.run("--mini-batch-size", "1", "--workers", "2", "--timeout", "3", "--max-retries", "0").expect(0)
    assert [name for name in job.out.rows if "item" in name] == [f"item{n:03d}.txt" for n in range(8) if n != 3]
    assert job.out.summary["attempts_timed_out"] == 1
    assert job.out.summary["items_quarantined"] == 1
