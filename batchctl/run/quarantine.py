"""quarantine.jsonl, made anew from what is committed."""

from __future__ import annotations

from batchctl.files import Disk
from batchctl.plan.read import Plan
from batchctl.report.quarantine import write_quarantine
from batchctl.run.ready import Ready
from batchctl.store.replay import read_records
from batchctl.store.standing import quarantined


def tell_quarantine(ready: Ready, plan: Plan, *, disk: Disk, items: int) -> None:
    """Write it, or remove it where no item is given up (`items`). Raises StorageError."""
    layout = ready.layout
    if not items:
        disk.remove(layout.quarantine)
        return
    records = read_records(disk, layout, run_id=ready.run_id)
    write_quarantine(layout.quarantine, quarantined(records), plan.machine_name)
