"""When the foreman looks, and what he says of the crew."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchctl.model.events import WorkerGone
from batchctl.model.node import Reading, WorkerMemory
from tests.unit.run.stage import GIB, Stage


def begun(folder: Path) -> Stage:
    """Two workers that are ready, looked at once 0.1 s after the start; the next look is a second off."""
    stage = Stage(folder)
    foreman, clock = stage.foreman, stage.clock
    foreman.start(waiting=6)
    for slot in (0, 1):
        foreman.ready(slot)
    clock.now += foreman.due_in(clock.now)
    foreman.look(waiting=4, shareable=4)
    assert foreman.due_in(clock.now) == pytest.approx(1.0)
    return stage


def test_a_worker_that_has_finished_its_first_mini_batch_is_looked_at_at_once(tmp_path: Path) -> None:
    stage = begun(tmp_path)
    foreman, clock = stage.foreman, stage.clock
    clock.now += 0.03
    foreman.scored(0, run_ns=1, items=1)
    assert foreman.due_in(clock.now) == pytest.approx(0.07)  # 0.1 s after the last look
    clock.now += 0.1
    foreman.look(waiting=3, shareable=3)
    assert foreman.due_in(clock.now) == pytest.approx(1.0)
    foreman.scored(0, run_ns=1, items=1)  # its second is nothing new
    assert foreman.due_in(clock.now) == pytest.approx(1.0)
    stage.close()


def test_a_worker_that_starts_anew_is_looked_at_soon(tmp_path: Path) -> None:
    stage = begun(tmp_path)
    foreman, clock = stage.foreman, stage.clock
    foreman.gone(WorkerGone(1, 2, False, "exited with code 3"))
    assert foreman.due_in(clock.now) == pytest.approx(0.1)
    stage.close()


def test_nothing_brings_a_look_forward_once_the_run_winds_down(tmp_path: Path) -> None:
    stage = begun(tmp_path)
    stage.foreman.rest()
    stage.foreman.scored(0, run_ns=1, items=1)
    assert stage.foreman.due_in(stage.clock.now) == float("inf")
    stage.close()


def test_a_number_that_was_asked_for_and_does_not_fit_is_warned_of(tmp_path: Path) -> None:
    stage = begun(tmp_path)
    foreman, clock = stage.foreman, stage.clock
    assert foreman.warnings() == ()
    foreman.scored(0, run_ns=1, items=1)
    clock.now += foreman.due_in(clock.now)
    stage.meter.readings.append(Reading(3 * GIB, workers=(WorkerMemory(0, 1, GIB, 4 * GIB),)))
    foreman.look(waiting=3, shareable=3)
    assert foreman.warnings() == (
        "2 workers do not fit: 3.0 GiB of memory are free for them, 4.0 GiB each (measured, peak of 1 worker)",
    )
    assert foreman.held_back() == ""  # both are there, as asked
    assert stage.roll.sizing.startswith("2 of 2 places")
    stage.close()
