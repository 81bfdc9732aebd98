"""Contestants on a workload, in interleaved rounds: which there are, their commands, their laps.

Every round runs each contestant once, in shuffled order, so that a slow minute of the machine hits all alike; ratios
are taken within a round. Every output is checked before the next lap begins.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchctl.plan.largest import largest_first
from tests.bench.makespan import recorded, simulate
from tests.bench.outputs import Judge
from tests.bench.peers.task import Task
from tests.bench.stopwatch import lap
from tests.bench.workloads import Prepared
from tests.published import ROOT

WORKERS = 2
SIMULATED = 32
LIMIT_S = 300.0
# One thread in each worker: two workers on two cores are slower with more (by half, W5).
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


_NAMES = {
    "serial": "plain loop",
    "halves": "two plain loops, half each",
    "pool": "Pool",
    "futures": "concurrent.futures",
    "parallel": "GNU parallel",
    "dask": "Dask",
    "ray_core": "Ray core",
    "ray_data": "Ray Data",
    "hyperqueue": "HyperQueue",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """`chunk` mini-batches in a task of the peer's, only `limit` files where all of them would take too long."""

    driver: str
    chunk: int = 1
    limit: int = 0

    @property
    def name(self) -> str:
        """As the table has it."""
        plain = _NAMES.get(self.driver, self.driver)
        return f"{plain}, chunks of {self.chunk}" if self.driver == "pool" else plain


SERIAL = Peer("serial")
# Nobody's choice: nothing is handed out or counted, and no order kept. It says how much of two cores the machine gives.
HALVES = Peer("halves")
_POOLS = (SERIAL, HALVES, Peer("pool"), Peer("futures"), Peer("joblib"), Peer("parallel"))
_CLUSTERS = (Peer("dask"), Peer("ray_core"), Peer("ray_data"))
# Chunks are what each is fastest with, beside 1 for Pool: the grain in which batchctl retries and resumes. HyperQueue
# has a process for each mini-batch, which all would take hours.
PEERS: dict[str, tuple[Peer, ...]] = {
    "start": (SERIAL, Peer("pool"), Peer("futures"), Peer("joblib"), Peer("parallel"), *_CLUSTERS, Peer("hyperqueue")),
    "w1": (
        *(SERIAL, HALVES, Peer("pool"), Peer("pool", 64), Peer("futures", 64), Peer("joblib", 2), Peer("parallel")),
        *(Peer("dask", 100), Peer("ray_core", 100), Peer("ray_data", 100), Peer("hyperqueue", limit=1000)),
    ),
    "w1-single": (SERIAL, HALVES, Peer("pool"), Peer("pool", 64)),
    "w2": (
        *(SERIAL, HALVES, Peer("pool"), Peer("pool", 16), Peer("futures", 16), Peer("joblib", 2), Peer("parallel")),
        *(Peer("dask", 10), Peer("ray_core", 10), Peer("ray_data", 10), Peer("hyperqueue", limit=200)),
    ),
    "w3": (*_POOLS, *_CLUSTERS),
    "w4": (*_POOLS, *_CLUSTERS),
    "w4-azure": (SERIAL, HALVES, Peer("pool")),
    "w4-parquet": (*_POOLS, Peer("ray_core")),
    "w5": (SERIAL, HALVES, Peer("pool"), Peer("parallel"), Peer("ray_core"), Peer("ray_data")),
}


@dataclass(frozen=True, slots=True)
class Found:
    """One lap. `work_s`: the plain loop's work, without start and init(). `items`: how many files it was given.
    `digest`: of the predictions file. `spread`: on w3, what the same mini-batches would take on 32 workers, over what
    no order can undercut."""

    workload: str
    round: int
    name: str
    wall_s: float
    cpu_s: float
    tree_mb: float
    others: float
    items: int
    digest: str = ""
    work_s: float = 0.0
    spread: float = 0.0


class FailedError(Exception):
    """A contestant that did not end with exit 0, and what it said last."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """`argv` and `environment` are for an output folder, which batchctl (`ours`) makes itself."""

    name: str
    argv: Callable[[Path], list[str]]
    environment: Callable[[Path], Mapping[str, str]]
    items: int
    ours: bool = False


def ours(name: str, executable: str, inputs: Prepared, *, python: Path) -> Contestant:
    """batchctl as shipped: durable, defaults but for the number of workers."""
    workload = inputs.workload
    fixed = [
        *("--workers", str(WORKERS), "--mini-batch-size", str(workload.mini_batch), "-q", "--python", str(python)),
        *("--output-format", workload.output_format, *workload.options),
        *(word for key, value in inputs.environment.items() for word in ("--env", f"{key}={value}")),
    ]
    begin = [executable, "run", str(inputs.script), str(inputs.folder)]
    return Contestant(name, lambda out: [*begin, "-o", str(out), *fixed], lambda _: {}, inputs.items, ours=True)


def theirs(peer: Peer, inputs: Prepared, *, python: Path) -> Contestant:
    workload = inputs.workload

    def environment(out: Path) -> Mapping[str, str]:
        task = Task(
            *(str(inputs.script), str(inputs.listing), str(out), workload.mini_batch, workload.writer),
            chunk=peer.chunk,
            limit=peer.limit,
            workers=WORKERS,
        )
        threads = dict.fromkeys(_THREADS, "1")
        return {**inputs.environment, **threads, "PYTHONPATH": str(ROOT), **task.environment}

    argv = [str(python), "-m", "tests.bench.peers", peer.driver]
    return Contestant(peer.name, lambda _: argv, environment, min(peer.limit or inputs.items, inputs.items))


def run_round(
    number: int,
    contestants: Sequence[Contestant],
    *,
    judge: Judge,
    work: Path,
    dice: random.Random,
    told: Callable[[Found], None],
) -> list[Found]:
    """Each contestant once; `told` hears of every lap. FailedError, WrongRowsError."""
    inputs, out, found = judge.inputs, work / "out", list[Found]()
    for one in dice.sample(contestants, len(contestants)):
        shutil.rmtree(out, ignore_errors=True)
        if not one.ours:
            out.mkdir()
        # Without its byte code a batchctl that runs from source compiles itself at every start, as no user's does.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment = {**inherited, **one.environment(out)}
        done = lap(one.argv(out), log=work / "log", env=environment, limit_s=LIMIT_S, tree=True)
        if done.code != 0:
            raise FailedError(f"{one.name} exited {done.code}: {done.said}")
        digest = judge.check(out, items=one.items, header=one.ours and inputs.workload.output_format == "csv")
        serial = one.name == SERIAL.name
        made = Found(
            *(inputs.workload.name, number, one.name),
            wall_s=round(done.wall_s, 3),
            cpu_s=round(done.cpu_s, 2),
            tree_mb=round(done.tree_mb),
            others=round(done.others, 2),
            items=one.items,
            digest=digest[:16],
            work_s=round(json.loads(done.said.splitlines()[-1])["work_s"], 3) if serial else 0.0,
            spread=round(_spread(out, inputs), 3) if one.ours and inputs.workload.name == "w3" else 0.0,
        )
        found.append(made)
        told(made)
    return found


def _spread(out: Path, inputs: Prepared) -> float:
    sizes = [Path(path).stat().st_size for path in inputs.listing.read_text(encoding="utf-8").splitlines()]
    durations = recorded(out)
    order = largest_first(range(len(sizes) + 1), sizes)
    found = simulate([durations[number] for number in sorted(durations)], order, workers=SIMULATED)
    return found.seconds / found.bound
