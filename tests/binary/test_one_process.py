"""From exec to exit it is one process: its pid, its arguments, its exit codes, its signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.binary.packaged import Packaged, differences, finish, trees
from tests.binary.scoring import Scoring, wait_for

EMBEDDED = "--batchctl-embedded-python"


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def children_of(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def waiting(scoring: Scoring) -> Scoring:
    scoring.waits()
    return scoring


def test_the_pid_that_was_started_is_the_one_that_works(waiting: Scoring) -> None:
    began = time.monotonic()
    process = waiting.start("-q")
    try:
        wait_for(waiting.reached.exists, "the script to run")
        typed = [str(waiting.packaged.path), *map(str, waiting.words("-q"))]
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
        assert shown == typed
        status = status_of(process.pid)
        assert status["Name"] == "batchctl"
        assert int(status["PPid"]) == os.getpid()
        assert Path(os.readlink(f"/proc/{process.pid}/exe")) == waiting.packaged.tree / "batchctl"
        assert len(children_of(process.pid)) == 1, "the fork server and nobody else"
    finally:
        waiting.opened.touch()
        finish(process, began=began)
    assert process.returncode == 0


def test_nobody_stands_between_the_shell_and_a_short_command(warm: Packaged, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    if shutil.which("strace") is None:
        pytest.skip("no strace here")
    words = ["strace", "-f", "-e", "trace=process", "-o", str(trace), str(warm.path), "--version"]
    subprocess.run(words, env=warm.environment(), check=True, capture_output=True)
    lines = trace.read_text().splitlines()
    pids = {line.split()[0] for line in lines}
    assert len(pids) == 1, f"more than one process or thread: {pids}"
    assert not [line for line in lines if "fork(" in line or "clone" in line]
    assert any("execve(" in line and f"{warm.tree}/batchctl" in line for line in lines)


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        pytest.param(["--version"], 0, id="version"),
        pytest.param(["--help"], 0, id="help"),
        pytest.param([], 2, id="nothing typed"),
        pytest.param(["nonsense"], 2, id="no such command"),
        pytest.param(["status", "nowhere"], 2, id="no such run"),
        pytest.param(["run", "nowhere.py", "in", "-o", "out"], 2, id="no such script"),
    ],
)
def test_exit_codes_pass(warm: Packaged, tmp_path: Path, typed: list[str], code: int) -> None:
    warm.run(*typed, cwd=tmp_path).expect(code)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param("def run(mini_batch):\n    raise ValueError('no')", 3, id="nothing succeeded"),
        pytest.param(
            "def init():\n    raise ValueError('no')\ndef run(mini_batch):\n    return []", 4, id="init fails"
        ),
        pytest.param("import os\ndef run(mini_batch):\n    os._exit(9)", 3, id="workers die"),
        pytest.param("def walk(mini_batch):\n    return []", 2, id="no run()"),
    ],
)
def test_exit_codes_of_runs_pass(scoring: Scoring, script: str, code: int) -> None:
    scoring.script(script)
    scoring.items({"one.txt": "1"})
    scoring.run("--max-retries", "0").expect(code)


@pytest.mark.parametrize(
    ("number", "code"),
    [pytest.param(signal.SIGTERM, 75, id="SIGTERM drains"), pytest.param(signal.SIGINT, 130, id="Ctrl-C drains")],
)
def test_a_signal_arrives_once_and_is_answered(waiting: Scoring, number: int, code: int) -> None:
    began = time.monotonic()
    waiting.items({f"item{n}.txt": "x" for n in range(9)})
    process = waiting.start("--mini-batch-size", "1")
    try:
        wait_for(waiting.reached.exists, "the script to run")
        process.send_signal(number)
        status = waiting.folder / "out" / ".batchctl" / "status.json"
        wait_for(lambda: status.is_file() and '"draining"' in status.read_text(), "the drain")
    finally:
        waiting.opened.touch()
        ran = finish(process, began=began)
    ran.expect(code)  # a second signal would have cut the drain short
    waiting.run("--mini-batch-size", "1").expect(0)
    assert len(waiting.rows()) == 10


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGUSR1], ids=lambda n: n.name)
def test_death_by_a_signal_is_death_by_that_signal(waiting: Scoring, number: signal.Signals) -> None:
    began = time.monotonic()
    process = waiting.start("-q")
    try:
        wait_for(waiting.reached.exists, "the script to run")
        children = children_of(process.pid)
        process.send_signal(number)
        ran = finish(process, began=began)
    finally:
        process.kill()
    assert ran.code == -number, ran
    wait_for(lambda: not any(map(runs, children)), "its children to be gone")


def runs(pid: int) -> bool:
    """Has it not ended? A zombie has: it waits for whoever adopted it, which may be this very process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_launcher_leaves_signals_as_they_were(warm: Packaged) -> None:
    """What the caller ignores or blocks stays so: nohup, and shells that start jobs in the background."""
    code = "; ".join(
        (
            "import os, signal, sys",
            "signal.signal(signal.SIGHUP, signal.SIG_IGN)",
            "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})",
            "os.execve(sys.argv[1], sys.argv[1:], dict(os.environ))",
        )
    )
    inner = "import signal; print(signal.getsignal(1) == signal.SIG_IGN, 12 in signal.pthread_sigmask(0, []))"
    words = [sys.executable, "-I", "-c", code, str(warm.path), EMBEDDED, "-c", inner]
    said = subprocess.run(words, env=warm.environment(), capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "True True\n"), said


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o000, 0o077])
def test_the_launcher_leaves_the_umask_as_it_was(warm: Packaged, mask: int) -> None:
    code = "import os; print(oct(os.umask(0)))"
    words = ["sh", "-c", f'umask {mask:04o}; exec "$@"', "sh", str(warm.path), EMBEDDED, "-c", code]
    said = subprocess.run(words, env=warm.environment(), capture_output=True, text=True, check=True)
    assert said.stdout == f"{oct(mask)}\n"


@pytest.mark.parametrize(("closing", "code"), [("2>&-", 0), ("<&- >&- 2>&-", 74)])
def test_a_caller_may_have_closed_the_streams(cold: Packaged, closing: str, code: int) -> None:
    """The launcher's descriptors must not come to lie on 0, 1 or 2: a first run, with files to write."""
    words = ["sh", "-c", f'"$0" --version {closing}', str(cold.path)]
    done = subprocess.run(words, env=cold.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == code, done
    assert differences(cold.tree) == []


def test_the_file_may_be_removed_while_it_runs(waiting: Scoring, tmp_path: Path) -> None:
    copy = tmp_path / "copied"
    shutil.copy2(waiting.packaged.path, copy)
    other = Scoring(Packaged(copy, waiting.packaged.cache, waiting.packaged.home), tmp_path / "job2")
    other.waits()
    began = time.monotonic()
    process = other.start("-q")
    wait_for(other.reached.exists, "the script to run")
    copy.unlink()
    other.opened.touch()
    finish(process, began=began).expect(0)


def test_a_tree_that_a_job_runs_from_is_kept(waiting: Scoring, cold: Packaged) -> None:
    began = time.monotonic()
    job = Scoring(cold, waiting.folder.parent / "job3")
    job.waits()
    process = job.start("-q")
    try:
        wait_for(job.reached.exists, "the script to run")
        cold.run("self", "clean", "--all").expect(0)
        assert trees(cold.cache) == [cold.tree.name]
    finally:
        job.opened.touch()
        finish(process, began=began).expect(0)
    cold.run("self", "clean", "--all").expect(0)
    assert trees(cold.cache) == []
