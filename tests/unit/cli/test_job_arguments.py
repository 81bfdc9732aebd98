from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path

import pytest

from batchctl.cli.job_arguments import add_job_arguments, add_voice_arguments, loaded_job, piped_lists
from batchctl.errors import UsageError
from batchctl.spec.fields import FLAGS, Flag


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-o", "--out")
    add_voice_arguments(parser, json_help="x")
    add_job_arguments(parser, usage="SPEC")
    return parser.parse_intermixed_args(argv)


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.flag)
def test_every_flag_of_the_table_is_taken(flag: Flag) -> None:
    if flag.switch:
        assert vars(parsed("s.py", flag.flag))[flag.dest] is True
        assert vars(parsed("s.py", "--no-" + flag.flag.removeprefix("--")))[flag.dest] is False
    elif flag.multiple:
        assert vars(parsed("s.py", flag.flag, "a=1", "in", flag.flag, "b=2"))[flag.dest] == ["a=1", "b=2"]
    else:
        assert vars(parsed("s.py", flag.flag, "7", "in"))[flag.dest] == "7"
    assert flag.dest not in vars(parsed("s.py"))


def test_help_can_be_printed_and_shows_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--help")
    out = capsys.readouterr().out
    assert all(flag.flag in out for flag in FLAGS)
    assert "N|P%" in out


def test_what_was_typed_reaches_the_spec(script: Path) -> None:
    args = parsed(
        "score.py", "--timeout", "2m", "in", "--env", "A=b", "-o", "out", "--no-isolate", "--set", "workers=3"
    )
    loaded, switches = loaded_job(args)
    spec = loaded.require()
    assert (spec.timeout, spec.environment, spec.isolate, spec.workers) == (120.0, {"A": "b"}, False, 3)
    assert spec.inputs == ("in",)
    assert spec.out == script.parent / "out"
    assert switches == {"json": False, "quiet": False, "verbose": False}


@pytest.mark.parametrize(
    ("argv", "environment", "on"),
    [
        (["-q"], {}, {"quiet"}),
        (["--json", "-v"], {}, {"json", "verbose"}),
        ([], {"BATCHCTL_JSON": "1", "BATCHCTL_QUIET": "yes"}, {"json", "quiet"}),
        (["-v"], {"BATCHCTL_QUIET": "1"}, {"verbose"}),
        ([], {"BATCHCTL_JSON": "0"}, set()),
    ],
)
def test_switches_typed_or_in_the_environment(
    script: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], environment: dict[str, str], on: set[str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    switches = loaded_job(parsed(script.name, *argv))[1]
    assert {name for name, value in switches.items() if value} == on


@pytest.mark.parametrize("inputs", [["in"], ["-"], ["in", "@-"], ["@list"], ["-", "@-"]], ids=" ".join)
def test_standard_input_is_read_when_asked_for(monkeypatch: pytest.MonkeyPatch, inputs: list[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\0\xff")))
    assert piped_lists(inputs) == {given: b"a\0\xff" for given in inputs if given in ("-", "@-")}


def test_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert piped_lists(["in"]) == {}
    with pytest.raises(UsageError, match="closed"):
        piped_lists(["-"])


def test_a_pipe_is_read_once_and_a_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("a\n")
    reading, writing = os.pipe()
    os.write(writing, b"b\na\n")
    os.close(writing)
    given = f"@/dev/fd/{reading}"
    try:
        assert piped_lists([f"@{tmp_path / 'list'}", given, given, "@missing"]) == {given: b"b\na\n"}
    finally:
        os.close(reading)
