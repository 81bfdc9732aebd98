"""The run directory elsewhere: OUT/.batchctl/state.json names the folder, and only the run that it names counts there.

    OUT/.batchctl/  lock  state.json {"directory", "run_id", "created"}  stage/  parts/
    DIR/            lock  job.json {"run_id", ...}  plan  checkpoint.log  ...

state.json is durable before plan and job.json are written, and job.json makes the run: `created` is false before that
and true before anything is scored. So a folder without job.json is that of a half-created run, or one whose contents
are gone (a disk that is not mounted, a folder that a service manager has made anew), which must not begin anew. One OUT
for each DIR: a DIR in use, or with anything else in it, is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from batchctl.errors import CorruptionError, StorageError, UsageError
from batchctl.files import Disk, FileKind
from batchctl.named_tuple import NamedTuple
from batchctl.store.documents import read_document, write_document
from batchctl.store.entries import check_entries
from batchctl.store.layout import RunLayout

# All that a run leaves in its directory, each perhaps with a temporary file beside it.
_OWN = frozenset(
    (
        "job.json",
        "accepted.json",
        "plan",
        "checkpoint.log",
        "lock",
        "spill",
        "logs",
        "mlruns",
        "model",
        "guest.pyz",
        "status.json",
        "summary.json",
        "summary.md",
        "attempts.csv",
        "quarantine.jsonl",
        "leaving.json",
        "learned.json",
    )
)


class Pointer(NamedTuple):
    """What state.json says: where the state directory is, which run is in it, and whether that had been created."""

    directory: Path
    run_id: str
    created: bool


def read_pointer(disk: Disk, layout: RunLayout) -> Pointer | None:
    """What OUT says; None where it has no state directory. CorruptionError for a damaged one, ResumeRefusedError for
    another format, UsageError where another user could have planted it."""
    if disk.stat(layout.home) is None or disk.stat(layout.pointer) is None:
        return None
    _check_folder(disk, layout.home, remedy="if it is yours: chmod 700; else choose another output folder")
    found = read_document(disk, layout.pointer)
    directory, run_id = found.get("directory"), found.get("run_id")
    if not isinstance(directory, str) or not isinstance(run_id, str) or not Path(directory).is_absolute():
        raise CorruptionError(f"{layout.pointer} names no folder and run", where=str(layout.pointer))
    return Pointer(Path(directory), run_id, found.get("created") is True)


def write_pointer(disk: Disk, layout: RunLayout, *, run_id: str, created: bool) -> None:
    """Durable on return; a crash leaves the old one or this. `created`: job.json is there, durably."""
    document = {"directory": str(layout.directory), "run_id": run_id, "created": created}
    write_document(disk, layout.pointer, document=document)


def forget_created(disk: Disk, layout: RunLayout) -> None:
    """For who is about to delete job.json: what is left after a crash is half-created. Durable on return."""
    pointer = read_pointer(disk, layout)
    if pointer is not None and pointer.created:
        write_pointer(disk, layout, run_id=pointer.run_id, created=False)


def find(disk: Disk, layout: RunLayout) -> RunLayout:
    """The layout as it is: with the state directory that OUT names, or that `layout` asks for where OUT holds no run
    yet, or where the run was moved there. Writes nothing.

    UsageError where the one asked for is not OUT's, or not free; CorruptionError where OUT's is gone or was emptied.
    """
    asked = layout.state
    pointer = read_pointer(disk, layout)
    if pointer is None:
        bare = layout.at(None)
        if asked is not None:
            if disk.stat(bare.job) is not None or disk.stat(bare.log) is not None:
                raise _elsewhere(layout, bare.directory)
            _check_vacant(disk, layout)
        return layout
    found = layout.at(pointer.directory)
    if asked is None or asked == pointer.directory:
        _check_there(disk, found, pointer=pointer)
        return found
    here, there = _run_in(disk, layout), _run_in(disk, found)
    if here == pointer.run_id and there != pointer.run_id:
        return layout  # moved
    begun = pointer.created or there or disk.stat(found.log) is not None
    if begun or disk.stat(found.directory) is None:
        raise _elsewhere(layout, pointer.directory)
    _check_vacant(disk, layout)  # what OUT names was half-created
    return layout


def settle(disk: Disk, layout: RunLayout) -> RunLayout:
    """As `find`; where the state directory was moved, or a crash came before OUT said that its run is created, OUT says
    so durably on return. The caller holds OUT's lock."""
    found = find(disk, layout)
    pointer = read_pointer(disk, layout)
    if pointer is None or (found.directory == pointer.directory and pointer.created):
        return found
    if _run_in(disk, found) == pointer.run_id:
        disk.sync_dir(found.directory)  # `created` vouches for job.json, whose name a crash may have left unsynced
        write_pointer(disk, found, run_id=pointer.run_id, created=True)
    return found


def make_run_directory(disk: Disk, layout: RunLayout) -> None:
    """OUT (with parents), the run directory (0700) and the state directory exist on return, not yet durably: enough for
    the lock."""
    for own in layout.folders:
        for folder in reversed(own.parents):
            if disk.stat(folder) is None:
                disk.mkdir(folder)
        disk.mkdir(own, mode=0o700)
    check_directory(disk, layout)


def check_directory(disk: Disk, layout: RunLayout) -> None:
    """Refuse a run directory that another user could have planted or can change, or that holds what is not ours."""
    _check_folder(disk, layout.home, remedy="if it is yours: chmod 700; else choose another output folder")
    if layout.state is not None:
        _check_folder(disk, layout.state, remedy="if it is yours: chmod 700; else choose another --state-dir")
    check_entries(disk, layout)


def is_own(name: str) -> bool:
    """Is this the name of something that a run leaves in its state directory?"""
    plain = name.removeprefix(".").removesuffix(".tmp")
    return name in _OWN or (plain in _OWN and name in {f"{plain}.tmp", f".{plain}.tmp"})


def _check_folder(disk: Disk, folder: Path, *, remedy: str) -> None:
    found = disk.stat(folder)
    if found is None:
        raise StorageError(f"{folder} is gone", where=str(folder)) from FileNotFoundError()
    if found.kind is not FileKind.DIRECTORY:
        problem = "is not a directory"
    elif found.uid != os.geteuid():
        problem = f"belongs to user {found.uid}, not to {os.geteuid()}"
    elif found.mode & 0o077:
        problem = f"has mode {found.mode:o}, others may enter"
    else:
        return
    raise UsageError(f"{folder} {problem}", where=str(folder), remedy=remedy)


def _run_in(disk: Disk, layout: RunLayout) -> str:
    """The id of the run in the state directory; "" where there is none."""
    if disk.stat(layout.directory) is None:
        return ""
    check_directory(disk, layout)
    if disk.stat(layout.job) is None:
        return ""
    document: Mapping[str, object] = read_document(disk, layout.job)
    return str(document.get("run_id", ""))


def _check_there(disk: Disk, layout: RunLayout, *, pointer: Pointer) -> None:
    """The run in the state directory is OUT's; or none is there yet."""
    where = str(layout.pointer)
    there = disk.stat(layout.directory) is not None
    run_id = _run_in(disk, layout) if there else ""
    if not there or (pointer.created and not run_id):
        gone = f"{layout.job} is gone" if there else f"{layout.directory} is gone"
        raise CorruptionError(
            f"{gone}: what the run in {layout.out} knows is there",
            where=where,
            remedy="mount it or bring it back; where it was moved, name the new place with --state-dir; else choose "
            "another OUT",
        )
    if run_id and run_id != pointer.run_id:
        raise UsageError(
            f"{layout.directory} holds run {run_id}, the one of {layout.out} is {pointer.run_id}",
            where=where,
            remedy="where its state was moved, name the new place with --state-dir; else choose another OUT",
        )


def _check_vacant(disk: Disk, layout: RunLayout) -> None:
    """The state directory that is asked for is free: nothing is there, or what a half-created run left."""
    folder = layout.directory
    found = disk.stat(folder)
    if found is None:
        return
    check = layout.at(folder)
    _check_folder(disk, folder, remedy="if it is yours: chmod 700; else choose another --state-dir")
    if disk.stat(check.job) is not None or disk.stat(check.log) is not None:
        raise UsageError(
            f"{folder} holds the run of another output folder",
            where="--state-dir",
            remedy="give each OUT a state directory of its own; where that OUT is gone for good, remove this one",
        )
    strange = [name for name in disk.listdir(folder) if not is_own(name)]
    if strange:
        raise UsageError(
            f"{folder} is not empty: it holds {strange[0]!r}",
            where="--state-dir",
            remedy="name a folder that is empty or not there yet",
        )


def _elsewhere(layout: RunLayout, there: Path) -> UsageError:
    return UsageError(
        f"the run in {layout.out} has its state in {there}, not in {layout.state}",
        where="--state-dir",
        remedy="leave --state-dir out to go on with it (or to start over with --fresh); a state directory may be moved "
        "as a whole and named anew",
    )
