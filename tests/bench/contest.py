"""Contestants on a workload, in interleaved rounds: which there are, their commands, their laps.

Every round runs each contestant once, in shuffled order, so that a slow minute of the machine hits all alike; ratios
are taken within a round. Every output is checked before the next lap begins.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.outputs import Judge
from tests.bench.peers.task import Task
from tests.bench.stopwatch import lap
from tests.bench.workloads import Prepared

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2
LIMIT_S = 300.0
# One thread in each worker: two workers on two cores are slower with more (by half, W5).
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Peer:
    """`chunk` mini-batches in a task of the peer's, only `limit` files where all of them would take too long."""

    driver: str
    chunk: int = 1
    limit: int = 0

    @property
    def name(self) -> str:
        return f"{self.driver} c{self.chunk}" if self.driver in ("pool", "futures") else self.driver


SERIAL = Peer("serial")
PEERS: dict[str, tuple[Peer, ...]] = {
    "start": (SERIAL, Peer("pool")),
    "w1": (SERIAL, Peer("pool"), Peer("pool", 64), Peer("futures", 64), Peer("joblib", 2)),
    "w1-single": (SERIAL, Peer("pool"), Peer("pool", 64)),
    "w2": (SERIAL, Peer("pool"), Peer("pool", 16), Peer("futures", 16), Peer("joblib", 2)),
    "w3": (SERIAL, Peer("pool"), Peer("futures"), Peer("joblib")),
    "w4": (SERIAL, Peer("pool"), Peer("futures"), Peer("joblib")),
    "w4-azure": (SERIAL, Peer("pool")),
    "w4-parquet": (SERIAL, Peer("pool")),
    "w5": (SERIAL, Peer("pool"), Peer("futures"), Peer("joblib")),
}


@dataclass(frozen=True, slots=True)
class Found:
    """One lap. `work_s`: the serial loop's work, without start and init(). `items`: how many files it was given.
    `digest`: of the predictions file."""

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


def laps(
    inputs: Prepared, contestants: Sequence[Contestant], *, rounds: range, work: Path, dice: random.Random
) -> Iterator[Found]:
    """One after the other; FailedError, WrongRowsError."""
    judge, out = Judge(inputs), work / "out"
    for number in rounds:
        for one in dice.sample(contestants, len(contestants)):
            shutil.rmtree(out, ignore_errors=True)
            if not one.ours:
                out.mkdir()
            log = work / "log"
            found = lap(one.argv(out), log=log, env={**os.environ, **one.environment(out)}, limit_s=LIMIT_S, tree=True)
            if found.code != 0:
                raise FailedError(f"{one.name} exited {found.code}: {found.said}")
            digest = judge.check(out, items=one.items, header=one.ours and inputs.workload.output_format == "csv")
            work_s = json.loads(found.said.splitlines()[-1])["work_s"] if one.name == SERIAL.name else 0.0
            yield Found(
                *(inputs.workload.name, number, one.name),
                wall_s=round(found.wall_s, 3),
                cpu_s=round(found.cpu_s, 2),
                tree_mb=round(found.tree_mb),
                others=round(found.others, 2),
                items=one.items,
                digest=digest[:16],
                work_s=round(work_s, 3),
            )
    shutil.rmtree(out, ignore_errors=True)
