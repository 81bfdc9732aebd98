"""Acceptance 5, files: odd names, files that go bad, and output folders that cannot be; nothing is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.driver import Job, Ran, wait_for
from tests.e2e.halting import gated

ODD_NAMES: dict[str, bytes] = {
    "space": b"two words.txt",
    "leading and trailing space": b" x ",
    "quotes": b'it\'s a "file".txt',
    "newline": b"two\nlines.txt",
    "carriage return": b"a\rb",
    "tab": b"a\tb",
    "ESC": b"\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "C1 control": "a\x9bb".encode(),
    "right to left": "a\u202etxt.exe".encode(),
    "not UTF-8": b"caf\xe9\xff",
    "255 bytes": b"n" * 255,
    "backslash": b"a\\b",
    "dash": b"-rf",
    "at": b"@list",
    "glob": b"*?[a].txt",
    "percent": b"%s%n{0}",
    "comma": b"a,b",
    "dot": b".hidden",
    "formula": b"=1+1",
}


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_odd_names_are_items_like_any_other(job: Job, locale: str) -> None:
    (job.code / "score.py").write_text(
        "import os\n\ndef run(mini_batch):\n"
        "    return [os.fsencode(os.path.basename(p)).hex() + open(p).read() for p in mini_batch]\n"
    )
    for name in ODD_NAMES.values():
        Path(os.fsdecode(os.fsencode(job.inputs) + b"/" + name)).write_text("+")
    env = {"LC_ALL": locale}
    job.run("-v", "--mini-batch-size", "3", "--max-retries", "0", env=env).expect(0)
    assert job.out.rows == [name.hex() + "+" for name in sorted(ODD_NAMES.values())]
    for argv in (("verify", "out"), ("inspect", "out"), ("status", "out"), ("plan", "code/score.py", "in")):
        job.batchctl(*argv, env=env).expect(0)


# How a name is shown wherever a person reads it.
SHOWN = {
    "space": "two words.txt",
    "newline": "two\\nlines.txt",
    "carriage return": "a\\rb",
    "tab": "a\\tb",
    "ESC": "\\x1b[31mred",
    "C1 control": "a\\x9bb",
    "right to left": "a\\u202etxt",
    "not UTF-8": "caf\\xe9\\xff",
}


@pytest.mark.parametrize("kinds", [list(ODD_NAMES)[at : at + 7] for at in (0, 7, 14)], ids=["first", "second", "third"])
def test_failures_on_odd_names_are_told_without_harm(job: Job, kinds: list[str]) -> None:
    """The script puts each name into its message, and prints it."""
    (job.code / "score.py").write_text(
        "def run(mini_batch):\n    print(mini_batch)\n"
        "    if any('good' not in p for p in mini_batch):\n        raise ValueError(mini_batch[0])\n"
        "    return [1] * len(mini_batch)\n"
    )
    (job.inputs / "good").touch()
    for kind in kinds:
        os.close(os.open(os.fsencode(job.inputs) + b"/" + ODD_NAMES[kind], os.O_CREAT | os.O_WRONLY))
    ran = job.run("-v", "--mini-batch-size", "1", "--max-retries", "0").expect(0)
    ran.names("ValueError", *(SHOWN[kind] for kind in kinds if kind in SHOWN))
    summary = job.out.summary
    assert (summary["items_succeeded"], summary["items_quarantined"]) == (1, len(kinds))
    assert [a["Status"] for a in job.out.attempts].count("failed") == len(kinds)
    shown = [ran.stderr, *(job.batchctl(*argv).expect(0).stdout for argv in (("status", "out"), ("inspect", "out")))]
    for text in shown:
        assert not {byte for byte in text if byte < 32} - {10}, "a control character of a name reached the terminal"
        assert not {"\x9b", "\u202e"} & set(text.decode("utf-8"))


MEDDLES = ("removed", "folder", "dangling link", "loop", "unreadable")


@pytest.mark.parametrize("what", MEDDLES)
def test_a_file_that_goes_bad_after_the_plan_costs_itself(job: Job, what: str) -> None:
    names = [text.split()[0] for text in job.items(20)]
    job.script("meddles", VICTIM=job.inputs / names[17], MEDDLES=what)
    # As root a mode keeps nobody out; without these two capabilities it does.
    prefix = without_override() if what == "unreadable" else ()
    ran = job.run("--mini-batch-size", "5", "--max-retries", "0", "--workers", "1", prefix=prefix).expect(0)
    ran.names(names[17])
    assert job.out.rows == [name for name in names if name != names[17]]
    assert job.out.summary["items_quarantined"] == 1


def without_override() -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
    try:
        tried = subprocess.run([*prefix, "cat", "/etc/hostname"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("root can read every file and there is no setpriv here")
    if tried.returncode:
        pytest.skip("root can read every file and setpriv cannot drop that here")
    return prefix


def test_an_unreadable_folder_loses_no_items_silently(job: Job) -> None:
    job.script()
    job.items(3)
    job.items(3, below="secret")
    prefix = without_override()
    (job.inputs / "secret").chmod(0)
    try:
        job.run(prefix=prefix).expect(2).names("secret", "--exclude")
        job.run("--exclude", "secret/**", prefix=prefix).expect(0)
    finally:
        (job.inputs / "secret").chmod(0o700)
    assert len(job.out.rows) == 3


def test_what_is_no_regular_file_is_left_out_and_said(job: Job) -> None:
    job.script()
    rows = job.items(4)
    os.mkfifo(job.inputs / "pipe")
    (job.inputs / "dangling").symlink_to("nowhere")
    (job.inputs / "circle").symlink_to("circle")
    (job.inputs / "sub").mkdir()
    (job.inputs / "sub" / "up").symlink_to("../..")
    (job.inputs / "sub" / "self").symlink_to(".")
    job.run("--workers", "1").expect(0).names("pipe", "dangling", "circle", "up")
    assert job.out.rows == rows


# --- OUT --------------------------------------------------------------------------------------------------------------


def test_out_inside_input_is_not_its_own_input(job: Job) -> None:
    job.script()
    rows = job.items(5)
    out = job.inputs / "results"
    for _ in range(2):
        job.batchctl("run", "code/score.py", "in", "-o", out).expect(0)
    job.batchctl("run", "code/score.py", "in", "-o", out, "--fresh").expect(0)
    assert (out / "predictions.csv").read_text().splitlines()[1:] == rows


def test_out_that_is_a_link_to_a_folder(job: Job) -> None:
    job.script()
    rows = job.items(3)
    (job.folder / "disk").mkdir()
    (job.folder / "out").symlink_to("disk")
    for flags in ((), (), ("--fresh",)):
        job.run(*flags).expect(0)
    assert job.out.rows == rows
    for argv in (("verify", "out"), ("inspect", "out"), ("status", "out"), ("status", "disk")):
        job.batchctl(*argv).expect(0)
    assert (job.folder / "out").is_symlink()


@pytest.mark.parametrize("given", ["out/data", "out"])
def test_input_inside_out_is_refused(job: Job, given: str) -> None:
    job.script()
    job.write("out/data/a.txt", "a")
    ran = job.batchctl("run", "code/score.py", given, "-o", "out").expect(2)
    ran.names(given, "-o")
    ran.remedied()
    assert sorted(str(path.relative_to(job.out.path)) for path in job.out.path.rglob("*")) == ["data", "data/a.txt"]


def test_out_with_somebody_elses_files_keeps_them(job: Job) -> None:
    job.script()
    rows = job.items(3)
    job.write("out/notes.txt", "mine")
    job.write("out/sub/data.bin", "mine too")
    job.run().expect(0)
    job.run("--fresh").expect(0)
    assert job.out.rows == rows
    assert [(job.out.path / name).read_text() for name in ("notes.txt", "sub/data.bin")] == ["mine", "mine too"]


@pytest.mark.parametrize("name", ["predictions.csv", "predictions.csv.partial"])
@pytest.mark.parametrize("fresh", [(), ("--fresh",)], ids=["plain", "fresh"])
def test_a_result_that_is_not_ours_is_never_replaced(job: Job, name: str, fresh: tuple[str, ...]) -> None:
    job.script()
    job.items(3)
    job.write(f"out/{name}", "somebody's result\n")
    job.run(*fresh).expect(2).names(name)
    assert (job.out.path / name).read_text() == "somebody's result\n"


def test_a_run_directory_that_is_not_ours_is_left_alone(job: Job) -> None:
    job.script()
    job.items(3)
    job.write("out/.batchctl/what", "not a run")
    ran = job.run()
    assert ran.code in (2, 7), ran
    ran.names(".batchctl")
    assert (job.out.run_directory / "what").read_text() == "not a run"


def test_out_held_by_another_run(job: Job) -> None:
    gate, rows = gated(job)
    flags = ("--mini-batch-size", "2")
    with job.start("run", "code/score.py", "in", "-o", "out", *flags) as first:
        gate.wait_reached(first)
        for argv in (flags, (*flags, "--fresh")):
            job.run(*argv).expect(8).remedied()
        gate.open()
        first.end().expect(0)
    assert job.out.rows == rows
    wait_for(lambda: job.run(*flags).code == 0, "the lock to be free")


def below_a_file(job: Job) -> str:
    job.write("file", "")
    return "file/out"


def a_file(job: Job) -> str:
    job.write("out", "a file")
    return "out"


def a_dangling_link(job: Job) -> str:
    (job.folder / "out").symlink_to("nowhere/else")
    return "out"


def a_fifo(job: Job) -> str:
    os.mkfifo(job.folder / "out")
    return "out"


def proc(job: Job) -> str:
    return "/proc/out"


def too_long(job: Job) -> str:
    return "o" * 300


BAD_OUTS: tuple[Callable[[Job], str], ...] = (below_a_file, a_file, a_dangling_link, a_fifo, proc, too_long)


@pytest.mark.parametrize("make", BAD_OUTS, ids=lambda make: make.__name__)
def test_out_that_cannot_be(job: Job, make: Callable[[Job], str]) -> None:
    job.script()
    job.items(2)
    out = make(job)
    ran = job.run(out=out, limit=20)
    # A wrong argument or a disk that refuses: both are said with the path.
    assert ran.code in (2, 74), ran
    ran.names(out[:80])
    ran.remedied()
    if make is a_file:
        assert (job.folder / "out").read_text() == "a file"


@pytest.fixture
def immutable(job: Job) -> Iterator[Callable[[Path], None]]:
    made: list[Path] = []

    def make(path: Path) -> None:
        if subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode:
            pytest.skip("chattr +i is not to be had here")
        made.append(path)

    yield make
    for path in made:
        subprocess.run(["chattr", "-i", path], check=True)


def test_read_only_out(job: Job, immutable: Callable[[Path], None]) -> None:
    job.script()
    job.items(2)
    job.out.path.mkdir()
    immutable(job.out.path)
    ran = job.run()
    assert ran.code in (2, 74), ran
    ran.names("out")
    ran.remedied()
    assert list(job.out.path.iterdir()) == []


def test_out_that_becomes_read_only_midway_resumes_when_it_is_writable_again(
    job: Job, immutable: Callable[[Path], None]
) -> None:
    gate, rows = gated(job)
    with job.start("run", "code/score.py", "in", "-o", "out", "--mini-batch-size", "2") as started:
        gate.wait_reached(started)
        immutable(job.out.path)
        gate.open()
        ran: Ran = started.end().expect(74)
    ran.names("out")
    assert not (job.out.path / "predictions.csv").exists()
    subprocess.run(["chattr", "-i", job.out.path], check=True)
    job.run("--mini-batch-size", "2").expect(0)
    assert job.out.rows == rows
