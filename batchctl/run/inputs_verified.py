"""`verify --inputs`: are the files that a run was planned of still what they were? Stats all of them, writes nothing.

Items that a retry has scored again are left out: what they were then is recorded nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from batchctl.files import Disk
from batchctl.named_tuple import NamedTuple
from batchctl.plan.read import ChangeKind, Plan
from batchctl.run.existing import Existing
from batchctl.run.retrying import reopened_items
from batchctl.store.frames import FrameType
from batchctl.store.replay import read_records, replay

_AT_ONCE = 4096  # items


class InputChange(NamedTuple):
    """One input that differs. `path` as JSON can hold it; `scored`: its rows are of what it was, or it was given up;
    else it is still to be scored."""

    path: str
    display: str
    kind: str
    detail: str
    scored: bool


class InputsVerified(NamedTuple):
    """What was found. Counts of items; `retried` ones were not looked at."""

    looked_at: int
    retried: int
    changes: tuple[InputChange, ...]

    @property
    def missing(self) -> int:
        return sum(change.kind == ChangeKind.MISSING for change in self.changes)


def verify_inputs(disk: Disk, existing: Existing, plan: Plan) -> InputsVerified:
    """Compare every input with the plan. CorruptionError where the log cannot be read."""
    layout, run_id = existing.layout, existing.document.run_id
    records = read_records(disk, layout, run_id=run_id)
    retried = reopened_items(records.only(FrameType.REOPEN))
    data = disk.read(layout.log) if disk.stat(layout.log) is not None else b""
    ledger = replay(memoryview(data), layout, run_id=run_id, bounds=plan.batch_firsts).ledger

    def is_open(item: int) -> bool:
        return any(first <= item < first + count for first, count in ledger.open_ranges(plan.batch_of(item)))

    changes = tuple(
        InputChange(plan.machine_name(item), plan.display(item), str(kind), detail, not is_open(item))
        for item, kind, detail in _changes(plan)
        if item not in retried
    )
    return InputsVerified(plan.items - len(retried), len(retried), changes)


def _changes(plan: Plan) -> Iterator[tuple[int, ChangeKind, str]]:
    for first in range(0, plan.items, _AT_ONCE):
        for change in plan.changed(first, min(_AT_ONCE, plan.items - first)):
            yield change.item, change.kind, change.detail
