"""When the foreman looks."""

from __future__ import annotations

from typing import Any

import pytest

from batchctl.run.foreman import Foreman

SLOT = 0


class Stage:
    """Everything around a foreman; growth wants a look a second. `looks`: when there was one."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks: list[float] = []
        self.foreman = Foreman(crew=self, growth=self, meter=self, roll=self, teller=self, clock=lambda: self.now)  # type: ignore[arg-type]

    def begin(self, **_: Any) -> list[Any]:
        return []

    def ready(self, slot: int, *, now: float) -> None: ...

    def scored(self, slot: int, **_: Any) -> None: ...

    def workers(self) -> list[Any]:
        return []

    def take(self, reading: Any) -> None: ...

    def read(self, workers: Any) -> None:
        self.looks.append(self.now)

    def look(self, reading: Any, **_: Any) -> list[Any]:
        return []

    def look_in(self, *, now: float) -> float:
        return 1.0


@pytest.mark.parametrize(
    ("steps", "looks"),
    [
        pytest.param(["look"], [0.5, 1.5], id="a look a second"),
        pytest.param(["ready", "scored"], [0.5, 0.75], id="at once after a worker's first mini-batch"),
        pytest.param(["ready", "scored", "look", "scored"], [0.5, 0.75], id="not after its second"),
        pytest.param(["scored"], [0.5, 1.5], id="not after one of a worker that is long known"),
        pytest.param(["ready", "rest", "scored"], [0.5], id="not when the run winds down"),
    ],
)
def test_when_it_looks(steps: list[str], looks: list[float]) -> None:
    stage = Stage()
    foreman = stage.foreman
    foreman.start(waiting=1)
    stage.now = 0.5
    foreman.look(waiting=1)
    stage.now = 0.75
    for step in steps:
        match step:
            case "ready":
                foreman.ready(SLOT)
            case "scored":
                foreman.scored(SLOT, run_ns=1, items=1)
            case "rest":
                foreman.rest()
            case _:
                foreman.look(waiting=1)
    foreman.look(waiting=1)
    stage.now = 1.5
    foreman.look(waiting=1)
    assert stage.looks == looks
