"""A file that changes while it is scored: its attempt fails, the next one scores what the file is then."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.driver import Job, row
from tests.e2e.holding import HELD_ITEM, held

ITEMS = 4
ONE_BATCH = ("--mini-batch-size", str(ITEMS), "--workers", "1")


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write("and more\n")


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("another file\n")
    other.rename(path)


def rewrite_in_secret(path: Path) -> None:
    """As many bytes, the same modification time: only the change time tells."""
    was = path.stat()
    path.write_text(path.read_text().upper())
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    now = path.stat()
    assert (now.st_size, now.st_mtime_ns) == (was.st_size, was.st_mtime_ns)


def touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def lead_elsewhere(path: Path) -> None:
    (path.parent.parent / "elsewhere").write_text("behind a link\n")
    path.unlink()
    path.symlink_to(path.parent.parent / "elsewhere")


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "appended to": (append, "size 23 -> 32"),
    "replaced by rename": (replace, "size 23 -> 13"),
    "rewritten, size and mtime restored": (rewrite_in_secret, "ctime_ns"),
    "touched": (touch, "mtime_ns"),
    "a link now": (lead_elsewhere, "size 23 -> 14"),
}


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES)
def test_a_file_that_changed_is_scored_anew(job: Job, change: Callable[[Path], None], told: str) -> None:
    holding = held(job)
    rows = job.items(ITEMS)
    with holding.changing(change, times=1):
        job.run(*ONE_BATCH).expect(0)
    rows[2] = row(HELD_ITEM, holding.item.read_bytes())
    assert job.out.rows == rows, "rows of the attempt that was disturbed, or not those of the file as it is"
    first, second = job.out.attempts
    assert (first["Status"], first["Error Category"], second["Status"]) == ("failed", "InputChanged", "scored")
    assert str(holding.item) in first["Error Message"] and told in first["Error Message"]
    assert job.out.summary["items_succeeded"] == ITEMS
    job.batchctl("verify", "out").expect(0)


def test_a_file_that_never_holds_still_is_given_up_alone(job: Job) -> None:
    """Two attempts at the mini-batch, one at its half, one at the file by itself."""
    holding = held(job)
    rows = job.items(ITEMS)
    with holding.changing(append, times=4):
        job.run(*ONE_BATCH, "--max-retries", "1").expect(0)
    assert job.out.rows == [rows[0], rows[1], rows[3]]
    (given_up,) = map(json.loads, (job.out.run_directory / "quarantine.jsonl").read_text().splitlines())
    assert (given_up["class"], given_up["path"]) == ("InputChanged", str(holding.item))
    assert [count for _, _, count in job.out.charged()] == [4, 4, 2, 1]
    job.batchctl("retry", "out").expect(0)
    assert job.out.rows == [rows[0], rows[1], row(HELD_ITEM, holding.item.read_bytes()), rows[3]]


def test_a_script_may_delete_what_it_has_read(job: Job) -> None:
    holding = held(job)
    rows = job.items(ITEMS)
    with holding.changing(Path.unlink, times=1):
        job.run(*ONE_BATCH).expect(0)
    assert job.out.rows == rows
    assert job.out.charged() == []


def test_what_is_not_looked_at_is_not_noticed(job: Job) -> None:
    holding = held(job)
    rows = job.items(ITEMS)
    with holding.changing(append, times=1):
        job.run(*ONE_BATCH, "--input-check", "never").expect(0)
    assert job.out.rows == rows
    assert job.out.charged() == []


def test_a_script_that_writes_to_its_inputs_has_to_say_so(job: Job) -> None:
    held(job, mode="writes")
    job.items(ITEMS)
    job.run(*ONE_BATCH, "--max-retries", "0").expect(3).names("InputChanged", "input_check = never")
    job.run(*ONE_BATCH, "--fresh", "--input-check", "never").expect(0)
    assert len(job.out.rows) == ITEMS


FORMATS = ("azure", "csv", "jsonl")


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_change_a_kill_and_a_resume(job: Job, output_format: str) -> None:
    """The file changes under the script's hands and the coordinator is killed: what was read before is nowhere."""
    holding = held(job)
    rows = job.items(ITEMS)
    flags = ("--mini-batch-size", "2", "--workers", "1", "--output-format", output_format)
    flags += ("--output-file-name", "predictions.csv")
    words = ("run", "code/score.py", "in", "-o", "out", *flags)
    holding.lets_go = False
    (holding.folder / "armed").touch()  # before the script can look for it
    with job.start(*words) as started:

        def change_and_kill(path: Path) -> None:
            append(path)
            started.process.send_signal(signal.SIGKILL)

        with holding.changing(change_and_kill, times=1):
            started.process.wait()
    job.run(*flags).expect(6).names(HELD_ITEM, "size 23 -> 32", "--accept-changes")
    job.run(*flags, "--accept-changes").expect(0)
    rows[2] = row(HELD_ITEM, holding.item.read_bytes())
    if output_format == "jsonl":
        assert [json.loads(text)["prediction"] for text in job.out.rows] == rows
    else:
        assert job.out.rows == rows
    job.batchctl("verify", "out").expect(0)
