"""Runs in a real memory cgroup: as many workers as fit, and what happens where memory runs out all the same."""

from __future__ import annotations

import os

import pytest

from tests.doubles.memory_cgroup import memory_cgroup
from tests.e2e.driver import Job

MIB = 1 << 20
TWO_CPUS = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="not run: needs two cpus")


def inputs(job: Job, count: int, **holding: int) -> list[str]:
    """`count` files; item<n>=MiB has its `run` hold so much. The names, in plan order."""
    names = [f"item{number:03d}" for number in range(count)]
    for name in names:
        (job.inputs / name).write_text(f"hold {holding[name]}\n" if name in holding else "\n")
    return names


def nothing_is_lost(job: Job, names: list[str], *, guilty: tuple[str, ...] = ()) -> None:
    assert job.out.rows == [name for name in names if name not in guilty]
    assert job.out.leftovers() == []


@TWO_CPUS
def test_two_workers_of_600_mib_are_one_within_a_gib(job: Job) -> None:
    job.script("memory", MEMORY_INIT=600, MEMORY_WORK=0.05)
    names = inputs(job, 16)
    with memory_cgroup(1024 * MIB) as group:
        job.run("--mini-batch-size", "1", prefix=group.prefix).expect(0)
        assert group.oom_kills == 0
    assert job.out.summary["workers"] == 1
    assert any("memory" in reason for reason in job.out.summary["reasons"])
    nothing_is_lost(job, names)
    job.run("--mini-batch-size", "1", out="outside").expect(0)
    outside = type(job.out)(job.folder / "outside")
    assert (outside.summary["workers"], outside.predictions) == (2, job.out.predictions)


def test_a_footprint_that_grows_on_a_late_file(job: Job) -> None:
    job.script("memory", MEMORY_INIT=50, MEMORY_WORK=0.02)
    names = inputs(job, 24, item009=350, item017=350)
    with memory_cgroup(700 * MIB) as group:
        job.run("--mini-batch-size", "1", "--mem-reserve", "150M", prefix=group.prefix).expect(0)
    nothing_is_lost(job, names)
    assert job.out.summary["reasons"]


def test_a_leak_is_recycled_and_named(job: Job) -> None:
    job.script("memory", MEMORY_LEAK=5, MEMORY_WORK=0.06)
    names = inputs(job, 160)
    with memory_cgroup(700 * MIB) as group:
        ran = job.run("--mini-batch-size", "1", "--workers", "1", "--mem-reserve", "150M", prefix=group.prefix)
        ran.expect(0)
        assert group.oom_kills == 0
    nothing_is_lost(job, names)
    ran.names("worker 0", "grew", "MiB each")
    assert any("grew" in reason for reason in job.out.summary["reasons"])


@pytest.mark.parametrize("workers", ["auto", "2"])
def test_a_script_that_takes_most_of_memory_in_init(job: Job, workers: str) -> None:
    job.script("memory", MEMORY_INIT=820)
    names = inputs(job, 12)
    with memory_cgroup(1024 * MIB) as group:
        flags = ("--mini-batch-size", "1", "--workers", workers, "--mem-reserve", "32M")
        job.run(*flags, prefix=group.prefix).expect(0)
        assert workers != "auto" or group.oom_kills == 0
    nothing_is_lost(job, names)
    assert job.out.summary["reasons"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_file_that_memory_cannot_hold_is_given_up_alone(job: Job, workers: str) -> None:
    job.script("memory", MEMORY_WORK=0.01)
    names = inputs(job, 30, item012=1024)
    with memory_cgroup(300 * MIB) as group:
        flags = ("--mini-batch-size", "5", "--workers", workers, "--mem-reserve", "16M")
        ran = job.run(*flags, prefix=group.prefix).expect(0)
        assert 1 <= group.oom_kills <= 12  # bounded rounds
    nothing_is_lost(job, names, guilty=("item012",))
    ran.names("item012", "out of memory")
    assert job.out.summary["items_quarantined"] == 1
    charged = job.out.charged()
    assert charged[-1][1:] == (12, 1)


def test_a_machine_that_cannot_bear_one_worker(job: Job) -> None:
    job.script("memory", MEMORY_INIT=400)
    inputs(job, 3)
    with memory_cgroup(200 * MIB) as group:
        ran = job.run("--workers", "1", prefix=group.prefix).expect(5)
    ran.names("out of memory")
    ran.remedied()


@pytest.mark.parametrize("workers", ["1", "3", "auto"])
def test_an_init_that_is_refused_gpu_memory_wherever_it_is_tried(job: Job, workers: str) -> None:
    told = "CUDA out of memory. Tried to allocate 20.00 MiB"
    job.write(
        "code/score.py", f"def init():\n    raise RuntimeError({told!r})\n\n\ndef run(mini_batch):\n    return []\n"
    )
    inputs(job, 6)
    ran = job.run("--mini-batch-size", "1", "--workers", workers, limit=20.0).expect(4)
    ran.names(told)
    ran.remedied()
