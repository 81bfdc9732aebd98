"""What a run's attempts came to: counted while it goes on, and from the log of one that went before."""

from __future__ import annotations

from collections.abc import Callable

from batchctl.model.outcome import FailureKind
from batchctl.model.records import Charged, Committed, Quarantined, Record
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

    def replay(self, record: Record) -> None:
        """A record of the log."""
        if isinstance(record, Committed):
            self.attempts += 1
            self.rows += record.n_rows
        elif isinstance(record, Charged):
            self.attempts += 1
            self.by_kind[record.failure.kind] += 1
            self.failures.charged(record)
        elif isinstance(record, Quarantined):
            self.failures.quarantined(record)
