"""File names that mean something to a terminal, a log, a table, a page or a shell, through every output there is.

The script fails on each and puts the name into its message, as scripts do, so that it is in the traceback too.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import select
import subprocess
from pathlib import Path

import pytest

from tests.e2e.driver import COMMAND, Job, Ran

FAILS = """
import os

def run(mini_batch):
    for path in mini_batch:
        if not path.endswith("good"):
            raise ValueError("cannot read " + path + " (" + os.path.basename(path) + ")")
    return [os.path.basename(path) for path in mini_batch]
"""
SCORES = """
import os

def run(mini_batch):
    return [os.path.basename(path) for path in mini_batch]
"""
NAMES: dict[str, bytes] = {
    "colours": b"\x1b[31mred\x1b[0m",
    "title of the window": b"\x1b]0;pwned\x07",
    "cursor up": b"a\x1b[2Ab",
    "C1 control": "a\x9b31mb".encode(),
    "raw C1 byte": b"a\x9b31m",
    "DEL": b"a\x7fb",
    "newline": b"two\nlines",
    "command after a newline": b"x\n::error::pwned",
    "command after a newline and a space": b"x\n  ::warning file=a::pwned",
    "command": b"::add-mask::e",
    "old command": b"a##[error]pwned",
    "carriage return": b"good.txt\rbad",
    "line separator": "a\u2028b\u2029c".encode(),
    "NEL": "a\x85b".encode(),
    "tab": b"a\tb",
    "quotes": b'a"b\'c"',
    "comma": b'a,b","c',
    "formula": b"=cmd|' -C calc'!A0",
    "formula, too": b"@SUM(1+1)*cmd",
    "not UTF-8": b"caf\xe9\xff",
    "surrogate in UTF-8": b"a\xed\xa0\x80b",
    "right to left": "a\u202egpj.exe".encode(),
    "isolates": "a\u2066b\u2069".encode(),
    "nothing to see": "a\u200b\ufeffb".encode(),
    "255 bytes": b"n" * 255,
    "255 bytes of umlauts": "ü".encode() * 127 + b"x",
    "dash": b"--help",
    "HTML": b"<script>alert(1)<&",
    "Markdown": b"a|`b`|[c](d)**e**",
    "shell": b"$(touch pwned);`touch pwned`&",
    "format": b"%s%n{0}{x!r}",
    "backslash": b"a\\x1bb\\",
    "markup of rich": b"[bold red]a[-bold]",
}
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200b\ufeff]")
COMMANDS = re.compile(r"^\s*::|##\[", re.MULTILINE)
FLAGS = ("--mini-batch-size", "1", "--max-retries", "0", "--workers", "1")


@pytest.fixture
def named(job: Job) -> Job:
    """A job with all these names, and one good file."""
    (job.code / "score.py").write_text(FAILS)
    (job.inputs / "good").touch()
    for name in NAMES.values():
        os.close(os.open(os.fsencode(job.inputs) + b"/" + name, os.O_CREAT | os.O_WRONLY, 0o600))
    return job


def test_no_name_reaches_a_line_as_it_is(named: Job) -> None:
    page = named.folder / "summary-of-the-step"
    page.touch()
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(page)}
    said = [
        named.batchctl("check", "code/score.py", "in"),
        named.batchctl("plan", "code/score.py", "in"),
        named.run("-v", *FLAGS, env=env).expect(0),
    ]
    assert named.out.summary["items_quarantined"] == len(NAMES)
    said += [named.batchctl(*argv).expect(0) for argv in (("status", "out"), ("failures", "out"), ("verify", "out"))]
    said += [named.batchctl("retry", "out", "-v", "--max-retries", "0").expect(0)]
    for ran in said:
        harmless(ran.stdout.decode(), ran)
        harmless(ran.stderr.decode(), ran)
    harmless(page.read_text(), said[2])
    for word in ("<script", "](d)", "|`b`|"):
        assert word not in page.read_text()
    assert not list(named.folder.rglob("pwned"))


def harmless(text: str, ran: Ran) -> None:
    found = CONTROL.search(text) or COMMANDS.search(text)
    assert not found, f"{found} in what was said by\n{ran}"


def test_the_live_line_of_a_terminal_holds_none_either(named: Job) -> None:
    near, far = os.openpty()
    try:
        words = [*COMMAND, "run", "code/score.py", "in", "-o", "out", "-v", *FLAGS]
        env = {**named._environment("tty", {}), "TERM": "xterm-256color"}
        with subprocess.Popen(words, cwd=named.folder, env=env, stdin=far, stdout=far, stderr=far) as process:
            os.close(far)
            shown = terminal(near)
            assert process.wait(30) == 0, shown
    finally:
        os.close(near)
    assert "\\x1b[31mred" in shown
    # What is left once the colours and the redrawing of the line are taken away is text.
    ours = re.sub(r"\x1b\[[0-9;]*m|\x1b\[K|\r", "", shown)
    found = CONTROL.search(ours)
    assert not found, (found, ours)
    assert "\x1b[31mred" not in shown


def terminal(near: int) -> str:
    """All that was written to the far end, which is closed when its last process ends."""
    pieces: list[bytes] = []
    while select.select([near], [], [], 30)[0]:
        try:
            pieces.append(os.read(near, 1 << 16))
        except OSError:  # EIO: nobody has the far end open any more
            break
    return b"".join(pieces).decode()


def test_every_machine_readable_output_parses_and_says_the_name(named: Job) -> None:
    named.run(*FLAGS).expect(0)
    directory = named.out.run_directory
    for name in ("summary.json", "status.json", "job.json"):
        json.loads((directory / name).read_bytes())
    folder = os.fsencode(named.inputs) + b"/"
    expected = sorted(folder + name for name in NAMES.values())
    shown = sorted(name.decode("utf-8", "backslashreplace") for name in expected)  # JSON holds no bytes
    lines = [json.loads(line) for line in (directory / "quarantine.jsonl").read_bytes().splitlines()]
    assert sorted(line["path"] for line in lines) == shown
    with (directory / "attempts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len(rows) == 1 + 1 + len(NAMES)
    words = [*COMMAND, "failures", "out", "--paths", "-0"]  # raw, so not by what looks for ESC in all that is said
    raw = subprocess.run(words, cwd=named.folder, env=named._environment("raw", {}), stdout=-1, check=True).stdout
    assert sorted(raw.split(b"\0")[:-1]) == expected
    told = named.batchctl("failures", "out", "--json").expect(0).json
    assert told["quarantined"] == len(NAMES)
    for argv in (("status", "out"), ("plan", "code/score.py", "in"), ("check", "code/score.py", "in")):
        ran = named.batchctl(*argv, "--json").expect(0)
        assert ran.json
        assert b"##[" not in ran.stdout
    for record in named.batchctl("inspect", "out").expect(0).stdout.splitlines():
        json.loads(record)


@pytest.mark.parametrize("form", ["csv", "azure", "jsonl"])
def test_rows_that_are_names_come_back_as_they_were(named: Job, form: str) -> None:
    """As the format's own reader takes them; azure's is that of pandas, which quotes nothing but its separator."""
    (named.code / "score.py").write_text(SCORES)
    named.run("--mini-batch-size", "4", "--workers", "1", "--output-format", form).expect(0)
    data = (named.out.path / ("predictions.jsonl" if form == "jsonl" else "predictions.csv")).read_bytes()
    expected = sorted([*NAMES.values(), b"good"])
    if form == "jsonl":
        assert [json.loads(line)["prediction"] for line in data.splitlines()] == list(map(os.fsdecode, expected))
    elif form == "csv":
        text = data.decode("utf-8", "surrogateescape")
        assert [row[0] for row in csv.reader(io.StringIO(text, newline=""))] == [
            "prediction",
            *map(os.fsdecode, expected),
        ]
    else:
        assert data == b"".join(name + b"\n" for name in expected)


def test_a_name_in_an_argument_is_shown_without_harm(job: Job) -> None:
    name = "gone\x1b]0;pwned\x07\u202e\n::error::x.py"
    for argv in (("run", name, "in", "-o", "out"), ("status", name), ("run", "code/score.py", name, "-o", "out")):
        job.script()
        ran = job.batchctl(*argv)
        assert ran.code == 2 or argv[0] == "status", ran
        harmless((ran.stdout + ran.stderr).decode(), ran)
    assert not (job.folder / "pwned").exists()


def test_the_log_of_a_worker_is_what_the_script_printed(job: Job) -> None:
    """Its bytes are the script's own: `less` and editors show them, `cat` obeys them (docs/security.md)."""
    (job.code / "score.py").write_text("def run(m):\n    print('\\x1b[31m')\n    return m\n")
    job.items(1)
    job.run().expect(0)
    (log,) = (job.out.run_directory / "logs").glob("worker-*.log")
    assert b"\x1b[31m" in Path(log).read_bytes()
