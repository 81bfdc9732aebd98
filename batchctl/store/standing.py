"""What a log says is given up on, and where `run()` returned too little."""

from __future__ import annotations

from collections.abc import Iterator

from batchctl.model.records import Committed, Quarantined
from batchctl.store.frames import FrameType
from batchctl.store.replay import LogRecords


def quarantined(records: LogRecords) -> Iterator[Quarantined]:
    """The quarantines that stand, in the order in which they were decided."""
    for record in records.only(FrameType.QUARANTINE):
        if isinstance(record, Quarantined):
            yield record


def short(records: LogRecords) -> Iterator[Committed]:
    """The commits that stand and lack elements, in the order in which they were made."""
    for record in records.only(FrameType.COMMIT):
        if isinstance(record, Committed) and record.failed:
            yield record
