from __future__ import annotations

import pytest

from batchctl.errors import UsageError
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind
from batchctl.model.records import Quarantined
from batchctl.report.quarantine import MAX_CAUSES, cause_id, grouped, is_cause, of_cause, traceback_hash

TRACE = 'Traceback (most recent call last):\n  File "a.py", line 3, in run\n    read()\nmod.BadImage: bad "a.png"\n'
FAILURE = Failure(FailureKind.TIMED_OUT, "mod.BadImage", 'bad "a.png"', TRACE)


def given_up(first: int, count: int = 1, failure: Failure = FAILURE) -> Quarantined:
    return Quarantined(Lease(first // 10, first, count, 2), failure)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        pytest.param({"message": 'bad "b.png"'}, True, id="another name"),
        pytest.param({"traceback": "", "phase": "render", "peak_memory": 5}, True, id="another place"),
        pytest.param({"message": "good"}, False, id="another message"),
        pytest.param({"error": "ValueError"}, False, id="another class"),
        pytest.param({"kind": FailureKind.FAILED}, False, id="another kind"),
    ],
)
def test_a_cause_is_kind_class_and_message_without_names(changes: dict[str, object], same: bool) -> None:
    assert (cause_id(FAILURE._replace(**changes)) == cause_id(FAILURE)) is same  # type: ignore[arg-type]


@pytest.mark.parametrize("wanted", [cause_id(FAILURE), "mod.BadImage", "BadImage", "timed_out", "timed-out"])
def test_a_cause_may_be_named_by_id_class_or_kind(wanted: str) -> None:
    assert is_cause(wanted, FAILURE)
    assert not is_cause(wanted, Failure(FailureKind.FAILED, "ValueError", ""))


def test_a_cause_that_is_not_there_is_an_error_that_names_those_that_are() -> None:
    with pytest.raises(UsageError) as caught:
        of_cause([given_up(1)], "lost")
    assert f"{cause_id(FAILURE)} (mod.BadImage)" in caught.value.remedy
    assert of_cause([], "") == []


def test_the_hash_of_a_traceback_is_of_its_places() -> None:
    other = FAILURE._replace(traceback=TRACE.replace("a.png", "b.png"))
    assert (
        traceback_hash(other)
        == traceback_hash(FAILURE)
        != traceback_hash(FAILURE._replace(traceback=TRACE.replace("line 3", "line 4")))
    )
    assert traceback_hash(FAILURE._replace(traceback="")) is None


def test_groups_count_items_show_the_narrowest_example_and_are_bounded() -> None:
    wide, narrow = given_up(0, 5), given_up(10)
    (group,) = grouped([wide, narrow])
    assert (group.items, group.example) == (6, narrow.lease)
    many = grouped(given_up(n, failure=FAILURE._replace(error=f"E{n}")) for n in range(MAX_CAUSES + 7))
    assert (len(many), many[0].cause, many[0].items) == (MAX_CAUSES + 1, "others", 7)
