"""The table of docs/running.md, "What may change before a resume": a case for each row that a resume decides."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.drifting import DONE, ITEMS, LEFT, TOML, Drifting, drifting
from tests.e2e.driver import Job

ACCEPT = ("--accept-changes",)
BESIDE = ("status.json", "lock", "guest.pyz")  # files that any command may write


def grow(path: Path) -> None:
    with path.open("a") as file:
        file.write("and more\n")


def touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def rewrite_in_secret(path: Path) -> None:
    was = path.stat()
    path.write_text(path.read_text().upper())
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_link(path: Path) -> None:
    path.unlink()
    elsewhere = path.parent.parent / "elsewhere"
    elsewhere.touch()
    path.symlink_to(elsewhere)


def rewrite(path: Path, text: str) -> None:
    path.write_text(text)


@dataclass(frozen=True)
class Row:
    """`change` is done to the killed run; a resume with `flags` then exits `code` and names `told`. Refused, it goes on
    with --accept-changes. In the end rows scored since are as `now` says, that of LEFT as `left` (None: given up)."""

    change: Callable[[Drifting], object]
    code: int
    told: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    now: Mapping[str, str] = field(default_factory=dict)
    left: Mapping[str, str] | None = field(default_factory=dict)


ROWS = {
    "input to be scored: size": Row(lambda d: grow(d.left), 6, (LEFT, "size 23 -> 32"), left={"size": "32"}),
    "input to be scored: mtime": Row(lambda d: touch(d.left), 6, (LEFT, "mtime_ns")),
    "input to be scored: content, mtime restored": Row(
        lambda d: rewrite_in_secret(d.left), 6, (LEFT, "says its change time")
    ),
    "input to be scored: removed": Row(lambda d: d.left.unlink(), 0, (LEFT, "FileNotFoundError"), left=None),
    "input to be scored: a folder now": Row(
        lambda d: make_folder(d.left), 6, (LEFT, "no longer a regular file"), left=None
    ),
    "input to be scored: a link now": Row(lambda d: make_link(d.left), 6, (LEFT, "size 23 -> 0"), left={"size": "0"}),
    "script": Row(
        lambda d: rewrite(d.job.code / "score.py", (d.job.code / "score.py").read_text() + "\nVERSION = 2\n"),
        6, ("score.py changed", "sha256"), now={"helper": "2"},
    ),
    "helper module": Row(
        lambda d: rewrite(d.job.code / "helper.py", "VERSION = 2  # another size\n"),
        6, ("code/helper.py changed",), now={"helper": "2"},
    ),
    "module added": Row(lambda d: rewrite(d.job.code / "new.py", ""), 6, ("code/new.py added",)),
    "model file": Row(
        lambda d: rewrite(d.job.folder / "model/weights.txt", "2\n"), 6, ("weights.txt changed",), now={"model": "2"}
    ),
    "model file added": Row(lambda d: rewrite(d.job.folder / "model/more", ""), 6, ("more added",)),
    "variable of the spec": Row(
        lambda d: None, 6, ("environment variable FLAVOUR added",),
        ("--env", "FLAVOUR=spumoni"), {"flavour": "spumoni"},
    ),
    "script's arguments": Row(
        lambda d: rewrite(d.job.folder / "batchctl.toml", TOML + 'arguments = ["--word", "two"]\n'),
        6, ("arguments",), now={"word": "two"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_change_and_its_option(job: Job, row: Row) -> None:
    drift = drifting(job)
    row.change(drift)
    before = job.out.picture(beside=BESIDE)
    ran = drift.resume(*row.flags).expect(row.code)
    ran.names(*row.told)
    assert b"spumoni" not in ran.stderr, "the value of a variable was shown"
    if row.code:
        ran.names("--accept-changes", "--fresh")
        # Of an input it is known when it is about to be handed out: what was handed out before it is finished.
        assert LEFT in row.told or job.out.picture(beside=BESIDE) == before, "a refusal wrote to the run"
        drift.resume(*row.flags, *ACCEPT).expect(0)
    rows = drift.rows(**row.now)
    number = int(LEFT[4:7])
    rows[number : number + 1] = [] if row.left is None else [drift.row(number, **{**row.now, **row.left})]
    assert job.out.rows == rows
    assert job.out.summary["items_quarantined"] == (row.left is None)
    job.batchctl("verify", "out").expect(0)


FREE_TO_CHANGE: dict[str, tuple[Callable[[Drifting], object], dict[str, object]]] = {
    "OUT moved": (lambda d: d.job.out.path.rename(d.job.folder / "moved"), {"out": "moved"}),
    "a variable that the spec does not name": (lambda d: None, {"env": {"FLAVOUR": "lemon"}}),
    "fewer cpus": (lambda d: None, {"prefix": ("taskset", "-c", str(min(os.sched_getaffinity(0))))}),
    "another host": (
        lambda d: None,
        {"prefix": ("unshare", "--uts", "sh", "-c", 'hostname drifted && exec "$@"', "sh")},
    ),
}


@pytest.mark.parametrize(("change", "given"), FREE_TO_CHANGE.values(), ids=FREE_TO_CHANGE)
def test_what_is_free_to_change(job: Job, change: Callable[[Drifting], object], given: dict[str, object]) -> None:
    prefix = given.get("prefix")
    if isinstance(prefix, tuple) and not shutil.which(prefix[0]):
        pytest.skip(f"not run: {prefix[0]} is not there")
    if isinstance(prefix, tuple) and prefix[0] == "unshare" and os.geteuid():
        pytest.skip("not run: a host name of its own takes root")
    drift = drifting(job)
    change(drift)
    drift.resume(**given).expect(0)
    out = str(given.get("out", "out"))
    now = {"flavour": "lemon"} if "env" in given else {}
    assert (job.folder / out / "predictions.csv").read_text().split("\n")[1:-1] == drift.rows(**now)
    job.batchctl("verify", out).expect(0)


COMMITTED: dict[str, tuple[Callable[[Drifting], object], str]] = {
    "changed": (lambda d: grow(d.done), "size"),
    "removed": (lambda d: d.done.unlink(), "missing"),
}


@pytest.mark.parametrize(("change", "kind"), COMMITTED.values(), ids=COMMITTED)
def test_what_is_scored_is_looked_at_by_verify_alone(job: Job, change: Callable[[Drifting], object], kind: str) -> None:
    drift = drifting(job)
    job.batchctl("verify", "out", "--inputs").expect(0).names("as they were planned")
    change(drift)
    drift.resume().expect(0)
    assert job.out.rows == drift.rows()
    job.batchctl("verify", "out").expect(0)
    ran = job.batchctl("verify", "out", "--inputs", "--json").expect(6)
    (found,) = ran.json["inputs"]["changes"]
    assert (found["path"], found["change"], found["scored"]) == (str(drift.done), kind, True)
    assert (ran.json["sound"], ran.json["inputs"]["looked_at"]) == (True, ITEMS)
    job.batchctl("verify", "out", "--inputs").expect(6).names(DONE, "scored before")
    drift.resume().expect(0).names("complete")


def test_verify_tells_what_is_still_to_be_scored(job: Job) -> None:
    drift = drifting(job)
    grow(drift.left)
    job.batchctl("verify", "out", "--inputs").expect(6).names(LEFT, "size 23 -> 32", "still to be scored")


def test_a_file_that_was_added_is_counted_and_no_more(job: Job) -> None:
    drift = drifting(job)
    (job.inputs / "item999.txt").write_text("new")
    job.batchctl("plan", "batchctl.toml", "in", "-o", "out", *drift.flags).expect(0).names("1 file(s) added", "item999")
    drift.resume().expect(0).names("added")
    assert job.out.rows == drift.rows()
    assert job.out.summary["items_added"] == 1
    (job.inputs / "item998.txt").write_text("new")
    assert drift.resume("--json").expect(0).json["items_added"] == 2, "a complete run does not say it"
    job.batchctl("verify", "out", "--inputs").expect(0)


def test_inputs_that_are_gone_together_are_no_failures(job: Job) -> None:
    """A disk that is not mounted: its folder is empty, or not there."""
    drift = drifting(job)
    away = job.folder / "away"
    job.inputs.rename(away)
    drift.resume().expect(6).names(str(job.inputs), "gone", "symbolic link", "--accept-changes", "--fresh")
    job.inputs.mkdir()
    drift.resume().expect(6).names(str(job.inputs), "empty")
    job.inputs.rmdir()
    job.inputs.symlink_to(away)
    drift.resume().expect(0)
    assert job.out.rows == drift.rows()


def test_inputs_are_compared_where_the_first_start_came_to_nothing(job: Job) -> None:
    """It had made the plan, and found no room for a worker."""
    drift = Drifting.begun(job)
    drift.gate.open()
    drift.resume("--max-retries", "0", "--mem-reserve", "900T").expect(5)
    grow(drift.left)
    drift.resume("--max-retries", "0").expect(6).names(LEFT, "--accept-changes")
    assert job.batchctl("inspect", "out").expect(0).lines[-1]["type"] == "CLOSE"  # it has left in good order
    drift.resume("--max-retries", "0", *ACCEPT).expect(0)
    assert len(job.out.rows) == ITEMS


def test_another_input_does_not_move_the_planned_files(job: Job) -> None:
    """Accepting the one change does not accept what has not been shown: that everything left would fail."""
    drift = drifting(job)
    job.inputs.rename(job.folder / "away")
    words = ("run", "batchctl.toml", "away", "-o", "out", *drift.flags)
    job.batchctl(*words).expect(6).names("inputs: ", "the planned files are read where they were")
    job.batchctl(*words, *ACCEPT).expect(6).names(str(job.inputs), "gone")
    job.batchctl(*words, *ACCEPT).expect(0)
    assert job.out.rows == drift.rows()[: job.out.summary["items_succeeded"]]
    assert job.out.summary["items_quarantined"] == ITEMS - job.out.summary["items_succeeded"] > 0


def test_a_complete_run_of_another_script_is_not_said_to_be_complete(job: Job) -> None:
    drift = drifting(job)
    drift.resume().expect(0)
    rewrite(job.code / "helper.py", "VERSION = 2  # another size\n")
    drift.resume().expect(6).names("code/helper.py changed")
    drift.resume(*ACCEPT).expect(0).names("complete")
    assert job.out.rows == drift.rows()
