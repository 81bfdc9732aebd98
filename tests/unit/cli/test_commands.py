from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from batchctl.cli import cmd_check, cmd_plan, commands, scoring
from batchctl.cli.main import main
from batchctl.errors import ResumeRefusedError
from batchctl.model.job import JobSpec
from batchctl.model.progress import RunState, Summary
from batchctl.report.progress import Reporter
from batchctl.run.preview import CheckReport, PlanReport
from batchctl.run.request import RunOptions

SUMMARY = Summary(
    run_id="r", name="job", state=RunState.FAILED, exit_code=3, items=10, items_succeeded=3, items_failed=7,
    items_quarantined=7, batches=5, attempts=5, attempts_failed=2, attempts_lost=0, attempts_timed_out=0, rows=3,
    duration_s=1.0, epochs=1, workers=1, output="", error_threshold="2",
)  # fmt: skip
STARTED = "OUT       out: started: 20 items in 2 mini-batches done"
PLAN = PlanReport(
    items=50, bytes=1500, batches=5, folders=2, largest_path="in/a\x1b", largest_bytes=141,
    partition_keys=(), largest_partition="", largest_partition_items=0,
    schedule="largest-first: sizes of 50 files known", workers=2,
    first=1, slots=("slot 0",), reasons=("2 by cpus",), disks=("out: 1 GiB free",),
    state="started", done_items=20, done_batches=2, differences=(),
    notes=("mind the gap",),
)  # fmt: skip
CHECK = CheckReport(
    interpreter="/venv/bin/python", reason="VIRTUAL_ENV", python_version="3.11.7", pandas="2.2.3", numpy="", pyarrow="",
    missing=(), problems=(), notes=("a note",),
)  # fmt: skip


@pytest.mark.parametrize("name", commands.HELP)
def test_every_command_has_the_same_four_parts(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = commands.load(name)
    assert hasattr(command, "render")
    assert command.DESCRIPTION
    assert all(f"batchctl {name}" in example or " | batchctl" in example for example in command.EXAMPLES)
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: batchctl {name} ")
    assert "exit codes:" in out


class Ran:
    """A stand-in for run_job that remembers how it was called."""

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        self.calls: list[tuple[JobSpec, RunOptions]] = []

    def __call__(self, spec: JobSpec, options: RunOptions, reporter: Reporter) -> Summary:
        self.calls.append((spec, options))
        reporter.note("working")
        return self.summary


def test_run_hands_over_what_was_typed_and_returns_its_exit_code(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(SUMMARY)
    monkeypatch.setattr(scoring, "run_job", ran)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\0b")))
    argv = ["run", "score.py", "-", "-o", "out", "--env", "A=secret", "--fresh", "--json"]
    assert main(argv) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["exit_code"] == 3
    assert "batchctl: working\n" in err
    assert "job: failed after 1.0s (exit code 3)" in err
    spec, options = ran.calls[0]
    assert spec.environment == {"A": "secret"}
    assert options.fresh and not options.accept_changes
    assert options.piped == {"-": b"a\0b"}
    assert options.command == ("batchctl", *argv[:6], "A=***", "--fresh", "--json")


@pytest.mark.parametrize(
    ("flags", "heard"), [(["-q"], "exit code 3: 7 of 10 items failed"), (["-v"], "batchctl: working")]
)
def test_run_speaks_as_asked(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str], heard: str
) -> None:
    monkeypatch.setattr(scoring, "run_job", Ran(SUMMARY))
    assert main(["run", "score.py", "in", "-o", "out", *flags]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert heard in err


def test_run_with_a_bad_spec_names_every_problem(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "score.py", "in", "-o", "out", "--timeout", "soon", "--workers", "-3"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("batchctl: error: the job spec has 2 problems\n")
    assert "--timeout" in err and "--workers" in err


def test_run_needs_out(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "score.py", "in"]) == 2
    assert "-o/--out" in capsys.readouterr().err


def test_errors_of_a_run_reach_the_user(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(spec: JobSpec, options: RunOptions, reporter: Reporter) -> Summary:
        raise ResumeRefusedError("changed", differences=("score.py: 1 -> 2",), remedy="--fresh")

    monkeypatch.setattr(scoring, "run_job", refuse)
    assert main(["run", "score.py", "in", "-o", "out"]) == 6
    assert capsys.readouterr().err == "batchctl: error: changed\n  score.py: 1 -> 2\n  fix: --fresh\n"


@pytest.mark.parametrize(
    ("changes", "out", "lines"),
    [
        pytest.param({}, None, [], id="without OUT"),
        pytest.param(
            {},
            "out",
            [f"{STARTED}, which a resume would skip"],
            id="a resume",
        ),
        pytest.param({"state": "new"}, "out", ["OUT       out: no run is there"], id="new"),
        pytest.param(
            {"differences": ("script changed",)},
            "out",
            [
                f"{STARTED}; a resume would be refused, because this differs:",
                "          script changed",
            ],
            id="refused",
        ),
    ],
)
def test_plan_for_people(changes: dict[str, Any], out: str | None, lines: list[str]) -> None:
    assert cmd_plan.render(PLAN._replace(**changes), out=out) == [
        "items     50 in 2 folders, 1.5 kB",
        "largest   in/a\\x1b, 141 B",
        "batches   5 mini-batches",
        "schedule  largest-first: sizes of 50 files known",
        "workers   2, 1 of them at once",
        "          2 by cpus",
        "          slot 0",
        "disk      out: 1 GiB free",
        *lines,
        "note      mind the gap",
    ]


def test_plan_as_json(script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cmd_plan, "plan_job", lambda spec, options: PLAN)
    assert main(["plan", "score.py", "in", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["batches"] == 5


@pytest.mark.parametrize(
    ("report", "argv", "code", "said"),
    [
        pytest.param(
            CHECK, [], 0, ["(VIRTUAL_ENV), Python 3.11.7, pandas 2.2.3\n", "note: a note", "no problems"], id="ok"
        ),
        pytest.param(
            CHECK._replace(missing=("torch",), problems=("imports torch\x1b",)),
            [],
            2,
            ["problem: imports torch\\x1b", "not ready to run"],
            id="imports missing",
        ),
        pytest.param(CHECK, ["--timeout", "soon"], 2, ["--timeout", "1 problem", "not ready to run"], id="bad spec"),
    ],
)
def test_check(
    script: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    report: CheckReport,
    argv: list[str],
    code: int,
    said: list[str],
) -> None:
    monkeypatch.setattr(cmd_check, "check_job", lambda _spec, **_given: report)
    assert main(["check", "score.py", *argv]) == code
    out = capsys.readouterr().out
    for words in said:
        assert words in out
    assert main(["check", "score.py", *argv, "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is (code == 0)


def test_probe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["node"]["cpus"]
    assert main(["probe"]) == 0
    assert capsys.readouterr().out.startswith("node ")
