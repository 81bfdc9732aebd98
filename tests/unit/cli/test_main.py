from __future__ import annotations

import argparse
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from batchctl import __version__
from batchctl.cli import commands
from batchctl.cli.main import main
from batchctl.cli.output import emit
from batchctl.errors import (
    EXIT_CODE_MEANING,
    BatchctlError,
    CorruptionError,
    ExitCode,
    InitFailedError,
    NodeTooSmallError,
    ResumeRefusedError,
    RunLockedError,
    SpecError,
    StoppedError,
    StorageError,
    UsageError,
)


class Fake:
    """A command that does what the test says."""

    DESCRIPTION = "A fake."
    EXAMPLES = ("batchctl run x",)

    def __init__(self, action: Callable[[argparse.Namespace], int]) -> None:
        self.action = action

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("spec")
        parser.add_argument("inputs", nargs="*")
        parser.add_argument("-o", "--out")

    def run(self, args: argparse.Namespace) -> int:
        return self.action(args)


def fake(monkeypatch: pytest.MonkeyPatch, action: Callable[[argparse.Namespace], int]) -> None:
    monkeypatch.setattr(commands, "load", lambda name: Fake(action))


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def action(args: argparse.Namespace) -> int:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        pytest.param(
            UsageError("OUT is a file", where="out\x1b[2J", remedy="name a folder"),
            2,
            "batchctl: error: OUT is a file\n  where: out\\x1b[2J\n  fix: name a folder\n",
            id="usage",
        ),
        pytest.param(
            SpecError(("a.yml:3:x: no. Do", "a.yml:4:y: no"), where="a.yml"),
            2,
            "batchctl: error: the job spec has 2 problems\n  a.yml:3:x: no. Do\n  a.yml:4:y: no\n  where: a.yml\n",
            id="spec",
        ),
        pytest.param(
            ResumeRefusedError("the script changed", differences=("score.py: 1a -> 2b",), remedy="--fresh"),
            6,
            "batchctl: error: the script changed\n  score.py: 1a -> 2b\n  fix: --fresh\n",
            id="resume refused",
        ),
        pytest.param(
            InitFailedError("init() failed\nTraceback\n\tx"),
            4,
            "batchctl: error: init() failed\n  Traceback\n      x\n",
            id="several lines",
        ),
        pytest.param(NodeTooSmallError("x"), 5, "batchctl: error: x\n", id="node"),
        pytest.param(CorruptionError("x", remedy="y"), 7, "batchctl: error: x\n  fix: y\n", id="corruption"),
        pytest.param(RunLockedError("x"), 8, "batchctl: error: x\n", id="locked"),
        pytest.param(StorageError("x", remedy="y"), 74, "batchctl: error: x\n  fix: y\n", id="storage"),
        pytest.param(StoppedError("x"), 75, "batchctl: error: x\n", id="stopped"),
        pytest.param(KeyboardInterrupt(), 130, "batchctl: interrupted\n", id="Ctrl-C"),
    ],
)
def test_errors_become_text_and_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, text: str
) -> None:
    fake(monkeypatch, raising(error))
    assert main(["run", "x"]) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", text)


@pytest.mark.parametrize("place", ["OUT", "temporary folder", "nowhere"])
def test_what_nobody_expected_becomes_a_crash_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, place: str
) -> None:
    temporary, logs = tmp_path / "tmp", tmp_path / "out" / ".batchctl" / "logs"
    if place != "nowhere":
        temporary.mkdir()
    if place == "OUT":
        logs.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    fake(monkeypatch, raising(ZeroDivisionError("of ours\x1b")))
    assert main(["run", "x", "-o", str(tmp_path / "out"), "--", "--env=A=secret"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("batchctl: error: internal error: ZeroDivisionError: of ours\\x1b\n")
    assert "Traceback" not in err
    where = re.search(r"where: (.*)", err)
    if place == "nowhere":
        assert where is None
        return
    assert where is not None
    path = Path(where[1])
    assert path.parent == (logs if place == "OUT" else temporary)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert "ZeroDivisionError: of ours" in text and __version__ in text
    assert "secret" not in text.split("Traceback")[0]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        pytest.param(["walk"], "no such command: walk", id="unknown command"),
        pytest.param(["--walk"], "no such command: --walk", id="unknown flag first"),
        pytest.param(["run"], "spec", id="argument missing"),
        pytest.param(["run", "x", "--walk"], "--walk", id="unknown flag"),
        pytest.param(["run", "x", "--ou", "y"], "--ou", id="no abbreviations"),
        pytest.param(["run", "x", "-o"], "expected one argument", id="value missing"),
    ],
)
def test_a_wrong_command_line_is_exit_2_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argv: list[str], said: str
) -> None:
    fake(monkeypatch, lambda args: 0)
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("batchctl: error: ")
    assert said in err
    assert "--help" in err.split("fix: ")[1]


@pytest.mark.parametrize(
    ("argv", "inputs"),
    [
        (["s.py", "a", "b", "-o", "out"], ["a", "b"]),
        (["s.py", "-o", "out", "a", "b"], ["a", "b"]),
        (["-o", "out", "s.py", "a", "b"], ["a", "b"]),
        (["s.py", "a", "-o", "out", "b"], ["a", "b"]),
        (["s.py", "-o", "out", "-"], ["-"]),
        (["s.py", "-o", "out", "@list.txt"], ["@list.txt"]),
        (["s.py", "-o", "out"], []),
    ],
)
def test_inputs_may_stand_before_and_after_flags(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], inputs: list[str]
) -> None:
    seen: list[argparse.Namespace] = []

    def action(args: argparse.Namespace) -> int:
        seen.append(args)
        return 0

    fake(monkeypatch, action)
    assert main(["run", *argv]) == 0
    assert (seen[0].spec, seen[0].inputs, seen[0].out) == ("s.py", inputs, "out")
    assert seen[0].typed == ("run", *argv)


def test_exit_codes_come_from_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, lambda args: ExitCode.THRESHOLD)
    assert main(["run", "x"]) == 3


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["help"], ["run", "--help"], ["help", "run"], ["run", "x", "-h"]])
def test_help_names_every_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    fake(monkeypatch, lambda args: 9)
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for code, meaning in EXIT_CODE_MEANING.items():
        assert f"  {int(code):<4} {meaning}" in out


def test_no_command_is_a_usage_error_that_shows_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(f"  {name} " in err for name in commands.HELP)


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert main([flag]) == 0
    assert capsys.readouterr().out == f"batchctl {__version__}\n"


def test_a_reader_that_left_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["--help"]) == 141
    assert capsys.readouterr().err == ""


def test_a_full_disk_under_standard_output_is_exit_74() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "batchctl", "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 74
    assert done.stderr.startswith("batchctl: error: standard output cannot be written: No space left")
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("closed", "code"), [(">&-", 74), ("2>&-", 0), ("<&-", 0), ("<&- 2>&-", 0), ("<&- >&- 2>&-", 74)]
)
def test_streams_closed_by_the_caller(closed: str, code: int) -> None:
    script = f'exec "$0" -m batchctl --version {closed}'
    done = subprocess.run(["sh", "-c", script, sys.executable], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_no_file_of_ours_takes_the_number_of_a_closed_stream() -> None:
    code = "import os; from batchctl.cli import main; main._make_streams_safe(); os._exit(os.open('/', os.O_RDONLY))"
    done = subprocess.run(["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, code], check=False)
    assert done.returncode > 2


def test_a_locale_without_the_letter_costs_an_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from batchctl.cli import main; from batchctl.cli.output import emit; main._make_streams_safe(); emit('ä')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "\\xe4\n"


def test_emit_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    emit("x")
    assert capsys.readouterr().out == "x\n"


def test_every_error_class_has_its_place_in_the_table() -> None:
    for error in BatchctlError.__subclasses__():
        assert error.exit_code in EXIT_CODE_MEANING


@pytest.mark.parametrize("error", [CorruptionError("x"), StorageError("x")], ids=["corruption", "storage"])
def test_an_error_without_a_remedy_of_its_own_gets_that_of_its_kind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    fake(monkeypatch, raising(error))
    main(["run", "x"])
    assert "\n  fix: " in capsys.readouterr().err
