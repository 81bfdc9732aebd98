from __future__ import annotations

from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind
from batchctl.model.records import Charged, Committed, Quarantined, Record, Reopened, Reopening
from batchctl.run.tally import Tally

NO = Failure(FailureKind.FAILED, "ValueError", "no", "Traceback")


def told(records: list[Record]) -> Tally:
    tally = Tally(lambda item: f"item {item}")
    tally.expect(records)
    for record in records:
        tally.replay(record)
    return tally


def test_what_was_reopened_is_not_given_up_and_its_rows_do_not_count() -> None:
    first: list[Record] = [
        Charged(Lease(0, 1, 1, 1), NO),
        Quarantined(Lease(0, 1, 1, 1), NO),
        Charged(Lease(1, 5, 1, 1), NO),
        Quarantined(Lease(1, 5, 1, 1), NO),
        Committed(2, 8, 4, 1, 0, 9, 0, 3, 3, 1),
    ]
    assert [(group.items, group.example_path) for group in told(first).failures.groups()] == [(2, "item 1")]
    reopened = Reopened(1, (Reopening(0, 1, 1, 0, 0, 0), Reopening(1, 5, 1, 0, 0, 0), Reopening(2, 8, 4, 3, 3, 1)))
    again = told([*first, reopened])
    assert (again.rows, again.attempts) == (0, 3)
    assert [group.items for group in again.failures.groups()] == [0]
    failed_again: list[Record] = [Charged(Lease(1, 5, 1, 1), NO), Quarantined(Lease(1, 5, 1, 1), NO)]
    last = told([*first, reopened, *failed_again, Committed(0, 1, 1, 1, 9, 3, 0, 1, 1, 0)])
    assert (last.rows, last.attempts, last.by_kind[FailureKind.FAILED]) == (1, 5, 3)
    assert [(group.items, group.attempts, group.example_path) for group in last.failures.groups()] == [(1, 3, "item 5")]
