from __future__ import annotations

import pytest

from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind
from batchctl.model.records import Charged, Quarantined
from batchctl.report.failures import MAX_CAUSES, FailureGroups, blanked


def failure(message: str, *, error: str = "ValueError", kind: FailureKind = FailureKind.FAILED) -> Failure:
    return Failure(kind=kind, error=error, message=message, traceback=f"Traceback of {message}")


def path_of(item: int) -> str:
    return f"in/{item}.png"


def test_one_cause_with_many_names_is_one_group_and_its_example_is_the_guilty_file() -> None:
    groups = FailureGroups(path_of)
    for first, count in ((0, 8), (0, 4), (4, 4), (4, 2), (6, 2), (5, 1)):
        groups.charged(Charged(Lease(0, first, count, 1), failure(f"cannot read '/data/{first}.png'")))
    groups.quarantined(Quarantined(Lease(0, 5, 1, 1), failure("cannot read '/data/5.png'")))
    (group,) = groups.groups()
    assert (group.items, group.attempts) == (1, 6)
    assert group.example_path == "in/5.png"
    assert group.message == "cannot read '/data/5.png'"
    assert group.example_traceback == "Traceback of cannot read '/data/5.png'"


def test_causes_that_cost_items_come_first() -> None:
    groups = FailureGroups(path_of)
    for _ in range(9):
        groups.charged(Charged(Lease(0, 0, 1, 1), failure("flaky")))
    groups.charged(Charged(Lease(1, 7, 1, 1), failure("out of time", kind=FailureKind.TIMED_OUT)))
    groups.quarantined(Quarantined(Lease(1, 7, 1, 1), failure("out of time", kind=FailureKind.TIMED_OUT)))
    assert [(group.kind, group.message) for group in groups.groups()] == [
        ("timed_out", "out of time"),
        ("failed", "flaky"),
    ]


def test_memory_is_bounded_whatever_the_script_raises() -> None:
    groups = FailureGroups(path_of)
    for number in range(MAX_CAUSES * 20):
        word = "".join(chr(97 + int(digit)) for digit in str(number))
        groups.charged(Charged(Lease(number, number, 1, 1), failure("x" * 10_000, error=f"Error{word}")))
    told = groups.groups()
    assert len(told) == MAX_CAUSES + 1
    assert sum(group.attempts for group in told) == MAX_CAUSES * 20
    assert told[0].error == "other causes"
    assert all(len(group.message) <= 500 for group in told)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("cannot open 'a.png'", "cannot open 'b.png'", True),
        ("index 3 is out of bounds", "index 17 is out of bounds", True),
        ("<PIL.Image at 0x7f01>", "<PIL.Image at 0x7f99>", True),
        ("no such file: /a/b.png", "no such file: /c d", False),  # a blank in a path is more than we can know
        ("bad header", "bad footer", False),
    ],
)
def test_what_varies_from_file_to_file_is_blanked(one: str, other: str, same: bool) -> None:
    assert (blanked(one) == blanked(other)) is same


def test_hostile_messages_cost_little() -> None:
    assert len(blanked("'" * 100_000)) <= 500
    assert len(blanked('"' + "a" * 100_000)) <= 500
