"""How large a crew is said to be, and why it is no larger."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from batchctl.model.node import Footprint, Sizing, Slot
from batchctl.node.room import Room
from batchctl.node.standing import Standing, Why

GIB = 1 << 30
SHORT = Room(3 * GIB, Footprint(2 * GIB), 1, GIB, 1).words()


class Case(NamedTuple):
    places: int
    bound: str
    ended: str  # what was found when one more was thought of; "" before that
    now: str  # with one worker
    held_back: str  # with one worker at most
    scarce: bool = False


# name: what is found -> what is said
CASES = {
    "all cpus are taken": Case(1, "cpus 1 / 1 each", Why.ALL_OPEN, "1 of 1 place: cpus 1 / 1 each", ""),
    "nothing was looked at": Case(2, "cpus 2 / 1 each", "", f"1 of 2 places: {Why.NONE_FINISHED}", ""),
    "memory": Case(2, "cpus 2 / 1 each", SHORT, f"1 of 2 places: {SHORT}", SHORT),
    "throughput": Case(2, "cpus 2 / 1 each", Why.IN_VAIN, f"1 of 2 places: {Why.IN_VAIN}", Why.IN_VAIN),
    "a GPU": Case(2, "GPUs 1, 2 each", Why.NO_GPU, f"1 of 2 places: {Why.NO_GPU}", Why.NO_GPU),
    "no work": Case(2, "cpus 2 / 1 each", Why.NO_WORK, f"1 of 2 places: {Why.NO_WORK}", ""),
    "no time": Case(2, "cpus 2 / 1 each", Why.UNPROVEN, f"1 of 2 places: {Why.UNPROVEN}", ""),
    "remembered": Case(
        1, "memory 3.0 GiB / 2.0 GiB each", "", "1 of 1 place: memory 3.0 GiB / 2.0 GiB each",
        "memory 3.0 GiB / 2.0 GiB each", scarce=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_said(case: str) -> None:
    places, bound, ended, now, held_back, scarce = CASES[case]
    slots = tuple(Slot(index, (), 1) for index in range(places))
    standing = Standing(Sizing(slots, (), bound=bound, scarce=scarce))
    standing.ended = ended
    assert (standing.now(1), standing.held_back(1)) == (now, held_back)


def test_that_a_number_was_asked_for_is_not_said_twice() -> None:
    standing = Standing(Sizing((Slot(0, (), 1),), ("1 worker: as asked",), bound="as asked"))
    standing.full(1, auto=False)
    assert standing.reason(measured=False) == ()
    standing.room = Room(3 * GIB, Footprint(2 * GIB), 1, GIB, 1)
    assert standing.reason(measured=True) == ("1 worker: as asked; 2.0 GiB each (measured, peak of 1 worker)",)
