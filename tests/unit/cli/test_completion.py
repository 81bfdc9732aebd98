from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest

from batchctl.cli import commands
from batchctl.cli.cmd_completion import SHELLS, render
from batchctl.cli.grammar import VALUES, CommandLine, Wants
from batchctl.cli.grammar import commands as grammar
from batchctl.cli.main import main
from batchctl.spec.fields import BY_FIELD, SETTINGS
from batchctl.spec.nodes import scalar
from tests.unit.cli.shells import Terminal, needed

NASTY = (
    "two words.py", "it's.py", 'say "hi".py', "$(touch pwned).py", "`touch pwned`.py", "a;touch pwned.py",
    "b\\slash.py", "star*.py", "[x].py", "semi:colon.py", "equal=sign.py", "ampers&and.py", "bang!.py", "tilde~.py",
    "hash#.py", "paren(s).py", "br{a,b}.py", "tab\there.py", "ünï.py", "-dash.py",
)  # fmt: skip


def parser_of(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="batchctl")
    commands.load(name).arguments(parser)
    return parser


def sections(shell: str) -> dict[str, str]:
    """The part of the script that is about each command."""
    text = render(shell)
    if shell == "bash":
        lines = text.splitlines()
        return {
            name: next(line for line in lines if line.strip().startswith(f"{name}) flags=")) for name in commands.HELP
        }
    mark = "        {})\n" if shell == "zsh" else "# {}\n"
    places = sorted((text.index(mark.format(name)), name) for name in commands.HELP)
    ends = [place for place, _ in places[1:]] + [len(text)]
    return {name: text[place:end] for (place, name), end in zip(places, ends, strict=True)}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", commands.HELP)
def test_every_option_of_every_parser_appears(shell: str, name: str) -> None:
    about = sections(shell)[name]
    names = [flag for action in parser_of(name)._actions for flag in action.option_strings]
    assert names
    for flag in names:
        typed = flag if shell != "fish" else f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
        assert re.search(rf"(?<![\w-]){re.escape(typed)}(?![\w-])", about), f"{name} {flag}"


@pytest.mark.parametrize("command", grammar(), ids=lambda command: command.name)
def test_the_grammar_holds_what_the_parser_holds(command: CommandLine) -> None:
    actions = parser_of(command.name)._actions
    assert [option.names for option in command.options] == [
        tuple(a.option_strings) for a in actions if a.option_strings
    ]
    assert len(command.operands) == sum(not action.option_strings for action in actions)
    assert all(option.help for option in command.options)


@pytest.mark.parametrize("field", VALUES)
def test_the_values_that_are_offered_are_taken(field: str, tmp_path: Path) -> None:
    parse = BY_FIELD[field].parse
    assert [str(parse(scalar("here", value), tmp_path)) for value in VALUES[field]] == list(VALUES[field])


def test_every_setting_with_a_flag_and_few_values_offers_them_all() -> None:
    few = {s.field: tuple(map(str, type(s.default))) for s in SETTINGS if s.flag and isinstance(s.default, Enum)}
    assert {field: VALUES[field] for field in few} == few


def test_what_is_wanted_is_told_by_metavar_and_choices() -> None:
    run = next(command for command in grammar() if command.name == "run")
    wanted = {option.names[-1]: (option.wants, option.values) for option in run.options}
    assert wanted["--out"] == (Wants.FOLDER, ())
    assert wanted["--model"] == (Wants.PATH, ())
    assert wanted["--workers"] == (Wants.CHOICE, ("auto",))
    assert wanted["--order"] == (Wants.CHOICE, ("plan", "completion"))
    assert wanted["--timeout"] == (Wants.TEXT, ())
    assert wanted["--fresh"] == (Wants.NOTHING, ())
    assert [operand.wants for operand in run.operands] == [Wants.SPEC, Wants.INPUT]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_the_same_each_time_and_parses(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert text == render(shell)
    path = tmp_path / "script"
    path.write_text(text)
    subprocess.run([needed(shell), "-n", str(path)], check=True, capture_output=True)


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "tcsh" in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the shells below are asked: what a user's folder may look like."""
    folder = tmp_path / "here"
    for name in ("images", "out dir", ".hidden", "vision", "deep/er"):
        (folder / name).mkdir(parents=True)
    for name in (
        "score.py",
        "deployment.yml",
        "job.yaml",
        "batchctl.toml",
        "photo.png",
        "list one.txt",
        "deep/er/x.py",
    ):
        (folder / name).touch()
    return folder


BASH = """
source /dev/stdin
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=("${@:3}") COMP_CWORD=$(($# - 3))
_batchctl batchctl "$2" "${@: -2:1}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
FOLDERS = {"images", "out dir", "vision", "deep"}
SPECS = {"score.py", "deployment.yml", "job.yaml", "batchctl.toml"}
ALL = FOLDERS | SPECS | {"photo.png", "list one.txt"}


def asked_of_bash(folder: Path, line: str, words: list[str], *, replaced: str) -> set[str]:
    argv = [needed("bash"), "--norc", "--noprofile", "-c", BASH, "bash", line, replaced, *words]
    done = subprocess.run(argv, input=render("bash"), cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.splitlines()) - {""}


def asked_of_fish(folder: Path, line: str) -> set[str]:
    argv = [needed("fish"), "--no-config", "-c", "source; complete -C $argv[1]", line]
    done = subprocess.run(argv, input=render("fish"), cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return {found.partition("\t")[0].rstrip("/") for found in done.stdout.splitlines()}


COMMANDS = set(commands.HELP)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("batchctl r", {"run", "retry"}, id="a command"),
        pytest.param("batchctl ", COMMANDS | {"help"}, id="all commands"),
        pytest.param("batchctl --v", {"--version"}, id="the version"),
        pytest.param("batchctl help pr", {"probe"}, id="help of a command"),
        pytest.param("batchctl run --acc", {"--accept-changes", "--accept-storage"}, id="an option"),
        pytest.param("batchctl run --no-is", {"--no-isolate"}, id="a negated option"),
        pytest.param("batchctl run --output-format ", {"azure", "csv", "jsonl", "parquet"}, id="values"),
        pytest.param("batchctl run --order c", {"completion"}, id="a value begun"),
        pytest.param("batchctl run --workers ", {"auto"}, id="a value among others"),
        pytest.param("batchctl run --timeout ", set(), id="a duration"),
        pytest.param("batchctl run -o ", FOLDERS, id="a folder, short option"),
        pytest.param("batchctl run --out i", {"images"}, id="a folder, long option"),
        pytest.param("batchctl run ", SPECS | FOLDERS, id="SPEC"),
        pytest.param("batchctl run -o images -q ", SPECS | FOLDERS, id="SPEC after options"),
        pytest.param("batchctl run score.py ", ALL, id="INPUT"),
        pytest.param("batchctl run score.py photo.png p", {"photo.png"}, id="a second INPUT"),
        pytest.param("batchctl run score.py -- p", {"photo.png"}, id="after two dashes"),
        pytest.param("batchctl run --model ph", {"photo.png"}, id="a model is any path"),
        pytest.param("batchctl status ", FOLDERS, id="OUT"),
        pytest.param("batchctl status images ", set(), id="no more than one OUT"),
        pytest.param("batchctl completion ", {"bash", "zsh", "fish"}, id="shells"),
        pytest.param("batchctl nonsense ", set(), id="no such command"),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_bash_and_fish_offer(shell: str, line: str, expected: set[str], folder: Path) -> None:
    found = (
        asked_of_bash(folder, line, (words := line.split(" ")), replaced=words[-1])
        if shell == "bash"
        else asked_of_fish(folder, line)
    )
    assert found == expected


@pytest.mark.parametrize(
    ("line", "words", "replaced", "expected"),
    [  # what readline of bash 5.2 makes of each line
        pytest.param("run --out=i", ["run", "--out", "=", "i"], "i", {"images"}, id="an equals sign"),
        pytest.param("run --out=", ["run", "--out", "="], "", FOLDERS, id="nothing after it"),
        pytest.param("run --order=p", ["run", "--order", "=", "p"], "p", {"plan"}, id="a value after it"),
        pytest.param("run s.py @li", ["run", "s.py", "@", "li"], "@li", {"@list one.txt"}, id="a list"),
        pytest.param("run s.py a:", ["run", "s.py", "a", ":"], "", {"b.png"}, id="a colon"),
        pytest.param("run 'out d", ["run", "'out d"], "out d", {"out dir"}, id="an open quote"),
        pytest.param("run out\\ d", ["run", "out\\ d"], "out\\ d", {"out dir"}, id="a backslash"),
        pytest.param("run > ph", ["run", ">", "ph"], "ph", {"photo.png"}, id="a redirection"),
        pytest.param("run s.py ~/n", ["run", "s.py", "~/n"], "~/n", {"~/nest"}, id="home"),
        pytest.param("run $(touch x)", ["run", "$(touch x)"], "$(touch x)", set(), id="a command in it"),
        pytest.param("run .h", ["run", ".h"], ".h", {".hidden"}, id="hidden where asked for"),
    ],
)
def test_bash_words_that_readline_breaks(
    line: str, words: list[str], replaced: str, expected: set[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder.parent / "home"
    (home / "nest").mkdir(parents=True)
    (folder / "a:b.png").touch()
    monkeypatch.setenv("HOME", str(home))
    assert asked_of_bash(folder, f"batchctl {line}", ["batchctl", *words], replaced=replaced) == expected
    assert not (folder / "x").exists()


@pytest.fixture(params=SHELLS)
def terminal(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[Terminal]:
    shell: str = request.param
    home = tmp_path / "home"
    home.mkdir()
    terminal = Terminal(shell, home, folder, render(shell))
    yield terminal
    terminal.close()


def test_an_interactive_shell_completes(terminal: Terminal) -> None:
    for keys, expected in [
        ("batchctl ver\t", ["verify"]),
        ("batchctl run sco\t ima\t -o vis\t", ["run", "score.py", "images/", "-o", "vision/"]),
        (
            "batchctl run sco\t --output-action sum\t --fre\t",
            ["run", "score.py", "--output-action", "summary_only", "--fresh"],
        ),
        ("batchctl run sco\t @li\t", ["run", "score.py", "@list one.txt"]),
        ("batchctl run --out=ima\t sco\t", ["run", "--out=images/", "score.py"]),
        ("batchctl run dee\ter\tx\t -o o\t", ["run", "deep/er/x.py", "-o", "out dir/"]),
        ("batchctl completion f\t", ["completion", "fish"]),
    ]:
        assert [word.decode() for word in terminal.arguments(keys)] == expected


def test_nasty_names_survive_in_an_interactive_shell(terminal: Terminal, folder: Path) -> None:
    for number, name in enumerate(NASTY):
        if "\t" in name and terminal.shell == "fish":
            continue  # a tab ends the candidate in what fish reads of its completions
        # A folder of its own for each: one TAB for it, one for the only file in it.
        own = folder / f"n{number:02d}"
        own.mkdir()
        (own / name).touch()
        assert terminal.arguments(f"batchctl run n{number:02d}/\t ") == [b"run", f"n{number:02d}/{name}".encode()], name
    assert not (folder / "pwned").exists()
