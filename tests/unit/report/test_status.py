from __future__ import annotations

import fcntl
import os
import stat
import struct
from pathlib import Path

import pytest

from batchctl.model.progress import Progress, RunState, Summary
from batchctl.report.status import Liveness, Snapshot, StatusFile, liveness, lock_held, pid_alive, read_status
from batchctl.report.status_text import status_dict, status_line, status_text

from .records import PROGRESS, progress, summary


class Clock:
    """Time, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def status_file(path: Path, clock: Clock) -> StatusFile:
    command = ("batchctl", "run", "score.py", "in put/", "-o", "out")
    return StatusFile(path, name="digits", command=command, clock=clock, wall=lambda: 1e9 + clock.now)


def snapshot(moment: Progress = PROGRESS, *, cwd: str = "/work") -> Snapshot:
    return Snapshot(
        name="digits",
        command=("batchctl", "run", "score.py", "in put/", "-o", "out"),
        cwd=cwd,
        host=os.uname().nodename,
        written_at=1000.0,
        version="0.1.0",
        progress=moment,
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status_file(path, Clock()).write(PROGRESS)
    found = read_status(path)
    assert found is not None
    assert (found.progress, found.name, found.written_at) == (PROGRESS, "digits", 1e9 + 100)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_rate_is_bounded_and_a_change_of_state_is_written_at_once(tmp_path: Path) -> None:
    path, clock = tmp_path / "status.json", Clock()
    status = status_file(path, clock)

    def written(moment: Progress, *, force: bool = False) -> bool:
        path.unlink(missing_ok=True)
        status.write(moment, force=force)
        return path.exists()

    assert status.due()
    assert written(PROGRESS)
    assert not status.due()
    assert not written(PROGRESS)
    assert written(progress(state=RunState.PAUSED))
    assert written(progress(state=RunState.PAUSED), force=True)
    clock.now += 0.49
    assert not written(progress(state=RunState.PAUSED))
    clock.now += 0.02
    assert status.due()
    assert written(progress(state=RunState.PAUSED))


def test_write_errors_are_counted_and_never_raised(tmp_path: Path) -> None:
    status = status_file(tmp_path / "absent" / "status.json", Clock())
    status.write(PROGRESS)
    assert status.errors == 1


def test_a_temporary_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / ".status.json.tmp").symlink_to(target)
    status = status_file(tmp_path / "status.json", Clock())
    status.write(PROGRESS)
    assert status.errors == 0
    assert read_status(tmp_path / "status.json") is not None
    assert target.read_text() == "mine"


RUNNING, FINISHED = snapshot(), snapshot(progress(state=RunState.FINISHED))


@pytest.mark.parametrize(
    ("found", "held", "alive", "verdict"),
    [
        pytest.param(RUNNING, True, True, Liveness.RUNNING, id="held"),
        pytest.param(FINISHED, True, False, Liveness.RUNNING, id="held: a resume has begun"),
        pytest.param(None, True, None, Liveness.RUNNING, id="held, nothing told yet"),
        pytest.param(RUNNING, False, False, Liveness.CRASHED, id="no last word"),
        pytest.param(RUNNING, False, True, Liveness.CRASHED, id="its pid was given anew"),
        pytest.param(FINISHED, False, False, Liveness.FINISHED, id="finished"),
        pytest.param(snapshot(progress(state=RunState.STOPPED)), False, False, Liveness.STOPPED, id="stopped"),
        pytest.param(snapshot(progress(state=RunState.FAILED)), None, None, Liveness.FAILED, id="failed, copied"),
        pytest.param(RUNNING, None, True, Liveness.RUNNING, id="no lock to ask, pid there"),
        pytest.param(RUNNING, None, None, Liveness.CRASHED, id="copied from another machine while it ran"),
        pytest.param(None, False, None, Liveness.PLANNED, id="nothing told"),
    ],
)
def test_verdicts(found: Snapshot | None, held: bool | None, alive: bool | None, verdict: Liveness) -> None:
    assert liveness(found, lock_held=held, pid_alive=alive) is verdict


def test_pids() -> None:
    assert pid_alive(snapshot(progress(pid=os.getpid()))) is True
    assert pid_alive(snapshot(progress(pid=2**22 + 1))) is False
    assert pid_alive(snapshot(progress(pid=-1))) is None
    assert pid_alive(snapshot(progress(pid=10**10))) is None
    assert pid_alive(snapshot()._replace(host="elsewhere")) is None
    assert pid_alive(None) is None


def test_locks_of_either_kind_are_seen_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock_held(path) is None
    path.touch()
    assert lock_held(path) is False
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert lock_held(path) is True
        fcntl.flock(file, fcntl.LOCK_UN)
        assert lock_held(path) is False
    with path.open("r+") as file:
        lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
        assert lock_held(path) is True
    assert lock_held(path) is False


def test_the_text_of_a_running_run() -> None:
    text = status_text(snapshot(), Liveness.RUNNING, out="out", summary=None, now=1000.4)
    assert text.split("\n") == [
        "digits: running",
        "  state     running for 12s in pid 4242",
        "  items     1,234 of 10,000 done (12.3%), 3 failed",
        "  batches   123 of 1,000 mini-batches done",
        "  rows      1,231",
        "  rate      456/s, eta 1m23s",
        "  sizing    2 of 4 places: none had finished a mini-batch yet",
        "  workers   0: pid 77, run mini-batch 12 for 1.5s, cpus 0-1, 6.4 MiB",
        "            1: pid 78, init for 1.5s, cpus 0-1, gpu GPU-1",
        "  as of     0.40s ago",
        "  next      batchctl status out --watch",
    ]


def test_a_worker_so_young_that_its_pid_is_not_known_yet_has_none() -> None:
    young = snapshot(progress(workers=(progress().workers[1]._replace(pid=0),)))
    text = status_text(young, Liveness.RUNNING, out="out", summary=None, now=1000.4)
    assert "  workers   1: init for 1.5s, cpus 0-1, gpu GPU-1" in text.split("\n")


RESUME = "batchctl run score.py 'in put/' -o out   (in /work)"
FAILED = summary(exit_code=4, next_command="batchctl check score.py")


@pytest.mark.parametrize(
    ("verdict", "ended", "said"),
    [
        pytest.param(Liveness.CRASHED, None, ["crashed: its coordinator is gone", RESUME], id="crashed"),
        pytest.param(Liveness.CRASHED, FAILED, ["crashed", RESUME], id="crashed after a resume: the old end is silent"),
        pytest.param(Liveness.STOPPED, summary(exit_code=75), ["resumable (exit code 75)", RESUME], id="stopped"),
        pytest.param(
            Liveness.FINISHED,
            summary(items_failed=0, items_quarantined=0),
            ["digits: finished\n", "batchctl verify 'my out'"],
            id="finished",
        ),
        pytest.param(Liveness.FINISHED, summary(), ["batchctl failures 'my out'"], id="finished, some failed"),
        pytest.param(Liveness.FAILED, FAILED, ["failed (exit code 4)", "batchctl check score.py"], id="failed"),
        pytest.param(Liveness.FAILED, None, ["failed\n", RESUME], id="failed without a summary"),
    ],
)
def test_what_became_of_it_and_what_to_type_next(verdict: Liveness, ended: Summary | None, said: list[str]) -> None:
    text = status_text(snapshot(), verdict, out="my out", summary=ended, now=1060.0)
    for words in said:
        assert words in text
    if verdict is Liveness.CRASHED:
        assert "exit code" not in text


def test_a_run_directory_without_a_status_still_says_what_to_do() -> None:
    text = status_text(None, Liveness.PLANNED, out="my out", summary=None, now=0)
    assert "not running" in text
    assert "`batchctl run ... -o 'my out'`" in text
    assert status_line(None, Liveness.RUNNING, out="a\x1bb") == "a\\x1bb: running"


def test_json() -> None:
    told = status_dict(snapshot(), Liveness.CRASHED, summary=summary())
    assert told["verdict"] == "crashed"
    assert told["status"]["progress"]["items_done"] == 1234
    assert told["summary"] is None
    assert status_dict(FINISHED, Liveness.FINISHED, summary=summary())["summary"]["rows"] == 9_997
    assert status_dict(None, Liveness.PLANNED, summary=None)["status"] is None


def test_nothing_of_a_hostile_status_reaches_the_terminal_raw() -> None:
    hostile = snapshot(progress(message="\x1b[2J"))._replace(name="\x1b]0;x\x07", command=("\x1b[31m",), cwd="\x1b")
    for verdict in Liveness:
        text = status_text(hostile, verdict, out="\x1bout", summary=None, now=0)
        assert "\x1b" not in text and "\x07" not in text
