"""`batchctl systemd`: what is printed reads back, word for word, as the job that was typed.

`words` reads ExecStart= by systemd's rules (systemd.service, "Command lines"; systemd.syntax, "Quoting"). Where
systemd-analyze is installed it judges too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from batchctl.cli.main import main
from batchctl.errors import UsageError
from batchctl.report.unit_words import command_word, line_text, path_word, unit_name
from batchctl.report.units import HARDENING, LIMITS, POLICY, JobUnit, checked_calendar, checked_span, service_text

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT / "packaging" / "systemd"
ANALYZE = shutil.which("systemd-analyze")
NASTY = [
    pytest.param("plain", id="plain"),
    pytest.param("a space", id="space"),
    pytest.param(" edges ", id="spaces at both ends"),
    pytest.param("100%", id="per cent"),
    pytest.param("%n%%%i", id="specifiers"),
    pytest.param("$HOME", id="dollar"),
    pytest.param("${HOME}$$", id="braces"),
    pytest.param('say "hi"', id="double quotes"),
    pytest.param("it's", id="single quote"),
    pytest.param("""both ' and " here""", id="both quotes"),
    pytest.param("back\\slash", id="backslash"),
    pytest.param("ends\\", id="backslash at the end"),
    pytest.param("\\x41\\n", id="looks like an escape"),
    pytest.param(";", id="semicolon"),
    pytest.param("#hash", id="hash"),
    pytest.param("-dash", id="dash"),
    pytest.param("@at", id="at"),
    pytest.param("größe-日本", id="not ascii"),
    pytest.param("*?[x]{a,b}", id="glob"),
]


def words(text: str, *, variables: bool = True) -> list[str]:
    """A line as systemd splits it, `%%` and, in a command line (`variables`), `$$` undone."""
    found: list[str] = []
    at, n = 0, len(text)
    while at < n:
        if text[at].isspace():
            at += 1
            continue
        assert not (text[at] == ";" and (at + 1 == n or text[at + 1].isspace())), "a second command line"
        word, quote = "", ""
        while at < n and (quote or not text[at].isspace()):
            char = text[at]
            if char == "\\":
                at += 1
                word += {"n": "\n", "t": "\t", "s": " "}.get(text[at], text[at])
                assert text[at] in "\\\"'nts;", f"an escape that systemd does not know: {text[at - 1 : at + 1]}"
            elif quote:
                quote, word = ("", word) if char == quote else (quote, word + char)
            elif char in "\"'" and not word:
                quote = char
            else:
                word += char
            at += 1
        assert not quote, "a quote that is not closed"
        assert not re.search(r"(?<!%)%(?:%%)*(?!%)", word), f"a specifier is left in {word!r}"
        if variables:
            assert not re.search(r"(?<!\$)\$(?:\$\$)*(?!\$)", word), f"a variable is left in {word!r}"
            word = word.replace("$$", "$")
        found.append(word.replace("%%", "%"))
    return found


@pytest.mark.parametrize("text", NASTY)
def test_a_command_word_reads_back(text: str) -> None:
    assert words(" ".join(command_word(word) for word in (text, "then", text))) == [text, "then", text]


@pytest.mark.parametrize("text", NASTY)
def test_a_path_word_reads_back(text: str) -> None:
    assert words(f"{path_word('/' + text)} /then", variables=False) == ["/" + text, "/then"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("two\nlines", id="newline"),
        pytest.param("tab\there", id="tab"),
        pytest.param("\x1b[2J", id="escape"),
        pytest.param("caf\udce9", id="not utf-8"),
        pytest.param("nul\0", id="nul"),
    ],
)
@pytest.mark.parametrize("write", [command_word, path_word, line_text, unit_name])
def test_what_a_unit_cannot_hold_is_refused(write: object, text: str) -> None:
    assert callable(write)
    with pytest.raises(UsageError):
        write(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nightly-run", "nightly-run"),
        ("my job", "my\\x20job"),
        ("a/b", "a\\x2fb"),
        ("é@%\\", "\\xc3\\xa9\\x40\\x25\\x5c"),
        (".hidden", "\\x2ehidden"),
    ],
)
def test_a_unit_name(text: str, name: str) -> None:
    assert unit_name(text) == name
    if shutil.which("systemd-escape"):
        ours = subprocess.run(["systemd-escape", "--unescape", "--", name], capture_output=True, text=True, check=True)
        assert ours.stdout.rstrip("\n").replace("/", "-") == text.replace("/", "-")


@pytest.mark.parametrize(
    ("text", "span"),
    [("30min", "30min"), ("1h", "1h"), ("2d 4h", "2d 4h"), ("2d4h", "2d 4h"), ("1week", "1week"), (" 90 min", "90min")],
)
def test_a_span(text: str, span: str) -> None:
    assert checked_span(text) == span


@pytest.mark.parametrize("text", ["", "1", "0h", "30", "5s", "-1h", "1h x", "every day", "1.5h", "2y", "900d", "1h\n"])
def test_no_span(text: str) -> None:
    if text == "1h\n":
        assert checked_span(text) == "1h"
        return
    with pytest.raises(UsageError):
        checked_span(text)


@pytest.mark.parametrize("text", ["daily\nExecStart=/bin/x", "$x", "%i", "", " "])
def test_no_calendar_expression(text: str) -> None:
    with pytest.raises(UsageError):
        checked_calendar(text)


class Typed:
    """A job in a folder with a nasty name, and what `batchctl systemd` says of it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        (folder / "in put").mkdir()
        (folder / "score.py").write_text("def run(mini_batch): return mini_batch\n")

    def __call__(self, *argv: str, code: int = 0) -> str:
        found = main(["systemd", *argv])
        out, err = self._capsys.readouterr()
        assert found == code, err
        return out if code == 0 else err


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    folder = tmp_path / """50% of 'a' "b" $HOME"""
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("BATCHCTL_")]:
        monkeypatch.delenv(name)
    # What a user starts; under pytest argv[0] would be pytest's.
    monkeypatch.setattr(sys, "argv", [str(Path(sys.executable).with_name("batchctl"))])
    return Typed(folder, capsys)


def value(text: str, key: str) -> str:
    (found,) = re.findall(rf"^{key}=(.*)$", text, flags=re.MULTILINE)
    return str(found)


def test_the_service_runs_the_very_job(typed: Typed) -> None:
    printed = typed(
        *("score.py", "in put", "@li st.txt", "-o", "o u$t%1", "--workers", "2", "--no-isolate", "--include", "*.png"),
        *("--include=-x", "--error-threshold", "50%", "--set", "timeout=3m", "--name", "my job", "-q"),
    )
    here = str(typed.folder)
    command = words(value(printed, "ExecStart"))
    assert command[1:] == [
        *("run", "--quiet", "--name=my job", "--include=*.png", "--include=-x", "--error-threshold=50%"),
        *("--no-isolate", "--workers=2", "--set=timeout=3m"),
        *("-o", f"{here}/o u$t%1", "--", f"{here}/score.py", f"{here}/in put", f"@{here}/li st.txt"),
    ]
    assert Path(command[0]).is_absolute()
    assert value(printed, "WorkingDirectory") == here.replace("%", "%%")
    assert value(printed, "TimeoutStopSec") == "180s"
    assert "my\\x20job.timer" not in printed


def test_a_state_directory_may_be_written_to_as_well(typed: Typed) -> None:
    printed = typed("score.py", "in put", "-o", "out", "--state-dir", "st ate", "--accept-storage")
    here = str(typed.folder)
    command = words(value(printed, "ExecStart"))
    assert command[1:4] == ["run", "--accept-storage", f"--state-dir={here}/st ate"]
    both = [f"{here}/out", f"{here}/st ate"]
    assert words(value(printed, "ReadWritePaths"), variables=False) == both
    assert words(value(printed, "RequiresMountsFor"), variables=False)[-2:] == both
    assert "-m 700" in printed


def test_all_that_a_job_reads_has_to_be_there(typed: Typed) -> None:
    """A glob's folder, a list, the model, the interpreter: on mounts that come late, or below /tmp."""
    for name in ("mod el", "bin"):
        (typed.folder / name).mkdir()
    (typed.folder / "bin" / "python").symlink_to(sys.executable)
    (typed.folder / "li st.txt").write_text("in put/a\n")
    job = ("score.py", "in p*/*.png", "@li st.txt", "-o", "out", "--model", "mod el", "--python", "bin/python")
    here = str(typed.folder)
    needed = words(value(typed(*job), "RequiresMountsFor"), variables=False)
    assert {here, *(f"{here}/{name}" for name in ("score.py", "mod el", "bin/python", "li st.txt", "out"))} == {*needed}


def test_what_is_printed_is_what_run_understands(typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (typed.folder / "in put" / name).touch()
    printed = typed("score.py", "in put", "-o", "o u$t%1", "--workers", "1", "--include", "a*")
    assert main(words(value(printed, "ExecStart"))[1:]) == 0, capsys.readouterr().err
    rows = (typed.folder / "o u$t%1" / "predictions.csv").read_text().splitlines()
    assert len(rows) == 2, rows


@pytest.mark.parametrize(
    ("out", "private"),
    [pytest.param("/srv/out", True, id="elsewhere"), pytest.param("/tmp/out", False, id="below /tmp")],
)
def test_a_job_in_tmp_keeps_seeing_itself(out: str, private: bool) -> None:
    unit = JobUnit("batchctl-n", "n", ("/b", "run"), "/srv", out, (), 60.0, "", False, "%E/batchctl/n.env")
    assert ("PrivateTmp=yes" in settings(service_text(unit))) == private


def test_a_home_in_a_flag_is_expanded(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(typed.folder))
    assert f"--model={typed.folder}/in put" in words(
        value(typed("score.py", "in put", "-o", "out", "--model", "~/in put"), "ExecStart")
    )


SECRETS = [
    pytest.param(("--env", "TOKEN=hunter2"), "TOKEN", id="env"),
    pytest.param(("--env=TOKEN=hunter2",), "TOKEN", id="env, one word"),
    pytest.param(("--set", "env.TOKEN=hunter2"), "TOKEN", id="set"),
]


@pytest.mark.parametrize(("flags", "name"), SECRETS)
def test_variables_of_the_script_are_named_and_not_written(typed: Typed, flags: tuple[str, ...], name: str) -> None:
    printed = typed("score.py", "in put", "-o", "out", "--name", "secret job", *flags)
    assert "hunter2" not in printed
    assert f"BATCHCTL_ENV={name}=..." in printed
    assert value(printed, "EnvironmentFile") == "-%E/batchctl/secret_job.env"


def test_a_setting_of_this_shell_is_named(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHCTL_WORKERS", "3")
    assert "not written here: BATCHCTL_WORKERS\n" in typed("score.py", "in put", "-o", "out")


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        pytest.param(("score.py", "in put", "-o", "out", "--every", "soon"), ("--every", "30min"), id="span"),
        pytest.param(("score.py", "in put", "-o", "out", "--every", "1h", "--on-calendar", "daily"), (), id="both"),
        pytest.param(("score.py", "-", "-o", "out"), ("standard input",), id="standard input"),
        pytest.param(("score.py", "-o", "out"), ("no INPUT",), id="no input"),
        pytest.param(("gone.py", "in put", "-o", "out"), ("gone.py",), id="no script"),
        pytest.param(("score.py", "in put", "-o", "out", "--workers", "many"), ("--workers",), id="bad setting"),
        pytest.param(("score.py", "in put", "-o", "two\nlines"), ("control character",), id="newline"),
        pytest.param(("score.py", "in put", "-o", "out", "--fresh"), ("--fresh",), id="fresh"),
        pytest.param(("score.py", "in put", "-o", "out", "--accept-changes"), ("--accept-changes",), id="accept"),
    ],
)
def test_it_fails_early(typed: Typed, argv: tuple[str, ...], names: tuple[str, ...]) -> None:
    said = typed(*argv, code=2)
    assert [name for name in names if name not in said] == []


def test_a_script_that_would_fail_is_refused(typed: Typed) -> None:
    (typed.folder / "score.py").write_text("import no_such_module_anywhere\ndef run(mini_batch): return mini_batch\n")
    assert "no_such_module_anywhere" in typed("score.py", "in put", "-o", "out", code=2)


def test_files_are_written_whole_and_foreign_ones_kept(typed: Typed, tmp_path: Path) -> None:
    folder = tmp_path / "units"
    folder.mkdir()
    job = ("score.py", "in put", "-o", "out", "--name", "n", "--write", str(folder))
    typed(*job, "--every", "1h")
    typed(*job, "--every", "2h")
    assert sorted(os.listdir(folder)) == ["batchctl-n.service", "batchctl-n.timer"]
    assert "OnUnitInactiveSec=2h\n" in (folder / "batchctl-n.timer").read_text()
    assert (folder / "batchctl-n.service").stat().st_mode & 0o777 == 0o644
    (folder / "batchctl-n.timer").write_text("[Timer]\n# mine\n")
    service = (folder / "batchctl-n.service").read_bytes()
    assert "not made by batchctl" in typed(*job, "--every", "3h", "--workers", "7", code=2)
    assert (folder / "batchctl-n.service").read_bytes() == service
    (folder / "batchctl-n.timer").unlink()
    (folder / "batchctl-n.timer").symlink_to("/dev/null")  # masked
    assert "not made by batchctl" in typed(*job, "--every", "3h", code=2)
    assert (folder / "batchctl-n.timer").is_symlink()


def verified(*units: Path) -> None:
    if ANALYZE is None:
        pytest.skip("systemd-analyze is not installed")
    ran = subprocess.run(
        [ANALYZE, "verify", "--man=no", "--recursive-errors=no", *map(str, units)],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize("user", [pytest.param((), id="system"), pytest.param(("--user",), id="user")])
@pytest.mark.parametrize("when", [("--every", "2d 4h"), ("--on-calendar", "Mon..Fri *-*-* 02:30")], ids="-".join)
def test_systemd_accepts_what_is_printed(
    typed: Typed, tmp_path: Path, user: tuple[str, ...], when: tuple[str, ...]
) -> None:
    folder = tmp_path / "units"
    folder.mkdir()
    typed("score.py", "in put", "-o", "o u$t%1", "--name", "my job; 100%", *when, *user, "--write", str(folder))
    verified(*sorted(folder.iterdir()))


@pytest.mark.parametrize("text", NASTY)
def test_systemd_accepts_nasty_names(typed: Typed, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "units"
    folder.mkdir()
    typed("score.py", f"./{text}", "-o", f"out/{text}", f"--name={text.strip()}", "--write", str(folder))
    service = next(folder.iterdir())
    verified(service)
    text_ = service.read_text()
    assert f"{typed.folder}/{text}" in words(value(text_, "ExecStart"))
    assert words(value(text_, "ReadWritePaths"), variables=False) == [f"{typed.folder}/out/{text}"]


def template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def settings(text: str) -> set[str]:
    return {line for line in text.splitlines() if line and not line.startswith(("#", "["))}


def test_the_template_makes_the_same_choices() -> None:
    missing = {*POLICY, *LIMITS, *HARDENING} - settings(template("batchctl@.service"))
    assert missing == set()


def test_systemd_accepts_the_templates(tmp_path: Path) -> None:
    # /usr/bin/batchctl is not installed where this is tested.
    program = shutil.which("true") or "/bin/true"
    for name in ("batchctl@.service", "batchctl@.timer"):
        (tmp_path / name.replace("@", "@x")).write_text(template(name).replace("/usr/bin/batchctl", program))
    verified(tmp_path / "batchctl@x.service", tmp_path / "batchctl@x.timer")


def test_every_setting_of_the_template_that_confines_has_its_reason() -> None:
    section = template("batchctl@.service").partition("\n[Service]\n")[2]
    blocks = [block for block in section.partition("\n[Install]\n")[0].strip().split("\n\n") if block]
    assert blocks
    assert [block for block in blocks if not block.startswith("#")] == []
