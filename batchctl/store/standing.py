"""What a log says is given up on, and where `run()` returned too little, as it stands after all retries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from batchctl.model.records import Committed, Quarantined, Reopened
from batchctl.store.frames import FrameType
from batchctl.store.replay import LogRecords


def quarantined(records: LogRecords) -> Iterator[Quarantined]:
    """The quarantines that stand, in the order in which they were decided."""
    void = _reopened(records, quarantined=True)
    for record in records.only(FrameType.QUARANTINE):
        if isinstance(record, Quarantined) and not _is_void(void, record.lease.first, record.lease.count):
            yield record


def committed(records: LogRecords) -> Iterator[Committed]:
    """The commits that stand, in the order in which they were made."""
    void = _reopened(records, quarantined=False)
    for record in records.only(FrameType.COMMIT):
        if isinstance(record, Committed) and not _is_void(void, record.first, record.count):
            yield record


def short(records: LogRecords) -> Iterator[Committed]:
    """Those of them that lack elements."""
    return (record for record in committed(records) if record.failed)


def _reopened(records: LogRecords, *, quarantined: bool) -> Counter[tuple[int, int]]:
    """How often each range was taken back. A range is concluded and reopened by turns: so often, its first conclusions
    no longer count."""
    void: Counter[tuple[int, int]] = Counter()
    for record in records.only(FrameType.REOPEN):
        if isinstance(record, Reopened):
            void.update((one.first, one.count) for one in record.ranges if (one.ok + one.failed == 0) is quarantined)
    return void


def _is_void(void: Counter[tuple[int, int]], first: int, count: int) -> bool:
    if not void or not void[first, count]:
        return False
    void[first, count] -= 1
    return True
