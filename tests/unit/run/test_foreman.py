"""When the foreman looks, and what he tells the crew; with an engine that plays what it is told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from batchctl.dispatch.retry import RetryPolicy
from batchctl.errors import BatchctlError
from batchctl.model.events import InitFailed, LeaseFailed, WorkerGone
from batchctl.model.lease import Lease
from batchctl.model.node import Reading, WorkerMemory
from batchctl.model.outcome import Failure, FailureKind, Shortage
from batchctl.model.progress import WorkerView
from batchctl.run.conductor import Ending
from tests.unit.run.stage import GIB, Stage

MIB = 1 << 20
KILLED = Failure(FailureKind.LOST, "OutOfMemory", "out of memory", shortage=Shortage.MEMORY)
CUDA = Failure(FailureKind.FAILED, "RuntimeError", "CUDA out of memory", shortage=Shortage.GPU)


class Watch:
    """A meter that sees `worker` in place 0 and plenty beside it, and remembers when it looked."""

    def __init__(self, stage: Stage) -> None:
        self._clock = stage.clock
        self.looks: list[float] = []

    def read(self, workers: Iterable[WorkerView]) -> Reading:
        self.looks.append(round(self._clock.now - 1000.0, 2))
        return Reading(64 * GIB, workers=(WorkerMemory(0, 1, 100 * MIB, 100 * MIB),))

    def close(self) -> None:
        """Nothing to give back."""


def test_a_worker_is_measured_when_it_has_scored_its_first_mini_batch(tmp_path: Path) -> None:
    stage = Stage(tmp_path, slots=1, batches=3)
    watch = stage.foreman._meter = Watch(stage)
    engine = stage.engine
    engine.answers = lambda slot, lease: None
    engine.plot = [
        lambda: None,
        lambda: None,  # 0.1 s: the first look
        lambda: engine.finish(0),
        lambda: None,
        lambda: engine.finish(0),
        lambda: engine.finish(0),
    ]
    assert stage.run().ending is Ending.ALL_DONE
    assert watch.looks[0] == pytest.approx(0.1, abs=0.02)
    assert watch.looks[1] == pytest.approx(0.45, abs=0.25), "not a second after the first"
    assert stage.foreman.footprint is not None


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_init_that_is_refused_gpu_memory_for_ever_ends_the_run(slots: int, tmp_path: Path) -> None:
    stage = Stage(tmp_path, slots=slots)
    engine = stage.engine
    engine.inits = ["wait"] * slots

    def refuse() -> None:
        slot = min(engine.incarnations)
        engine.inits.append("wait")
        engine.say(InitFailed(slot, engine.incarnations[slot], CUDA))
        engine.die(slot)

    engine.plot = [refuse] * 20
    with pytest.raises(BatchctlError, match="CUDA out of memory"):
        stage.run()
    assert len(stage.did("start")) == slots


def test_a_worker_that_has_scored_before_proves_nothing_by_running_out_of_memory(tmp_path: Path) -> None:
    """Killed beside a neighbour, then under one that has grown: a fresh worker is asked before it is given up."""
    stage = Stage(tmp_path, slots=2, batches=8, policy=RetryPolicy(3, isolate=False))
    engine = stage.engine
    guilty, kills = 5, [0]

    def step() -> None:
        slot = next((slot for slot, hand in engine.hands.items() if any(one.batch == guilty for one in hand)), None)
        if slot is None:
            return
        if len(kills) > 2:
            engine.finish(slot)
            return
        kills.append(len(engine.incarnations))
        lease = next(one for one in engine.hands[slot] if one.batch == guilty)
        incarnation = engine.incarnations.pop(slot)
        del engine.hands[slot]
        engine.say(LeaseFailed(slot, incarnation, lease, KILLED, 5))
        engine.say(WorkerGone(slot, incarnation, False, "killed", Shortage.MEMORY))

    engine.answers = lambda slot, lease: None if lease.batch == guilty else engine.scored(slot, lease)
    engine.plot = [step] * 40
    assert stage.run().ending is Ending.ALL_DONE
    assert kills == [0, 2, 1]
    assert stage.queue.counts.quarantined == 0
    assert stage.queue.counts.ok == stage.queue.counts.items


def test_nobody_is_started_beside_what_is_to_run_alone(tmp_path: Path) -> None:
    stage = Stage(tmp_path, slots=3, batches=2, policy=RetryPolicy(3, isolate=False))
    engine = stage.engine
    stage.queue.suspects([0, 1])
    beside: list[int] = []

    def answer(slot: int, lease: Lease) -> LeaseFailed | None:
        beside.append(len(engine.incarnations))
        return None

    engine.answers = answer

    def finish() -> None:
        for slot in [slot for slot, hand in engine.hands.items() if hand]:
            engine.finish(slot)

    engine.plot = [*[lambda: None] * 40, finish, *[lambda: None] * 40, *[finish] * 20]
    assert stage.run().ending is Ending.ALL_DONE
    assert beside == [1, 1]
    assert sorted(set(stage.did("start"))) == [0, 1]  # two mini-batches wait at first: two workers
    assert len(stage.did("start")) == 2
