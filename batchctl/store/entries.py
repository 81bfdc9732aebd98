"""What lies in a run directory is what we put there, or the run is refused before any of it is opened.

A run directory that came from elsewhere (an archive, a copied folder) may hold anything under our names: a link to a
file or folder of the user's, a pipe that never answers, a second name (hard link) of a file that we would append to.
Nobody else can change it afterwards: it is ours and closed to others (`state_directory.check_directory`).
"""

from __future__ import annotations

import os
import stat as stat_bits
from pathlib import Path

from batchctl.errors import UsageError
from batchctl.files import Disk, FileKind
from batchctl.store.layout import RunLayout


def check_entries(disk: Disk, layout: RunLayout) -> None:
    """Refuse a run directory in which a name of ours is not what it should be. Names that are not there are fine."""
    for path in (layout.lock, layout.state_lock, layout.log, layout.attempts):
        check_written(disk, path)
    documents = (layout.pointer, layout.job, layout.status, layout.summary, layout.learned, layout.leaving)
    for path in (*documents, layout.plan, layout.guest, layout.quarantine):  # replaced as a whole: may have other names
        found = disk.stat(path)
        if found is not None and found.kind is not FileKind.FILE:
            raise _refused(path, f"is a {found.kind}, not a file")
    for path in (layout.stage, layout.spill, layout.parts, layout.logs, layout.model, layout.mlruns):
        found = disk.stat(path)
        if found is not None and found.kind is not FileKind.DIRECTORY:
            raise _refused(path, f"is a {found.kind}, not a folder")


def check_written(disk: Disk, path: Path) -> None:
    """Refuse a file that is about to be changed in place unless it is ours alone: a regular file with one name."""
    found = disk.stat(path)
    if found is None:
        return
    if found.kind is not FileKind.FILE:
        raise _refused(path, f"is a {found.kind}, not a file")
    if found.uid != os.geteuid():
        raise _refused(path, f"belongs to user {found.uid}, not to {os.geteuid()}")
    if found.links > 1:
        raise _refused(
            path,
            f"has {found.links} names (hard links), and to write to one changes the file behind them all",
            remedy=f"if it is yours, make it a file of its own: cp {path.name} copy && mv copy {path.name}",
        )


def exposed(disk: Disk, out: Path) -> tuple[str, ...]:
    """A warning where other users may rename and replace what is in OUT, the run directory included."""
    found = disk.stat(out.resolve())  # OUT may be a link to a folder
    if found is None or not found.mode & stat_bits.S_IWOTH or found.mode & stat_bits.S_ISVTX:
        return ()
    return (f"{out} is open to all users (mode {found.mode:o}): they can replace results and the run; chmod o-w",)


def _refused(path: Path, problem: str, *, remedy: str = "") -> UsageError:
    remedy = remedy or "if you did not put it there, trust nothing in this folder: choose another output folder"
    return UsageError(f"{path} {problem}", where=str(path), remedy=remedy)
