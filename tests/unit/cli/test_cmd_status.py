from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import struct
import sys
import termios
from pathlib import Path

import pytest

from batchctl.cli.cmd_status import show
from batchctl.cli.main import main
from batchctl.model.progress import Progress, RunState, Summary
from batchctl.report.status import StatusFile
from batchctl.report.summary import write_summary

PROGRESS = Progress(
    run_id="r", state=RunState.RUNNING, epoch=1, pid=2**22 + 1, items=10, items_done=4, items_failed=1, batches=5,
    batches_done=2, rows=3, elapsed_s=1.0, rate=2.0, eta_s=3.0,
)  # fmt: skip
SUMMARY = Summary(
    run_id="r", name="job", state=RunState.FAILED, exit_code=3, items=10, items_succeeded=3, items_failed=7,
    items_quarantined=7, batches=5, attempts=5, attempts_failed=2, attempts_lost=0, attempts_timed_out=0, rows=3,
    duration_s=1.0, epochs=1, workers=1, output="", error_threshold="2", next_command="batchctl plan",
)  # fmt: skip


class Run:
    """A run directory, and what its coordinator would do to it."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out / ".batchctl"
        self.folder.mkdir(parents=True)
        (self.folder / "lock").touch()
        self.status = StatusFile(
            self.folder / "status.json", name="job", command=("batchctl", "run"), clock=lambda: 0.0, wall=lambda: 0.0
        )

    def says(self, state: RunState, *, done: int = 4) -> None:
        self.status.write(PROGRESS._replace(state=state, items_done=done), force=True)


@pytest.fixture
def running(tmp_path: Path) -> Run:
    return Run(tmp_path / "out")


def test_no_run_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    assert main(["status", str(tmp_path / "absent")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_a_run_is_running_while_its_lock_is_held_and_crashed_afterwards(
    running: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    running.says(RunState.RUNNING)
    with (running.folder / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert main(["status", str(running.out)]) == 0
        assert "job: running\n" in capsys.readouterr().out
    assert main(["status", str(running.out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "crashed"


def test_a_copied_run_directory_tells_the_same(running: Run, capsys: pytest.CaptureFixture[str]) -> None:
    running.says(RunState.FAILED)
    write_summary(running.folder / "summary.json", SUMMARY)
    elsewhere = running.out.with_name("else where")
    shutil.move(running.out, elsewhere)
    assert main(["status", str(elsewhere)]) == 0
    out = capsys.readouterr().out
    assert "job: failed (exit code 3)\n" in out
    assert "next      batchctl plan" in out


@pytest.mark.parametrize("text", ["", "\0" * 64, "{}", '{"progress": 3}'])
def test_a_torn_status_is_no_error(running: Run, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (running.folder / "status.json").write_text(text)
    assert main(["status", str(running.out)]) == 0
    assert "nothing is known of its progress" in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [False, True], ids=["lines", "json"])
def test_watch_goes_on_until_the_run_ends(running: Run, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    running.says(RunState.RUNNING)
    lock = (running.folder / "lock").open("r+")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        running.says(RunState.RUNNING, done=4 + len(naps))
        if len(naps) == 3:
            running.says(RunState.FINISHED, done=10)
            lock.close()

    assert show(str(running.out), as_json=as_json, watch=True, sleep=sleep) == 0
    lines = capsys.readouterr().out.splitlines()
    assert naps == [1.0, 1.0, 1.0]
    if as_json:
        told = [json.loads(line) for line in lines]
        assert [entry["status"]["progress"]["items_done"] for entry in told] == [4, 5, 6, 10]
        assert told[-1]["verdict"] == "finished"
    else:
        assert lines[:3] == [f"job: running {done}/10 ({done * 10}.0%) 2.0/s eta 3.0s, 1 failed" for done in (4, 5, 6)]
        assert lines[3] == "job: finished"


def test_watch_of_what_does_not_run_says_so_and_leaves(running: Run, capsys: pytest.CaptureFixture[str]) -> None:
    running.says(RunState.STOPPED)

    def sleep(seconds: float) -> None:
        raise AssertionError("it should not wait")

    assert show(str(running.out), as_json=False, watch=True, sleep=sleep) == 0
    assert "stopped early, resumable" in capsys.readouterr().out


def test_watch_redraws_in_place_on_a_terminal_and_cuts_what_would_wrap(running: Run) -> None:
    running.says(RunState.RUNNING)
    pid, terminal = pty.fork()
    if not pid:
        try:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
            sys.stdout = os.fdopen(1, "w", closefd=False)
            lock = (running.folder / "lock").open("r+")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

            def sleep(seconds: float) -> None:
                running.says(RunState.FINISHED, done=10)
                lock.close()

            show(str(running.out), as_json=False, watch=True, sleep=sleep)
        finally:
            os._exit(0)
    seen = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # EIO: the child has left
            break
        if not data:
            break
        seen += data
    os.close(terminal)
    os.waitpid(pid, 0)
    first, again, second = seen.decode().partition("\x1b[8F\x1b[J")
    assert again, seen
    assert first.count("\r\n") == 8
    assert first.startswith("job: running\r\n")
    assert second.startswith("job: finished\r\n")
    assert all(len(line) < 30 for line in (first + second).split("\r\n"))
