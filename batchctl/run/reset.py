"""Starting over: what `--fresh` deletes, and what a run that never came to be leaves behind."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from batchctl.errors import CorruptionError
from batchctl.files import Disk
from batchctl.store.documents import write_document
from batchctl.store.inspection import inspect_log
from batchctl.store.layout import RunLayout
from batchctl.store.publish import digest_of
from batchctl.store.state_directory import forget_created, is_own

# Held; the way to the rest, which is written anew before it; in use by the fork server that is already up; true of
# script and model, whatever becomes of the run.
_KEPT = ("lock", "state.json", "guest.pyz", "learned.json")
_LAST = ("checkpoint.log", "leaving.json", "job.json")  # deleted last, one after the other


def start_over(disk: Disk, layout: RunLayout, *, run_id: str) -> None:
    """Delete the run in OUT: its result, the files its script published, its run directory; the caller holds the lock.

    First leaving.json says so, or what is left after a crash would pass for a run that is whole. The log, which names
    what was published, goes after that, and job.json last: the same command finds the rest.
    """
    published = _published(disk, layout, run_id=run_id)  # refuses a log of a later format, before anything is changed
    write_document(disk, layout.leaving, document={"run_id": run_id})
    if layout.state is not None:
        forget_created(disk, layout)
    folders = {layout.out}
    for name, sha256 in published:
        if _is_ours(disk, layout, name, sha256=sha256):
            disk.remove(layout.out / name)
            folders.add((layout.out / name).parent)
    if layout.rows:
        for path in (layout.final, layout.partial, layout.sorting):
            disk.remove(path)
    for folder in sorted(folders):
        disk.sync_dir(folder)
    for folder in layout.folders:
        for name in disk.listdir(folder):
            # A state directory is a folder that the user named: what others have put there since is theirs.
            if name not in (*_KEPT, *_LAST) and (folder != layout.state or is_own(name)):
                disk.remove_tree(folder / name)
        disk.sync_dir(folder)
    for name in _LAST:
        disk.remove(layout.directory / name)
        disk.sync_dir(layout.directory)


def _published(disk: Disk, layout: RunLayout, *, run_id: str) -> list[tuple[str, str]]:
    """The script's files that the log names, with their digests. A damaged log names those before the damage."""
    found: list[tuple[str, str]] = []
    if disk.stat(layout.log) is None:
        return found
    with contextlib.suppress(CorruptionError):
        for record in inspect_log(disk, layout, run_id=run_id):
            if record["type"] in {"PUBLISH", "ASSEMBLED"}:
                found.extend((file["path"], file["sha256"]) for file in record["files"])
    return found


def _is_ours(disk: Disk, layout: RunLayout, name: str, *, sha256: str) -> bool:
    """Is it still the file that was published, and reached without a link? Anything else is somebody's by now, and
    stays: a new run that writes that name is told so."""
    path = layout.out / name
    below = [parent for parent in path.parents if parent.is_relative_to(layout.out) and parent != layout.out]
    if any(parent.is_symlink() for parent in below) or path.is_symlink() or not path.is_file():
        return False
    return digest_of(disk, path)[1].hex() == sha256


def remove_unborn(disk: Disk, layout: RunLayout, *, made: Sequence[Path]) -> None:
    """Remove what a run that was refused before it existed has made: its run directory, what it has put into its state
    directory, and those folders that are new (`made`) and hold nothing else."""
    if disk.stat(layout.job) is not None or disk.stat(layout.log) is not None:
        return
    if layout.state is None and disk.stat(layout.pointer) is not None:
        return
    if layout.state is not None:
        for name in filter(is_own, disk.listdir(layout.state)):
            if name != layout.state_lock.name:
                disk.remove_tree(layout.state / name)
    for name in disk.listdir(layout.home):
        if name != layout.lock.name:
            disk.remove_tree(layout.home / name)
    # Locks go last: while they have their names nobody else gets in; who comes now makes his own, and the rest stays.
    disk.remove(layout.state_lock)
    disk.remove(layout.lock)
    for folder in (layout.home, *made):
        with contextlib.suppress(OSError):  # somebody put something there meanwhile
            folder.rmdir()
