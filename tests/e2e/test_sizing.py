"""How a run is sized, as its script, its user and /proc see it: pinning, thread caps, GPUs, growth, what is learned."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.driver import SCRIPTS, Job, Out, Started, wait_for
from tests.unit.node.real_cgroups import real_group

CPUS = os.sched_getaffinity(0)
TWO_CPUS = pytest.mark.skipif(len(CPUS) < 2, reason="not run: needs two cpus")
CARDS = tuple(f"GPU-{number}1111111-aaaa" for number in range(8))
SLICES = ("MIG-02222222-bbbb", "MIG-22222222-bbbb")


class Seats:
    """A job whose workers tell where they were put (tests/scripts/seat.py)."""

    def __init__(self, job: Job, count: int, **environment: object) -> None:
        self.job = job
        self.told_in = job.folder / "told"
        job.script("seat", WITNESS=self.told_in, **environment)
        shutil.copy(SCRIPTS / "witness.py", job.code)
        self.names = [f"item{number:03d}" for number in range(count)]
        for name in self.names:
            (job.inputs / name).write_text("")

    def all(self) -> list[dict[str, Any]]:
        """What each worker told, in the order in which they came."""
        return [json.loads(line) for line in self.told_in.read_text().splitlines()] if self.told_in.exists() else []

    def masks(self) -> list[str | None]:
        return [seat["gpu"] for seat in self.all()]

    def taken(self, count: int, started: Started) -> list[dict[str, Any]]:
        """Once `count` workers are there, while the run goes on."""
        wait_for(lambda: len(self.all()) >= count or not started.alive(), f"{count} workers")
        assert started.alive(), started.end()
        return self.all()

    def shorten(self, count: int) -> None:
        """No more than these are there from now on."""
        for name in self.names[count:]:
            (self.job.inputs / name).unlink()
        del self.names[count:]

    def forget(self) -> None:
        self.told_in.unlink()

    def whole(self, out: str = "out") -> None:
        """Every row is there, once and in order."""
        assert Out(self.job.folder / out).rows == self.names


def gate(job: Job) -> Path:
    """A folder at which workers wait until `open` is there."""
    folder = job.folder / "gate"
    folder.mkdir()
    return folder


def cpus_of_tasks(pid: int) -> list[set[int]]:
    """The cpus that each thread of a process may run on, as the kernel has them."""
    found = []
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        line = next(line for line in status.read_text().splitlines() if line.startswith("Cpus_allowed_list:"))
        ranges = [part.split("-") for part in line.split()[1].split(",")]
        found.append({cpu for low, *high in ranges for cpu in range(int(low), int((high or [low])[0]) + 1)})
    return found


# --- Pinning and thread caps ------------------------------------------------------------------------------------------


@TWO_CPUS
@pytest.mark.parametrize("pin", ["cores", "numa", "none"])
def test_where_live_workers_and_their_threads_may_run(job: Job, pin: str) -> None:
    seats = Seats(job, 6, GATE=gate(job))
    nodes = [set(node) for node in job.batchctl("probe", "--json").expect(0).json["node"]["numa_nodes"]]
    flags = ("--workers", "2", "--threads", "1", "--pin", pin, "--mini-batch-size", "1")
    with job.start("run", "code/score.py", "in", "-o", "out", *flags) as started:
        workers = [seat["pid"] for seat in seats.taken(2, started)]
        allowed = [cpus_of_tasks(pid) for pid in workers]
        wait_for(lambda: {worker["pid"] for worker in workers_of(job.out)} == set(workers), "status.json")
        told = job.batchctl("status", "out", "--json").expect(0).json["status"]["progress"]["workers"]
        (job.folder / "gate/open").touch()
        started.end().expect(0)
    seats.whole()
    assert all(len(tasks) >= 2 for tasks in allowed)  # the script's own thread is among them
    cpus = [tasks[0] for tasks in allowed]
    assert all(task == own for tasks, own in zip(allowed, cpus, strict=True) for task in tasks)
    if pin == "cores":
        assert [len(own) for own in cpus] == [1, 1]
        assert cpus[0] != cpus[1]
    elif pin == "numa":
        assert all(own in nodes for own in cpus)
    else:
        assert cpus == [CPUS, CPUS]
    shown = {worker["pid"]: set(worker["cpus"]) for worker in told}
    assert shown == {pid: own if pin != "none" else set() for pid, own in zip(workers, cpus, strict=True)}


# name: (variables of the shell, flags) -> caps that are not 2
CAPS: dict[str, tuple[dict[str, str], Sequence[str], dict[str, str]]] = {
    "all are the worker's cpus": ({}, (), {}),
    "the shell's own stand": ({"OMP_NUM_THREADS": "7"}, (), {"OMP_NUM_THREADS": "7"}),
    "the spec's own stand": ({}, ("--env", "MKL_NUM_THREADS=5"), {"MKL_NUM_THREADS": "5"}),
}


@TWO_CPUS
@pytest.mark.parametrize("case", CAPS)
def test_thread_caps_as_the_script_sees_them(job: Job, case: str) -> None:
    env, flags, own = CAPS[case]
    seats = Seats(job, 2)
    job.run("--workers", "1", "--threads", "2", *flags, env=env).expect(0)
    (seat,) = seats.all()
    assert seat["caps"] == dict.fromkeys(seat["caps"], "2") | own


# --- GPUs -------------------------------------------------------------------------------------------------------------


class Cards(NamedTuple):
    machine: str  # FAKE_NVML
    workers: int
    masks: Sequence[str]  # what workers see, sorted
    visible: str | None = None  # CUDA_VISIBLE_DEVICES of the shell


MASKS = {
    "one": Cards("one", 1, CARDS[:1]),
    "one, shared": Cards("one", 2, CARDS[:1] * 2),
    "eight": Cards("eight", 8, CARDS),
    "three of eight": Cards("eight", 3, CARDS[:3]),
    "eight, shared in turn": Cards("eight", 9, (CARDS[0], *CARDS)),
    "slices": Cards("mig", 3, (CARDS[0], *SLICES)),
    "by index": Cards("eight", 2, (CARDS[3], CARDS[6]), "6,3"),
    "by uuid": Cards("eight", 1, CARDS[5:6], CARDS[5]),
    "by the beginning of a uuid": Cards("eight", 1, CARDS[5:6], "GPU-51"),
    "a slice by uuid": Cards("mig", 1, SLICES[1:], SLICES[1]),
    "none is visible": Cards("eight", 2, ("", ""), ""),
    "one has fallen off the bus": Cards("lost", 2, CARDS[:1] * 2),
    "no permission": Cards("denied", 1, ()),
    "driver and library differ": Cards("mismatch", 1, ()),
}


@pytest.mark.parametrize("case", MASKS)
def test_the_gpu_that_each_worker_sees(job: Job, driver: dict[str, str], case: str) -> None:
    machine, workers, masks, visible = MASKS[case]
    env = {**driver, "FAKE_NVML": machine} | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    seats = Seats(job, workers + 2, SEATS=workers, GATE=gate(job))
    with job.start(
        "run", "code/score.py", "in", "-o", "out", "--workers", str(workers), "--mini-batch-size", "1", env=env
    ) as started:
        seats.taken(workers, started)
        (job.folder / "gate/open").touch()
        started.end().expect(0)
    assert sorted(mask for mask in seats.masks() if mask is not None) == sorted(masks)
    seats.whole()


def on_one_gpu(
    job: Job, driver: dict[str, str], *, mib: int, seats: int, count: int = 40
) -> tuple[Seats, dict[str, str]]:
    """One GPU of 40 GiB, 1 of them taken, of which each worker takes `mib`."""
    state = job.write("nvml", "")
    env = {**driver, "FAKE_NVML": "one", "FAKE_NVML_STATE": str(state)}
    return Seats(job, count, GPU_MIB=mib, SEATS=seats), env


@TWO_CPUS
def test_workers_share_a_gpu_as_long_as_their_measured_bytes_fit(job: Job, driver: dict[str, str]) -> None:
    seats, env = on_one_gpu(job, driver, mib=8 << 10, seats=2)
    flags = ("--mini-batch-size", "1", "--threads", str(len(CPUS) // 2))
    job.run(*flags, env=env).expect(0)
    seats.whole()
    assert seats.masks() == [CARDS[0]] * 2
    assert job.out.summary["workers"] == 2
    assert learned(job.out)["gpu"] == 8 << 30
    # What was learned lets both start at once.
    seats.forget()
    job.write("nvml", "")
    job.run(*flags, "--fresh", env=env).expect(0)
    assert seats.masks() == [CARDS[0]] * 2
    reasons = job.out.summary["reasons"]
    assert any("GPU memory less reserve / 8.0 GiB remembered" in reason for reason in reasons), reasons
    assert not any("at once" in reason for reason in reasons), reasons


@TWO_CPUS
def test_a_second_worker_is_not_started_where_the_gpu_is_too_small_for_two(job: Job, driver: dict[str, str]) -> None:
    seats, env = on_one_gpu(job, driver, mib=25 << 10, seats=1)
    seats.job.environment["GATE"] = str(gate(job))
    with job.start("run", "code/score.py", "in", "-o", "out", "--mini-batch-size", "1", env=env) as started:
        seats.taken(1, started)
        why = f"no GPU bears another ({CARDS[0]}: 1 worker, "
        wait_for(lambda: why in sizing_of(job.out), "the measured GPU")
        (job.folder / "gate/open").touch()
        started.end().expect(0).names(f"no more: {why}")
    seats.whole()
    assert seats.masks() == [CARDS[0]]
    assert any(f"{CARDS[0]}: 1 worker" in reason for reason in job.out.summary["reasons"])
    job.write("nvml", "")
    plan = job.batchctl("plan", "code/score.py", "in", "-o", "out", "--json", env=env).expect(0).json
    assert (plan["workers"], len(plan["slots"])) == (1, 1)
    assert plan["slots"][0].endswith(f"GPU {CARDS[0]}")


def test_a_gpu_that_falls_off_during_a_run_costs_nothing(job: Job, driver: dict[str, str]) -> None:
    state = job.write("nvml", "")
    env = {**driver, "FAKE_NVML_STATE": str(state)}
    seats = Seats(job, 6, GATE=gate(job), GPU_MIB=512)
    flags = ("--workers", "2", "--mini-batch-size", "1")
    with job.start("run", "code/score.py", "in", "-o", "out", *flags, env=env) as started:
        seats.taken(2, started)
        wait_for(lambda: gpu_bytes(job.out) == {CARDS[0]: 512 << 20, CARDS[1]: 512 << 20}, "the GPU bytes of both")
        with state.open("a") as file:
            file.write(f"lost {CARDS[1]}\n")
        wait_for(lambda: gpu_bytes(job.out) == {CARDS[0]: 512 << 20, CARDS[1]: None}, "one GPU to be lost")
        (job.folder / "gate/open").touch()
        started.end().expect(0)
    seats.whole()
    assert job.out.charged() == []


def sizing_of(out: Out) -> str:
    """What status.json says of the places; "" before there is one."""
    path = out.run_directory / "status.json"
    return str(json.loads(path.read_bytes())["progress"]["sizing"]) if path.exists() else ""


def workers_of(out: Out) -> list[dict[str, Any]]:
    """The workers in status.json; none before there is one."""
    path = out.run_directory / "status.json"
    found: list[dict[str, Any]] = json.loads(path.read_bytes())["progress"]["workers"] if path.exists() else []
    return found


def gpu_bytes(out: Out) -> dict[str, int | None]:
    """Bytes of GPU memory by GPU, one worker on each."""
    return {worker["gpu"]: worker["gpu_memory"] for worker in workers_of(out)}


# --- Growth, status, what is learned ----------------------------------------------------------------------------------


def learned(out: Out) -> dict[str, Any]:
    """The only entry of learned.json."""
    (entry,) = json.loads((out.run_directory / "learned.json").read_bytes())["learned"]
    return dict(entry)


@TWO_CPUS
def test_status_tells_the_memory_of_each_worker_and_how_many_places_are_filled(job: Job) -> None:
    seats = Seats(job, 4, GATE=gate(job))
    with job.start("run", "code/score.py", "in", "-o", "out", "--workers", "2", "--mini-batch-size", "1") as started:
        seats.taken(2, started)
        wait_for(lambda: [0 < (w["memory"] or 0) < 1 << 30 for w in workers_of(job.out)] == [True] * 2, "their memory")
        job.batchctl("status", "out").expect(0).names("sizing    2 of 2 places: as asked", " MiB\n", "cpus")
        (job.folder / "gate/open").touch()
        started.end().expect(0)


@pytest.mark.parametrize("workers", ["auto", "7"])
def test_no_more_workers_start_than_there_are_mini_batches(job: Job, workers: str) -> None:
    seats = Seats(job, 1)
    job.run("--workers", workers, "--mini-batch-size", "1").expect(0)
    assert len(seats.all()) == job.out.summary["workers"] == 1
    assert job.out.summary["held_back"] == ""


def test_the_summary_counts_workers_at_one_time_not_those_that_were_replaced(job: Job) -> None:
    seats = Seats(job, 4, DIES_AT="item002")
    job.run("--workers", "1", "--mini-batch-size", "1").expect(0)
    assert len(seats.all()) > 1
    assert job.out.summary["workers"] == 1
    assert job.out.rows == [name for name in seats.names if name != "item002"]


@TWO_CPUS
def test_what_a_run_learned_is_the_first_guess_of_the_next(job: Job) -> None:
    seats = Seats(job, 120)  # long enough to be measured: after a slow look there is none for 20 times as long
    flags = ("--mini-batch-size", "1")
    job.run(*flags, "--workers", "2").expect(0)
    entry = learned(job.out)
    assert 1 << 20 < entry["memory"] < 1 << 30
    assert entry["workers"] == job.out.summary["workers"]
    assert not any("remembered" in reason for reason in job.out.summary["reasons"])
    before = (job.out.run_directory / "learned.json").read_bytes()
    plan = job.batchctl("plan", "code/score.py", "in", "--hint", "out").expect(0)
    plan.names("(remembered)")
    job.batchctl("plan", "code/score.py", "in", "-o", "out").expect(0).names("(remembered)")
    assert (job.out.run_directory / "learned.json").read_bytes() == before
    seats.shorten(40)
    for again in (("--fresh",), ("--hint", "out")):
        out = "out" if "--fresh" in again else "other"
        ran = job.run(*flags, *again, out=out).expect(0)
        assert not any(word in ran.stderr for word in (b"sizing", b"no more", b"note"))  # it has all it wants
        summary = Out(job.folder / out).summary
        assert any("(remembered)" in reason for reason in summary["reasons"]), summary["reasons"]
        seats.whole(out)
    job.run(*flags, "--hint", "in", out="third").expect(0).names("learned.json is missing: nothing was learned there")
    # Another script is another matter.
    job.write("code/score.py", (job.code / "score.py").read_text() + "\n# changed\n")
    job.run(*flags, "--hint", "out", out="changed").expect(0).names("knows nothing of this script and model")


# name: flags -> workers, what the summary says of them
TOO_LARGE = {
    "auto": ((), 1, "of memory is free for the one worker"),
    "asked for": (("--workers", "2"), 2, "2 workers will not fit"),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_what_is_known_not_to_fit_is_tried_with_a_warning(job: Job, case: str) -> None:
    flags, workers, said = TOO_LARGE[case]
    seats = Seats(job, 90)
    job.run("--mini-batch-size", "1", "--workers", "1").expect(0)
    path = job.out.run_directory / "learned.json"
    known = json.loads(path.read_bytes())
    known["learned"][0]["memory"] = 1 << 50
    path.write_text(json.dumps(known))
    seats.shorten(30)
    job.run("--mini-batch-size", "1", "--fresh", *flags).expect(0).names(said)
    assert job.out.summary["workers"] == workers
    assert any(said in note for note in job.out.summary["notes"])
    seats.whole()


def test_half_a_cpu_is_seen_through_the_command(job: Job) -> None:
    Seats(job, 4)
    with real_group("cpu", {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}) as group:
        inside = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
        assert job.batchctl("probe", "--json", prefix=inside).expect(0).json["node"]["cpu_quota"] == 0.5
        job.batchctl("probe", prefix=inside).expect(0).names("quota 0.5")
        plan = job.batchctl("plan", "code/score.py", "in", "--json", prefix=inside).expect(0).json
    assert (plan["workers"], plan["reasons"][0]) == (1, "1 worker: cpus 1 (quota 0.5) / 1 each")


def test_a_reserve_larger_than_the_machine_is_refused_and_can_be_overruled(job: Job) -> None:
    seats = Seats(job, 4)
    job.run("--mem-reserve", "900T").expect(5).remedied()
    job.run("--mem-reserve", "900T", "--workers", "1", "--fresh").expect(0)
    seats.whole()
