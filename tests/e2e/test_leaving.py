"""The workers leave while the result is put in order: signals that come then change nothing of how the run ends."""

from __future__ import annotations

import os
import platform
import signal
from pathlib import Path

import pytest

from tests.e2e.driver import Job, wait_for

LEAVES = """\
import os


def run(mini_batch):
    if os.environ.get("BAD"):
        raise ValueError("bad")
    return [os.path.basename(path) for path in mini_batch]


def shutdown():
    open(os.environ["BEGUN"], "w").close()  # waits for the test, which opens the other end
    open(os.environ["MAY_GO"]).close()
    print("left")
"""
ENDED = "left"
# name: signals while shutdown() runs, variables, exit code, whether shutdown() comes to its end
CASES = {
    "one of a good run": ((signal.SIGINT,), {}, 0, True),
    "SIGTERM of a good run": ((signal.SIGTERM,), {}, 0, True),
    "a second one ends the worker": ((signal.SIGTERM, signal.SIGINT), {}, 0, False),
    "one of a failed run": ((signal.SIGTERM,), {"BAD": "1"}, 3, True),
}


def waits(pid: int) -> bool:
    """For events: its main thread stands in epoll_wait or epoll_pwait."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in {"232", "281"}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="not run: other numbers of system calls")
@pytest.mark.parametrize("case", CASES)
def test_signals_while_workers_leave(job: Job, case: str) -> None:
    signals, environment, code, leaves = CASES[case]
    job.items(1)  # one attempt, so that charge and end are one commit
    job.write("code/score.py", LEAVES)
    begun, may_go = job.folder / "begun", job.folder / "may_go"
    for fifo in (begun, may_go):
        os.mkfifo(fifo)
    variables = [f"--env={name}={value}" for name, value in {"BEGUN": begun, "MAY_GO": may_go, **environment}.items()]
    flags = ("--workers", "1", "--max-retries", "0", "--error-threshold", "0", *variables)
    with job.start("run", "code/score.py", "in", "-o", "out", *flags) as started:
        begun.open().close()
        # Before, it puts the rows in order, which a signal may well cut off.
        wait_for(lambda: waits(started.process.pid), "the command to wait for its worker")
        for number in signals:
            started.signal(number)
        if leaves:
            may_go.open("w").close()
        ran = started.end()
    ran.expect(code)
    assert (job.out.path / "predictions.csv").exists() is (code == 0)
    logs = b"".join(path.read_bytes() for path in (job.out.run_directory / "logs").rglob("*") if path.is_file())
    assert (ENDED.encode() in logs) is leaves
    job.batchctl("verify", "out").expect(0)
