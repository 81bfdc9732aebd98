"""The printed unit under a real systemd: start, status, stop, restart, watchdog, timer. All end in equal bytes."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.driver import Job, Out, wait_for
from tests.e2e.halting import Gate, committed, gated
from tests.e2e.systemd_box import Box, booted, missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(missing()), reason=f"no real systemd: {missing()}"),
]

UNIT, TIMER = "batchctl-job.service", "batchctl-job.timer"
LOG = "/run/batchctl.log"  # in the box
EXECUTABLE = Path(sys.executable).with_name("batchctl")
# What a test cannot wait for is shortened, and nothing else; the hardening stays on.
QUICK = """[Service]
WatchdogSec=4s
RestartSec=100ms
StandardOutput=append:{log}
StandardError=append:{log}
"""


@dataclass
class Service:
    """A job whose unit is loaded in a box."""

    job: Job
    box: Box

    @property
    def out(self) -> Out:
        return self.job.out

    def start(self) -> None:
        self.box.systemctl("start", UNIT)

    def kill(self, number: signal.Signals) -> None:
        """To the coordinator alone, from outside, as nobody but systemd is told."""
        self.box.systemctl("kill", "--kill-whom=main", f"--signal={number.name}", UNIT)

    def show(self, name: str) -> str:
        return self.box.show(UNIT, name)

    def until(self, name: str, wanted: str, *, seconds: float = 60.0) -> None:
        self.box.until(UNIT, name, lambda found: re.fullmatch(wanted, found) is not None, seconds=seconds)


@contextmanager
def service(job: Job, *flags: str, name: str = "job", out: str = "out") -> Iterator[Service]:
    """`batchctl systemd` for the job, and a systemd that has its units."""
    units = job.folder.parent / "units"
    units.mkdir()
    (job.folder / out).mkdir()
    job.batchctl(
        *("systemd", "code/score.py", "in", "-o", out, "--workers", "1", f"--name={name}", "--write", units, *flags)
    ).expect(0)
    (unit,) = units.glob("*.service")
    # The driver starts `python -m batchctl`; a unit is to start the executable.
    text = unit.read_text()
    assert f"ExecStart={sys.executable} -m batchctl run " in text
    unit.write_text(text.replace(f"ExecStart={sys.executable} -m batchctl", f"ExecStart={EXECUTABLE}"))
    (units / "box.target").write_text("[Unit]\nDescription=The box\nWants=keep.timer\n")
    # It never elapses: systemd forgets how a unit ended that nothing loaded refers to.
    (units / "keep.timer").write_text(f"[Timer]\nOnActiveSec=1d\nUnit={unit.name}\n")
    for target in ("sysinit", "basic", "multi-user", "timers", "shutdown", "network-online", "umount"):
        (units / f"{target}.target").write_text(f"[Unit]\nDescription={target}\n")
    drop = units / f"{unit.name}.d"
    drop.mkdir()
    environment = "".join(f'Environment="{key}={value}"\n' for key, value in job.environment.items())
    if (job.folder / "gate").exists():  # where the script tells how far it is
        environment += f"ReadWritePaths={job.folder / 'gate'}\n"
    (drop / "quick.conf").write_text(QUICK.format(log=LOG) + environment)
    with booted(job.folder.parent, job.folder, units) as box:
        yield Service(job, box)


def reached(job: Job) -> None:
    wait_for(lambda: (job.folder / "gate" / "reached").exists(), "the script to get to the gate", seconds=60.0)
    committed(job.out)


@contextmanager
def halfway(job: Job) -> Iterator[tuple[Service, Gate, list[str]]]:
    """A service whose run has committed something and waits at the gate; the rows that it will have written."""
    gate, rows = gated(job)
    with service(job) as found:
        found.start()
        reached(job)
        yield found, gate, rows


def finished(found: Service, rows: list[str]) -> None:
    found.until("ActiveState", "inactive")
    assert (found.show("Result"), found.show("ExecMainCode"), found.show("ExecMainStatus")) == ("success", "1", "0")
    assert found.out.rows == rows


def test_a_service_is_ready_shows_how_far_it_is_and_ends(job: Job) -> None:
    gate, rows = gated(job)
    with service(job) as found:
        found.start()  # returns at READY
        assert found.show("ActiveState") == "active"
        reached(job)
        found.box.until(UNIT, "StatusText", lambda text: text.startswith("running "))
        assert re.search(r'Status: "running \d+/40 ', found.box.systemctl("status", UNIT))
        gate.open()
        finished(found, rows)
        assert found.show("NRestarts") == "0"
        found.start()
        finished(found, rows)
        assert "this run is complete" in found.box.read(LOG)


def test_stop_drains_is_no_failure_and_is_not_restarted(job: Job) -> None:
    with halfway(job) as (found, gate, rows):
        found.box.systemctl("stop", "--no-block", UNIT)
        wait_for(lambda: found.out.state == "draining", "the run to drain")
        gate.open()
        found.until("ActiveState", "inactive")
        assert (found.show("Result"), found.show("ExecMainStatus"), found.show("NRestarts")) == ("success", "75", "0")
        assert found.out.state == "stopped"
        found.start()
        finished(found, rows)


def test_a_drain_from_outside_is_taken_up_again(job: Job) -> None:
    with halfway(job) as (found, gate, rows):
        found.kill(signal.SIGTERM)
        wait_for(lambda: found.out.state == "draining", "the run to drain")
        gate.open()
        found.until("NRestarts", "1")
        finished(found, rows)
        assert found.out.summary["epochs"] == 2


def test_the_watchdog_ends_a_hung_coordinator_and_the_next_one_finishes(job: Job) -> None:
    with halfway(job) as (found, gate, rows):
        found.kill(signal.SIGSTOP)
        gate.open()  # the worker goes on; its coordinator takes nothing
        found.until("NRestarts", "1")
        finished(found, rows)
        assert found.out.summary["epochs"] == 2


def test_a_watched_coordinator_that_works_is_left_alone(job: Job) -> None:
    """Longer than the watchdog's interval in one call of run()."""
    with halfway(job) as (found, gate, rows):
        since = found.show("WatchdogTimestampMonotonic")
        for _ in range(8):
            now = found.box.until(UNIT, "WatchdogTimestampMonotonic", lambda text, last=since: text != last)
            since = now
        assert found.show("NRestarts") == "0"
        gate.open()
        finished(found, rows)


def test_kill_nine_is_taken_up_again(job: Job) -> None:
    with halfway(job) as (found, gate, rows):
        found.kill(signal.SIGKILL)
        gate.open()
        found.until("NRestarts", "1")
        finished(found, rows)


def test_what_a_restart_cannot_mend_is_not_restarted(job: Job) -> None:
    job.items(3)
    job.write("code/score.py", "def init(): raise ValueError('no weights')\ndef run(mini_batch): return mini_batch\n")
    with service(job) as found:
        found.box.systemctl("start", UNIT, check=False)
        found.until("ActiveState", "failed")
        shown = (found.show("Result"), found.show("ExecMainStatus"), found.show("NRestarts"))
        assert shown == ("exit-code", "4", "0")


def test_a_timer_starts_it(job: Job) -> None:
    rows = job.items(5)
    job.script()
    with service(job, "--every", "1h") as found:
        drop = job.folder.parent / "units"
        assert (drop / TIMER).exists()
        found.box.systemctl("start", TIMER)
        assert found.show("ActiveState") == "inactive"
        assert found.box.show(TIMER, "Unit") == UNIT
        spans = found.box.show(TIMER, "TimersMonotonic")
        assert "OnUnitInactiveUSec=1h" in spans
        wait_for(lambda: found.out.state == "finished", "the timer to elapse (1 min)", seconds=120.0)
        finished(found, rows)


NASTY = """50% "of" it's $HOME \\x41 ; größe"""


def test_names_arrive_as_they_were_typed(tmp_path: Path) -> None:
    job = Job(tmp_path / NASTY)
    rows = job.items(5)
    job.script()
    with service(job, name=NASTY, out="o;u %t$$") as found:
        (unit,) = (name for name in os.listdir(tmp_path / "units") if name.endswith(".service"))
        found.box.systemctl("start", unit)
        found.box.until(unit, "ActiveState", lambda state: state == "inactive")
        assert (found.box.show(unit, "Result"), found.box.show(unit, "ExecMainCode")) == ("success", "1")
        assert Out(job.folder / "o;u %t$$").rows == rows


def test_only_out_can_be_written(job: Job) -> None:
    job.items(1)
    job.write(
        "code/score.py",
        "import os\n"
        "def run(mini_batch):\n"
        "    try:\n"
        "        open(os.environ['ELSEWHERE'], 'w').close()\n"
        "    except OSError as error:\n"
        "        return [error.strerror]\n"
        "    return ['written']\n",
    )
    job.environment["ELSEWHERE"] = str(job.folder / "elsewhere")
    with service(job) as found:
        found.start()
        finished(found, ["Read-only file system"])
