"""The gauge on real processes, and on a driver compiled from tests/doubles."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchctl.model.node import Gpu, Reading
from batchctl.model.progress import WorkerView
from batchctl.node import gauge as gauge_module
from batchctl.node import process_memory
from batchctl.node.gauge import Gauge
from batchctl.node.process_memory import Resident, family, pss, resident

MIB, GIB = 1 << 20, 1 << 30
CARD = "GPU-01111111-aaaa"
# Does what it is told, line by line: "hold MIB", "drop", "child MIB" (a child that holds so much); answers each.
PUPPET = """
import os, sys, time
held = []
for line in sys.stdin:
    verb, _, number = line.strip().partition(" ")
    if verb == "hold":
        held.append(bytearray(b"x") * (int(number) << 20))
    elif verb == "drop":
        held.clear()
    elif verb == "child":
        ready, tell = os.pipe()
        if os.fork() == 0:
            block = bytearray(b"y") * (int(number) << 20)
            os.write(tell, b"!")
            time.sleep(3600)
        os.read(ready, 1)
    print("done", flush=True)
"""


class Puppet:
    """A process that holds what it is told to."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PUPPET],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0,
        )  # fmt: skip

    def do(self, line: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def view(self, slot: int = 0, *, gpu: str | None = None) -> WorkerView:
        return WorkerView(slot, 1, self.process.pid, "run", 0, 0.0, (0,), gpu)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()


@contextmanager
def puppets(count: int) -> Iterator[list[Puppet]]:
    made = [Puppet() for _ in range(count)]
    try:
        yield made
    finally:
        for puppet in made:
            puppet.end()


def test_what_a_worker_and_its_child_hold() -> None:
    gauge = Gauge()
    with puppets(1) as (puppet,):
        puppet.do("hold 50")
        alone = gauge.read([puppet.view()]).workers[0]
        assert 50 * MIB < alone.pss <= alone.peak < 100 * MIB
        puppet.do("child 40")
        both = gauge.read([puppet.view()]).workers[0]
        # The child shares the worker's 50 MiB and has 40 of its own: no page counts twice.
        assert 90 * MIB < both.pss < 140 * MIB
    gauge.close()


def test_the_peak_is_what_the_kernel_saw_between_two_looks() -> None:
    gauge = Gauge()
    with puppets(1) as (puppet,):
        before = gauge.read([puppet.view()]).workers[0]
        puppet.do("hold 80")
        puppet.do("drop")
        after = gauge.read([puppet.view()]).workers[0]
        assert after.pss < before.pss + 40 * MIB
        assert after.peak > before.pss + 75 * MIB
        assert after.gpu is None
    gauge.close()


def test_a_worker_that_is_gone_is_left_out() -> None:
    gauge = Gauge()
    with puppets(2) as (one, other):
        views = [one.view(0), other.view(1)]
        assert len(gauge.read(views).workers) == 2
        one.process.kill()
        one.process.wait()
        reading = gauge.read([*views, WorkerView(2, 1, 0, "starting", None, 0.0, (), None)])
        assert [worker.slot for worker in reading.workers] == [1]
        assert reading.available > 0
    assert gauge.read([]).workers == ()
    gauge.close()


def test_a_process_that_vanishes_in_the_middle_of_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauge_module, "family", lambda pid: [pid, 4194303])
    monkeypatch.setattr(gauge_module, "resident", lambda pid: Resident(MIB, 2 * MIB))
    monkeypatch.setattr(gauge_module, "pss", lambda pid, rss: None if pid == 4194303 else rss)
    worker = Gauge().read([WorkerView(0, 1, 77, "run", 0, 0.0, (), None)]).workers[0]
    assert (worker.pss, worker.peak) == (MIB, 2 * MIB)


def test_pss_is_read_again_when_rss_has_moved_and_never_for_more_than_a_twentieth_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, rss = [0.0], [100]
    asked: list[int] = []

    def slow(_pid: int, size: int) -> int:
        now[0] += 1.0
        asked.append(size // MIB)
        return size // 2

    monkeypatch.setattr(gauge_module, "family", lambda pid: [pid])
    monkeypatch.setattr(gauge_module, "resident", lambda pid: Resident(rss[0] * MIB, 200 * MIB))
    monkeypatch.setattr(gauge_module, "pss", slow)
    gauge, view = Gauge(clock=lambda: now[0]), WorkerView(0, 1, 77, "run", 0, 0.0, (), None)
    seen = []
    # time of the look, RSS: the first takes until 1.0, the next is due at 21.0
    for now[0], rss[0] in [(0.0, 100), (2.0, 101), (3.0, 150), (20.9, 60), (22.0, 101), (22.1, 150)]:
        seen.append(gauge.read([view]).workers[0].pss // MIB)
    assert asked == [100, 150]
    assert seen == [50, 50, 100, 10, 50, 75]  # what RSS has gained or lost meanwhile is taken as its own


def test_processes_that_are_not_there() -> None:
    assert resident(4194303) is None
    assert pss(4194303, 5) is None
    assert family(4194303) == [4194303]


def test_kernels_without_smaps_rollup_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with puppets(1) as (puppet,):
        puppet.do("hold 20")
        expected = pss(puppet.process.pid, 0)
        slow = process_memory._pss_of_old_kernels(puppet.process.pid)
        assert expected is not None
        assert slow is not None
        assert abs(slow - expected) < 4 * MIB
    assert process_memory._pss_of_old_kernels(4194303) is None


class Driver:
    """The fake driver's changing state, and a gauge that asks it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.told()
        self.gauge = Gauge((Gpu(0, CARD, "x", 40 * GIB, 39 * GIB),))

    def told(self, *lines: str) -> None:
        new = self._file.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in lines))
        new.replace(self._file)

    def look(self, views: list[WorkerView]) -> Reading:
        """A reading that the driver's answer to a question of now has part in."""
        for _ in range(2):
            reading = self.gauge.read(views)
            while self.gauge._asked and self.gauge._driver is not None:
                reading = self.gauge.read(views)
        return reading


@pytest.fixture
def driver(drivers: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(drivers["new"]))
    monkeypatch.setenv("FAKE_NVML_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(gauge_module, "_PATIENCE", 1200)  # a minute: a start may take long here
    made = Driver(tmp_path / "state")
    yield made
    made.gauge.close()


def test_gpu_bytes_by_pid_children_included(driver: Driver) -> None:
    with puppets(2) as (one, other):
        one.do("child 1")
        child = family(one.process.pid)[1]
        pids = [one.process.pid, child, other.process.pid]
        driver.told(*(f"process {CARD} {pid} {mib}" for pid, mib in zip(pids, (100, 20, 7), strict=True)))
        reading = driver.look([one.view(0, gpu=CARD), other.view(1, gpu=CARD)])
    assert [worker.gpu for worker in reading.workers] == [120 * MIB, 7 * MIB]
    assert reading.gpu_free == {CARD: 39 * GIB}


@pytest.mark.parametrize("lines", [[], ["process GPU-01111111-aaaa {pid} -1"], ["process GPU-01111111-aaaa 1 5000"]])
def test_where_the_driver_knows_no_bytes_of_ours_the_gain_of_the_device_is_shared(
    driver: Driver, lines: list[str]
) -> None:
    """It held 1 GiB when it was probed."""
    with puppets(2) as (one, other):
        views = [one.view(0, gpu=CARD), other.view(1, gpu=CARD)]
        assert [worker.gpu for worker in driver.look(views).workers] == [0, 0]
        told = [line.format(pid=one.process.pid) for line in lines]
        driver.told(f"used {CARD} {1024 + 600}", *told)
        reading = driver.look(views)
    assert [worker.gpu for worker in reading.workers] == [300 * MIB] * 2
    assert reading.gpu_free == {CARD: 40 * GIB - 1624 * MIB}


def test_a_gpu_that_falls_off_between_two_reads(driver: Driver) -> None:
    with puppets(1) as (one,):
        view = one.view(gpu=CARD)
        assert driver.look([view]).gpu_free
        driver.told(f"lost {CARD}")
        reading = driver.look([view])
        assert (reading.gpu_free, reading.workers[0].gpu) == ({}, None)


def test_a_driver_that_hangs_is_asked_no_more(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.look([])  # it is up: a start may take longer than the patience of this test
    monkeypatch.setattr(gauge_module, "_PATIENCE", 3)
    driver.told(f"hang {CARD}")
    with puppets(1) as (one,):
        readings = [driver.gauge.read([one.view(gpu=CARD)]) for _ in range(6)]
    assert readings[0].gpu_free == {CARD: 39 * GIB}  # the last that was heard
    assert readings[-1].gpu_free == {}
    assert readings[-1].workers[0].gpu is None
