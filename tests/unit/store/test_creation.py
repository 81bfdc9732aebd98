"""Power cuts while a run is created, and again while it is created anew: plan and job.json are of one creation, or no
run is there."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchctl.errors import CorruptionError
from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored
from batchctl.store import creation
from batchctl.store.commit import Group
from batchctl.store.creation import RunState, create_run, run_state
from batchctl.store.documents import read_document
from batchctl.store.layout import RunLayout
from batchctl.store.recover import Recovered, recover
from batchctl.store.state_directory import forget_created, settle
from batchctl.store.verify import verify
from tests.doubles.disk import DIR, Image, MemoryDisk, Piece
from tests.doubles.power_cut import survive

LAYOUT = RunLayout(Path("/data/out"), "p.csv")
ELSEWHERE = RunLayout(Path("/data/out"), "p.csv", state=Path("/data/state"))
BOUNDS = (0, 1)
DICE = 12  # power cuts at each change


def empty() -> Image:
    disk = MemoryDisk()
    disk.names["/data"] = disk.durable_names["/data"] = DIR
    return disk.image()


def create(disk: MemoryDisk, number: int, layout: RunLayout) -> None:
    create_run(disk, layout, job_document={"run_id": str(number)}, plan_chunks=[b"%d" % number])


def cut_off(image: Image, number: int, layout: RunLayout, *, seed: int) -> Iterator[Image]:
    """What power cuts leave of a creation that begins there, and kills: before each change, and at its end."""
    disk = MemoryDisk(image)
    moments: list[Image] = []

    def note(disk: MemoryDisk, operation: str, ino: int, piece: Piece | None) -> None:
        moments.append(disk.image())

    disk.hook = note
    create(disk, number, layout)
    dice = random.Random(seed)
    for moment in (*moments, disk.image()):
        yield moment
        for _ in range(DICE):
            yield survive(moment, choose=dice)


def begun(image: Image, layout: RunLayout) -> tuple[str, bytes] | None:
    """The run id and the plan that stand side by side there, as the next command finds them; None where there is no
    run. Whatever it refuses is raised."""
    disk = MemoryDisk(image)
    assert settle(disk, layout) == layout
    if run_state(disk, layout) is not RunState.STARTED:
        return None
    return str(read_document(disk, layout.job)["run_id"]), disk.read(layout.plan)


def settled(image: Image, layout: RunLayout) -> Image:
    disk = MemoryDisk(image)
    settle(disk, layout)
    return disk.image()


def mixtures(layout: RunLayout) -> set[tuple[str, bytes]]:
    """What stands side by side after two creations that were cut off."""
    found = set()
    for at, first in enumerate(cut_off(empty(), 1, layout, seed=1)):
        if begun(first, layout) is None:
            for second in cut_off(settled(first, layout), 2, layout, seed=at):
                found.add(begun(second, layout))
    return {one for one in found if one is not None}


@pytest.mark.parametrize("layout", [LAYOUT, ELSEWHERE], ids=["in OUT", "elsewhere"])
def test_plan_and_request_are_of_one_creation(layout: RunLayout) -> None:
    assert mixtures(layout) == {("2", b"2")}


def test_what_a_creation_before_left_would_be_mixed_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any) -> None:
        """Leave it."""

    monkeypatch.setattr(creation, "_remove_stale", nothing)
    assert mixtures(LAYOUT) > {("2", b"2")}


@pytest.mark.parametrize("layout", [LAYOUT, ELSEWHERE], ids=["in OUT", "elsewhere"])
def test_a_deletion_that_was_cut_off_before_its_last_name(layout: RunLayout) -> None:
    """job.json alone is left of a run; OUT says still that there is one, or not any more."""
    for forgotten in (False, True):
        disk = MemoryDisk(empty())
        create(disk, 1, layout)
        if forgotten:
            forget_created(disk, layout)
        disk.remove(layout.plan)
        disk.sync_dir(layout.directory)
        assert begun(disk.image(), layout) is None
        left = {begun(image, layout) for image in cut_off(settled(disk.image(), layout), 2, layout, seed=3)}
        assert left == {None, ("2", b"2")}


@pytest.mark.parametrize("layout", [LAYOUT, ELSEWHERE], ids=["in OUT", "elsewhere"])
def test_a_creation_is_durable_when_it_returns(layout: RunLayout) -> None:
    disk = MemoryDisk(empty())
    create(disk, 1, layout)
    assert begun(survive(disk.image(), choose=random.Random(0), keep=0), layout) == ("1", b"1")


def test_of_a_first_start_the_name_of_the_rows_may_be_lost() -> None:
    """The name of the rows is synced together with the first EPOCH: a power cut may take one of them."""
    disk = MemoryDisk(empty())
    create(disk, 1, LAYOUT)
    begin(disk).committer.close(clean=False)
    disk.remove(LAYOUT.partial)
    assert verify(disk, LAYOUT, run_id="1", bounds=BOUNDS).problems == ()
    committer = begin(disk).committer
    assert committer.epoch == 2
    rows = b"row\n"
    committer.commit(Group(scored=[Scored(Lease(0, 0, 1, 1), rows, len(rows), zlib.crc32(rows), 1, 1, 0, 1)]))
    committer.close(clean=False)
    disk.remove(LAYOUT.partial)
    assert verify(disk, LAYOUT, run_id="1", bounds=BOUNDS).problems != ()
    with pytest.raises(CorruptionError):
        begin(disk)


def begin(disk: MemoryDisk) -> Recovered:
    return recover(disk, LAYOUT, run_id="1", bounds=BOUNDS, boot_id="b", version="0")
