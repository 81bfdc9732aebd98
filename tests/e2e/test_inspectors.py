"""status, inspect, verify, plan, check and probe, on runs in every state and wherever OUT was moved to."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.driver import Job
from tests.e2e.halting import ITEMS, gated, halt

SMALL = ("--mini-batch-size", "2", "--workers", "2")
NONE, STOPPED, CRASHED, FINISHED = "none", "stopped", "crashed", "finished"


def nothing(job: Job) -> None:
    gated(job)


def stopped(job: Job) -> None:
    gate, _ = gated(job)
    halt(job, gate, *SMALL).expect(75)


def crashed(job: Job) -> None:
    gate, _ = gated(job)
    halt(job, gate, *SMALL, number=signal.SIGKILL).expect(-signal.SIGKILL)


def finished(job: Job) -> None:
    gate, _ = gated(job)
    gate.open()
    job.run(*SMALL).expect(0)


STATES: dict[str, Callable[[Job], None]] = {NONE: nothing, STOPPED: stopped, CRASHED: crashed, FINISHED: finished}
JOB = ("code/score.py", "in")

# Command -> exit code by state; check and probe look at no OUT. One that is no run directory is a wrong argument.
COMMANDS: dict[str, tuple[tuple[str, ...], dict[str, int]]] = {
    "status": (("status", "out"), {NONE: 2, STOPPED: 0, CRASHED: 0, FINISHED: 0}),
    "status json": (("status", "out", "--json"), {NONE: 2, STOPPED: 0, CRASHED: 0, FINISHED: 0}),
    "inspect": (("inspect", "out"), {NONE: 2, STOPPED: 0, CRASHED: 0, FINISHED: 0}),
    "failures": (("failures", "out"), {NONE: 2, STOPPED: 0, CRASHED: 0, FINISHED: 0}),
    "failures json": (("failures", "out", "--json"), {NONE: 2, STOPPED: 0, CRASHED: 0, FINISHED: 0}),
    "verify": (("verify", "out"), {NONE: 2, STOPPED: 0, CRASHED: 0, FINISHED: 0}),
    "verify json": (("verify", "out", "--json"), {NONE: 2, STOPPED: 0, CRASHED: 0, FINISHED: 0}),
    "plan": (("plan", *JOB, *SMALL, "-o", "out"), {NONE: 0, STOPPED: 0, CRASHED: 0, FINISHED: 0}),
    "plan json": (("plan", *JOB, *SMALL, "-o", "out", "--json"), {NONE: 0, STOPPED: 0, CRASHED: 0, FINISHED: 0}),
    "check": (("check", *JOB), {NONE: 0}),
    "check json": (("check", *JOB, "--json"), {NONE: 0}),
    "probe": (("probe",), {NONE: 0}),
    "probe json": (("probe", "--json"), {NONE: 0}),
}


@pytest.mark.parametrize("state", STATES)
def test_every_inspector_answers_and_writes_nothing(job: Job, state: str) -> None:
    STATES[state](job)
    before = job.out.picture() if job.out.path.exists() else {}
    for name, (argv, codes) in COMMANDS.items():
        if state not in codes:
            continue
        ran = job.batchctl(*argv).expect(codes[state])
        if ran.code == 0:
            assert ran.stdout.strip(), f"{name} said nothing"
            if "--json" in argv:
                assert isinstance(ran.json, dict)
        else:
            ran.names("out")
            assert ran.stdout == b""
    assert (job.out.picture() if job.out.path.exists() else {}) == before, "an inspector wrote to the run"


@pytest.mark.parametrize("state", [STOPPED, CRASHED, FINISHED])
def test_status_tells_the_state(job: Job, state: str) -> None:
    STATES[state](job)
    told = job.batchctl("status", "out", "--json").expect(0).json
    assert told["verdict"] == state
    progress = told["status"]["progress"]
    assert progress["items"] == ITEMS
    if state == FINISHED:
        assert (progress["items_done"], told["summary"]["rows"]) == (ITEMS, ITEMS)
    else:
        assert progress["items_done"] < ITEMS


def test_status_of_a_run_that_goes_on(job: Job) -> None:
    gate, _ = gated(job)
    with job.start("run", *JOB, "-o", "out", *SMALL) as started:
        gate.wait_reached(started)
        told = job.batchctl("status", "out", "--json").expect(0).json
        assert told["verdict"] == "running"
        assert told["status"]["progress"]["pid"] == started.process.pid
        job.batchctl("status", "out").expect(0)
        job.batchctl("inspect", "out").expect(0)
        gate.open()
        started.end().expect(0)


@pytest.mark.parametrize("state", [STOPPED, FINISHED])
def test_plan_tells_what_a_resume_would_skip(job: Job, state: str) -> None:
    STATES[state](job)
    fresh = job.batchctl("plan", *JOB, *SMALL, "--json").expect(0).json
    assert (fresh["items"], fresh["batches"], fresh["workers"]) == (ITEMS, ITEMS // 2, 2)
    assert fresh["bytes"] == sum(path.stat().st_size for path in job.inputs.iterdir())
    assert (fresh["state"], fresh["done_items"]) == ("new", 0)
    told = job.batchctl("plan", *JOB, *SMALL, "-o", "out", "--json").expect(0).json
    assert told["state"] not in ("", "new")
    assert told["done_items"] == job.out.summary["items_succeeded"]


def test_inspect_prints_the_log_as_one_object_a_line(job: Job) -> None:
    finished(job)
    records = job.batchctl("inspect", "out").expect(0).lines
    assert records
    assert all(isinstance(record, dict) for record in records)


def test_a_run_that_was_moved_is_still_readable(job: Job) -> None:
    finished(job)
    expected = job.batchctl("inspect", "out").expect(0).stdout
    shutil.move(job.out.path, job.folder / "archive")
    shutil.rmtree(job.inputs)
    shutil.rmtree(job.code)
    assert job.batchctl("status", "archive", "--json").expect(0).json["verdict"] == FINISHED
    assert job.batchctl("inspect", "archive").expect(0).stdout == expected
    job.batchctl("verify", "archive").expect(0)


def test_a_half_done_run_that_was_moved_is_still_readable_and_resumes(job: Job) -> None:
    gate, rows = gated(job)
    halt(job, gate, *SMALL).expect(75)
    job.out.path.rename(job.folder / "elsewhere")
    assert job.batchctl("status", "elsewhere", "--json").expect(0).json["verdict"] == STOPPED
    job.batchctl("verify", "elsewhere").expect(0)
    gate.open()
    job.run(*SMALL, out="elsewhere").expect(0)
    assert (job.folder / "elsewhere" / "predictions.csv").read_text().splitlines()[1:] == rows


@pytest.mark.parametrize("damage", ["a row", "the log", "a byte too many", "the end is missing"])
def test_verify_finds_damage_and_repairs_nothing(job: Job, damage: str) -> None:
    finished(job)
    log, final = job.out.run_directory / "checkpoint.log", job.out.path / "predictions.csv"
    path = log if damage == "the log" else final
    data = bytearray(path.read_bytes())
    if damage == "a byte too many":
        data += b"x"
    elif damage == "the end is missing":
        del data[-1:]
    else:
        data[len(data) // 2] ^= 0x40
    path.write_bytes(data)
    before = job.out.picture(beside=("lock",))
    job.batchctl("verify", "out").expect(7).names(path.name)
    assert job.out.picture(beside=("lock",)) == before
    # A run over the damaged OUT must not pass it off as complete by scoring again or cutting.
    if damage == "the log":
        job.run(*SMALL).expect(7)


def gone(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [gone, emptied, flipped], ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("name", [".batchctl/job.json", ".batchctl/plan", ".batchctl/checkpoint.log"])
def test_a_damaged_run_directory_is_reported_and_never_harms_the_result(
    job: Job, name: str, harm: Callable[[Path], None]
) -> None:
    finished(job)
    result = job.out.predictions
    harm(job.out.path / name)
    job.batchctl("verify", "out").expect(7).names(name)
    ran = job.run(*SMALL).expect(7)
    ran.names(name)
    ran.remedied()
    if name.endswith("job.json"):  # which says what of OUT is the run's: without it nothing can be deleted safely
        job.run(*SMALL, "--fresh").expect(7)
        assert job.out.predictions == result, "a result was harmed"
    else:
        job.run(*SMALL, "--fresh").expect(0)
        job.batchctl("verify", "out").expect(0)
        assert job.out.predictions == result


@pytest.mark.parametrize("harm", [gone, emptied], ids=lambda harm: harm.__name__)
def test_a_finished_run_is_known_as_such_without_its_undurable_files(job: Job, harm: Callable[[Path], None]) -> None:
    """status.json, summary.json and attempts.csv are not synced: a power cut may take them."""
    finished(job)
    for name in ("status.json", "summary.json", "attempts.csv"):
        harm(job.out.run_directory / name)
    job.batchctl("verify", "out").expect(0)
    job.run(*SMALL).expect(0).names("complete")
    assert (job.out.summary["rows"], job.out.summary["exit_code"]) == (ITEMS, 0)
    assert job.batchctl("status", "out", "--json").expect(0).json["verdict"] == FINISHED


def test_probe_tells_this_machine(job: Job) -> None:
    node = job.batchctl("probe", "--json").expect(0).json["node"]
    assert node["cpus"]
    assert 0 < node["memory_available"] <= node["memory_limit"] <= node["memory_total"]


@pytest.mark.parametrize("command", ["run", "status", "check", "plan", "inspect", "verify", "probe"])
def test_help_of_every_command(job: Job, command: str) -> None:
    ran = job.batchctl(command, "--help").expect(0)
    ran.names(f"batchctl {command}", "exit codes", "75")
    assert ran.stderr == b""
