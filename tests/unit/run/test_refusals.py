"""Names that cannot be published: which of them are worth looking for among the items of a mini-batch."""

from __future__ import annotations

import pytest

from batchctl.model.lease import Lease
from batchctl.run.refusals import Refusals
from batchctl.store.publish import FilesChangedError, FilesRefusedError

WHOLE, LEFT, RIGHT, QUARTER = Lease(0, 0, 8, 1), Lease(0, 0, 4, 2), Lease(0, 4, 4, 2), Lease(0, 0, 2, 3)
OTHER = Lease(1, 8, 8, 1)


@pytest.mark.parametrize(
    ("refused", "worth"),
    [
        ([(WHOLE, "a")], True),
        ([(WHOLE, "a"), (LEFT, "a"), (QUARTER, "a")], True),
        ([(WHOLE, "a"), (LEFT, "a"), (RIGHT, "a")], False),
        ([(LEFT, "a"), (RIGHT, "a"), (QUARTER, "a")], False),
        ([(LEFT, "a"), (RIGHT, "b")], True),
        ([(WHOLE, "a"), (OTHER, "a")], True),
    ],
    ids=["the first time", "one half only", "both halves", "a part of one of them", "two names", "another mini-batch"],
)
def test_a_name_of_two_disjoint_parts_is_no_items(refused: list[tuple[Lease, str]], worth: bool) -> None:
    refusals = Refusals()
    answers = [refusals.judge(FilesRefusedError("taken", lease=lease, path=path)) for lease, path in refused]
    failure, divide = answers[-1]
    assert divide is worth
    assert (failure.error, failure.is_final, failure.phase) == ("FilesRefused", True, "commit")


def test_what_changed_meanwhile_is_tried_again() -> None:
    refusals = Refusals()
    for lease in (LEFT, RIGHT):
        failure, divide = refusals.judge(FilesChangedError("changed", lease=lease, path="a"))
        assert (failure.error, failure.is_final, divide) == ("FilesChanged", False, True)
