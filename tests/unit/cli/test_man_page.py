from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from batchctl import __version__
from batchctl.cli.grammar import CommandLine, Group, Operand, Option, Wants, commands
from batchctl.cli.main import main
from batchctl.cli.man_page import page
from batchctl.errors import EXIT_CODE_MEANING

PAGE = page(commands())
WIDE = {"MANWIDTH": "120", "LC_ALL": "C.UTF-8", "MANROFFOPT": "", "GROFF_NO_SGR": "1"}


def output_of(*argv: str, given: str = PAGE, environment: Mapping[str, str] = WIDE) -> tuple[str, str]:
    """Standard output and error of a program that reads the page; skips where there is none."""
    if shutil.which(argv[0]) is None:
        pytest.skip(f"not run: there is no {argv[0]} here")
    done = subprocess.run(
        argv, input=given, capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout, done.stderr


def plain(text: str) -> str:
    """What is drawn, without overstrikes, and blanks as one."""
    return " ".join(re.sub(".\b", "", text).split())


def test_every_word_of_the_command_line_is_drawn() -> None:
    text, warnings = output_of("groff", "-man", "-Tutf8", "-ww", "-rLL=120n")
    assert warnings == ""
    drawn = plain(text)
    for command in commands():
        assert f"batchctl {command.name}" in drawn
        for option in command.options:
            names = ", ".join(f"{name} {option.metavar}".strip() for name in option.names)
            assert option.names == ("-h", "--help") or names in drawn
            assert all(value in drawn for value in option.values)
            assert option.names == ("-h", "--help") or option.help in drawn, option.help
        assert all(operand.metavar in drawn and operand.help in drawn for operand in command.operands)
        assert all(plain(example) in drawn for example in command.examples)
    for code, meaning in EXIT_CODE_MEANING.items():
        assert f"{int(code)} {meaning}" in drawn
    assert f"batchctl {__version__}" in drawn


def test_man_draws_it_without_a_warning() -> None:
    text, warnings = output_of("man", "--warnings=w", "-l", "-")
    assert warnings == ""
    assert plain(text).startswith("BATCHCTL(1) User Commands BATCHCTL(1) NAME batchctl - score a folder")


def test_mandoc_finds_no_fault_but_the_missing_date() -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("not run: there is no mandoc here")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning"], input=PAGE, capture_output=True, text=True)
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


def test_the_index_can_be_made_of_it(tmp_path: Path) -> None:
    path = tmp_path / "batchctl.1"
    path.write_text(PAGE)
    found, _ = output_of("lexgrog", str(path))
    assert found.rstrip().endswith('"batchctl - score a folder of files with a scoring script, crash-safe"')


def test_it_is_the_same_everywhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert main(["man"]) == 0
    assert capsys.readouterr().out == PAGE


def test_what_roff_would_obey_is_drawn_as_it_is() -> None:
    nasty = ".so /etc/passwd", "'br", "back\\slash \\fB", 'quote " end', "a-b ~ ^ `x` 'y'", "caf\u00e9"
    command = CommandLine(
        name="odd",
        summary="odd",
        description="\n".join(nasty[:2]),
        usage="A",
        examples=nasty,
        groups=(Group("options", (Option(("--x",), "V", nasty[2], Wants.TEXT, (), False),)),),
        operands=(Operand(nasty[3], nasty[0], Wants.TEXT, (), many=False, required=True),),
    )
    text, warnings = output_of("groff", "-man", "-Tutf8", "-ww", "-K", "utf8", given=page((command,)))
    assert warnings == ""
    assert all(name in plain(text) for name in nasty)
    assert plain(text).count(nasty[0]) == 3  # the description, the operand, an example
