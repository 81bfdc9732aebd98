"""What a run's attempts came to: counted while it goes on, and from the log of one that went before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from batchctl.model.outcome import FailureKind
from batchctl.model.records import Charged, Commits, Quarantined, Record, Reopened, rows_of
from batchctl.report.failures import FailureGroups


class Tally:
    """Attempts by how they ended, their failures by cause, and rows; of all epochs once the log was replayed.

    `name_of` is how people know an item by its index.
    """

    def __init__(self, name_of: Callable[[int], str]) -> None:
        self.attempts = 0
        self.rows = 0
        self.by_kind = dict.fromkeys(FailureKind, 0)
        self.failures = FailureGroups(name_of)
        self._void: Counter[tuple[int, int]] = Counter()

    def expect(self, records: Iterable[Record]) -> None:
        """Before the replay of a log with retries: what they reopened is not given up any more."""
        for record in records:
            if isinstance(record, Reopened):
                self._void.update((one.first, one.count) for one in record.ranges if not one.ok + one.failed)

    def replay(self, record: Record) -> None:
        """A record of the log."""
        if isinstance(record, Commits):
            self.attempts += len(record.records)
            self.rows += sum(map(rows_of, record.records))
        elif isinstance(record, Charged):
            self.attempts += 1
            self.by_kind[record.failure.kind] += 1
            self.failures.charged(record)
        elif isinstance(record, Reopened):
            self.rows -= sum(one.n_rows for one in record.ranges)
            self.failures.reopened()
        elif isinstance(record, Quarantined) and self._void[record.lease.first, record.lease.count]:
            self._void[record.lease.first, record.lease.count] -= 1
        elif isinstance(record, Quarantined):
            self.failures.quarantined(record)
