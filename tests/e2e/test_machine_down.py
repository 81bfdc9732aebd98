"""A mini-batch that takes the whole machine down, each time: the job ends all the same, and costs one file.

The machine's end is kill -9 of all processes at once, and another boot id: its file is mounted over for the command
alone, in a mount namespace of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from batchctl.files import RealDisk
from batchctl.store.inspection import inspect_log
from batchctl.store.layout import RunLayout
from tests.e2e.driver import MARK, Job, Started, carriers, row, wait_for

BOOT_ID = "/proc/sys/kernel/random/boot_id"
MOUNTED = 'mount --bind "$0" ' + BOOT_ID + ' && exec "$@"'


@pytest.fixture(autouse=True)
def _namespaces(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not root: no file can be mounted over the boot id")
    given = booted(tmp_path, 0)
    tried = subprocess.run([*given, "cat", BOOT_ID], capture_output=True, check=False)
    if tried.stdout != (tmp_path / "boot-0").read_bytes():
        pytest.skip("no file can be mounted over the boot id here")


def booted(folder: Path, number: int) -> tuple[str, ...]:
    """What a command is begun with on the machine's `number`-th boot."""
    boot = folder / f"boot-{number}"
    boot.write_text(f"{number:08x}-0000-4000-8000-000000000000\n")
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNTED, str(boot))


class Machine:
    """Boots, runs the job, goes down when a file that it is to do so for is reached and the log knows of it."""

    def __init__(self, job: Job, *flags: str) -> None:
        self.job = job
        self.flags = flags
        self.boots = 0
        self.down = job.folder / "down"
        self.down.mkdir()
        job.script("brings_down", DOWN=self.down)

    def start(self) -> Any:
        self.boots += 1
        for mark in self.down.glob("reached-*"):
            mark.unlink()
        argv = ("run", "code/score.py", "in", "-o", "out", "--mini-batch-size", "2", *self.flags)
        return self.job.start(*argv, prefix=booted(self.job.folder, self.boots))

    def goes_down_at(self, *kinds: str) -> list[tuple[int, int]]:
        """(first item, items) of what was claimed and came to nothing in this boot."""
        with self.start() as started:
            wait_for(lambda: self.reached(started, kinds), "the file that takes the machine down")
            wait_for(lambda: len(self.in_flight()) >= len(kinds), "the claims in the log")
            started.signal(signal.SIGKILL)  # first: a coordinator that outlives its workers charges them
            for pid in carriers(MARK, started._mark):
                with contextlib.suppress(ProcessLookupError):  # the coordinator's end takes the others along
                    os.kill(pid, signal.SIGKILL)
            assert started.end().code == -signal.SIGKILL
        return self.in_flight()

    def reached(self, started: Started, kinds: tuple[str, ...]) -> bool:
        assert started.alive(), started.end()
        return all((self.down / f"reached-{kind}").exists() for kind in kinds)

    def log(self) -> list[dict[str, Any]]:
        layout = RunLayout(self.job.out.path)
        if not layout.job.exists() or not layout.log.exists():
            return []
        run_id = json.loads(layout.job.read_bytes())["document"]["run_id"]
        return list(inspect_log(RealDisk(), layout, run_id=run_id))

    def in_flight(self) -> list[tuple[int, int]]:
        """What the last epoch claimed and nothing is said of since."""
        out: dict[int, int] = {}
        for record in self.log():
            if record["type"] == "EPOCH":
                out.clear()
            elif record["type"] == "CLAIM":
                out[record["first"]] = record["count"]
            elif record["type"] in ("COMMIT", "FAIL"):
                out.pop(record["first"], None)
        return sorted(out.items())


def test_the_file_that_takes_the_machine_down_is_found_and_given_up(job: Job) -> None:
    names = ["a.txt", "b.txt", "guilty.txt", "h.txt", "slow.txt", "t.txt", "u.txt", "v.txt"]
    for name in names:
        (job.inputs / name).write_text(name)
    machine = Machine(job, "--workers", "2")
    for _ in range(2):
        assert machine.goes_down_at("guilty", "slow") == [(2, 2), (4, 2)]
    # Both are suspects now. All else is done first; then one runs at a time, and goes on being so until one is done.
    assert machine.goes_down_at("guilty") == [(2, 2)]
    done = {record["first"] for record in machine.log() if record["type"] == "COMMIT"}
    assert done == {0, 6}
    # It was alone: charged, and halved.
    assert machine.goes_down_at("guilty") == [(2, 1)]
    (machine.down / "calm").touch()
    with machine.start() as started:
        ran = started.end().expect(0)
    ran.names("guilty.txt", "MachineDown", "alone and last")
    assert machine.boots == 5
    assert job.out.rows == [row(name, name.encode()) for name in names if name != "guilty.txt"]
    charged = [record for record in machine.log() if record["type"] == "FAIL"]
    assert [(record["first"], record["count"], record["kind"]) for record in charged] == [
        (2, 2, "lost"),
        (2, 1, "lost"),
    ]
    summary = job.out.summary
    assert (summary["items_succeeded"], summary["items_quarantined"], summary["attempts_lost"]) == (7, 1, 2)
    assert [cause["error"] for cause in summary["causes"]] == ["MachineDown"]
    assert [(status, first, count) for status, first, count in job.out.charged()] == [("lost", 2, 2), ("lost", 2, 1)]
    told = job.batchctl("failures", "out", "--json").expect(0).json
    assert [cause["class"] for cause in told["causes"]] == ["MachineDown"]
    assert told["causes"][0]["example"]["path"].endswith("/guilty.txt")
    job.batchctl("verify", "out").expect(0)


def test_a_suspect_that_ends_well_is_done(job: Job) -> None:
    """Without isolation too; and a machine that was shut down in order has nothing against anybody."""
    (job.inputs / "slow.txt").touch()
    machine = Machine(job, "--workers", "1", "--no-isolate")
    for _ in range(2):
        assert machine.goes_down_at("slow") == [(0, 1)]
    with machine.start() as started:
        wait_for(lambda: machine.reached(started, ("slow",)), "the suspect to run")
        started.signal(signal.SIGTERM)
        wait_for(lambda: job.out.state == "draining" or not started.alive(), "the run to drain")
        started.signal(signal.SIGTERM)
        started.end().expect(75)
    (machine.down / "calm").touch()
    with machine.start() as started:
        started.end().expect(0)
    assert job.out.summary["attempts"] == 1
    assert job.out.rows == [row("slow.txt", b"")]


def test_without_isolation_the_mini_batch_is_given_up_as_a_whole(job: Job) -> None:
    for name in ("guilty.txt", "h.txt"):
        (job.inputs / name).touch()
    machine = Machine(job, "--workers", "1", "--no-isolate")
    for _ in range(3):
        assert machine.goes_down_at("guilty") == [(0, 2)]
    with machine.start() as started:
        started.end().expect(3)
    assert job.out.summary["items_quarantined"] == 2
