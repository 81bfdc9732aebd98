"""Power cuts while a run is created, and again while it is created anew: plan and job.json are of one creation, or no
run is there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchctl.store import creation
from batchctl.store.creation import RunState, create_run, run_state
from batchctl.store.documents import read_document
from batchctl.store.layout import RunLayout
from tests.doubles.disk import DIR, Image, MemoryDisk, Piece
from tests.doubles.power_cut import survive

LAYOUT = RunLayout(Path("/data/out"), "p.csv")
DICE = 12  # power cuts at each change


def empty() -> Image:
    disk = MemoryDisk()
    disk.names["/data"] = disk.durable_names["/data"] = DIR
    return disk.image()


def create(disk: MemoryDisk, number: int) -> None:
    create_run(disk, LAYOUT, job_document={"run_id": str(number)}, plan_chunks=[b"%d" % number])


def cut_creations(image: Image, number: int, *, seed: int) -> Iterator[Image]:
    """What power cuts leave of a creation that begins there: before each change, and at its end."""
    disk = MemoryDisk(image)
    moments: list[Image] = []

    def note(disk: MemoryDisk, operation: str, ino: int, piece: Piece | None) -> None:
        moments.append(disk.image())

    disk.hook = note
    create(disk, number)
    dice = random.Random(seed)
    for moment in (*moments, disk.image()):
        for _ in range(DICE):
            yield survive(moment, choose=dice)


def mixtures() -> set[tuple[str, bytes]]:
    """Run ids and plans that stand side by side after two creations that were cut off."""
    found = set()
    for at, first in enumerate(cut_creations(empty(), 1, seed=1)):
        if run_state(MemoryDisk(first), LAYOUT) is RunState.STARTED:
            continue
        for second in cut_creations(first, 2, seed=at):
            disk = MemoryDisk(second)
            if run_state(disk, LAYOUT) is RunState.STARTED:
                found.add((str(read_document(disk, LAYOUT.job)["run_id"]), disk.read(LAYOUT.plan)))
    return found


def test_plan_and_request_are_of_one_creation() -> None:
    assert mixtures() == {("2", b"2")}


def test_what_a_creation_before_left_would_be_mixed_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any) -> None:
        """Leave it."""

    monkeypatch.setattr(creation, "_remove_stale", nothing)
    assert mixtures() > {("2", b"2")}


def test_a_creation_is_durable_when_it_returns() -> None:
    disk = MemoryDisk(empty())
    create(disk, 1)
    left = MemoryDisk(survive(disk.image(), choose=random.Random(0), keep=0))
    assert run_state(left, LAYOUT) is RunState.STARTED
    assert left.read(LAYOUT.plan) == b"1"
