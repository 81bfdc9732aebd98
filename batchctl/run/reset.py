"""Starting over: what `--fresh` deletes, and what a run that never came to be leaves behind."""

from __future__ import annotations

import contextlib

from batchctl.errors import CorruptionError
from batchctl.files import Disk
from batchctl.store.inspection import inspect_log
from batchctl.store.layout import RunLayout

_KEPT = ("lock", "guest.pyz")  # held, and in use by the fork server that is already up


def start_over(disk: Disk, layout: RunLayout, *, run_id: str) -> None:
    """Delete the run in OUT: its result, the files its script published, its run directory; the caller holds the lock.

    job.json goes first and durably: after a crash in the middle the run is half-created, never half-deleted.
    """
    published = _published(disk, layout, run_id=run_id)
    disk.remove(layout.log)
    disk.remove(layout.job)
    disk.sync_dir(layout.directory)
    if layout.rows:
        for path in (layout.final, layout.partial, layout.sorting):
            disk.remove(path)
    for name in published:
        disk.remove(layout.out / name)
    for name in disk.listdir(layout.directory):
        if name not in _KEPT:
            disk.remove_tree(layout.directory / name)
    disk.sync_dir(layout.out)


def _published(disk: Disk, layout: RunLayout, *, run_id: str) -> list[str]:
    """The script's files that the log names. A damaged log names those before the damage: the rest stays in OUT, where
    it will be refused by name if the new run writes it too."""
    found: list[str] = []
    if disk.stat(layout.log) is None:
        return found
    with contextlib.suppress(CorruptionError):
        for record in inspect_log(disk, layout, run_id=run_id):
            if record["type"] == "PUBLISH":
                found.extend(file["path"] for file in record["files"])
    return found


def remove_unborn(disk: Disk, layout: RunLayout) -> None:
    """Remove the run directory, and OUT where nothing else is in it, of a run that was refused before it existed."""
    if disk.stat(layout.job) is not None:
        return
    disk.remove_tree(layout.directory)
    with contextlib.suppress(OSError):
        layout.out.rmdir()
