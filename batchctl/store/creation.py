"""How a run directory comes to be: plan and job.json are written before there is a log. A directory without a log
and one of them was half-created and holds nothing of worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from batchctl.errors import CorruptionError, UsageError
from batchctl.files import Disk, Draft, dirs_made, make_dirs
from batchctl.store.documents import read_document, text_of
from batchctl.store.frames import HEADER_SIZE, FrameType, Scan, scan
from batchctl.store.layout import RunLayout
from batchctl.store.payloads import MALFORMED, Done, unpack_done
from batchctl.store.publish import digest_of
from batchctl.store.replay import contradiction
from batchctl.store.state_directory import check_directory, forget_created, make_run_directory, write_pointer


class RunState(StrEnum):
    """How far a run has come, judged by names alone; by the log too where no rows are written, or rows lie beside the
    final file."""

    ABSENT = "absent"
    HALF_CREATED = "half-created"
    STARTED = "started"
    FINISHED = "finished"


def run_state(disk: Disk, layout: RunLayout) -> RunState:
    """Writes nothing, needs no lock. `UsageError` for a run directory that is not ours, `CorruptionError` for a log
    without job.json. With `layout.rows` False it reads the log, seeded by the `run_id` of job.json's document."""
    if any(disk.stat(folder) is None for folder in layout.folders):
        return RunState.ABSENT
    check_directory(disk, layout)
    if disk.stat(layout.job) is None:
        if disk.stat(layout.log) is not None:
            raise CorruptionError(f"{layout.job} is gone, its log is not", where=str(layout.job))
        return RunState.HALF_CREATED
    if all(disk.stat(path) is None for path in (layout.plan, layout.log, layout.leaving, *_names(layout))):
        return RunState.HALF_CREATED  # a power cut took the plan's name, but not the other
    if layout.rows:
        return RunState.FINISHED if _has_result(disk, layout) else RunState.STARTED
    return RunState.FINISHED if _sealed(disk, layout) else RunState.STARTED


def _has_result(disk: Disk, layout: RunLayout) -> bool:
    if disk.stat(layout.final) is None:
        return False
    if disk.stat(layout.partial) is None:
        return True
    # Both: the end of a run was cut off before it had removed the rows, or a retry has begun. The log knows.
    found = _scan(disk, layout)
    done: Done | None = None
    sealed: Done | None = None
    for frame in found.frames if found else ():
        if frame.kind == FrameType.DONE:
            with disk.open_read(layout.log) as log:
                payload = log.pread(frame.start + HEADER_SIZE, frame.end - frame.start - HEADER_SIZE)
            try:
                done = unpack_done(payload)
            except MALFORMED as error:
                raise contradiction(layout, frame.start, error) from error
        elif frame.kind == FrameType.REOPEN:
            sealed, done = done or sealed, None
    return is_result(disk, layout, done=done, sealed=sealed)


def is_result(disk: Disk, layout: RunLayout, *, done: Done | None, sealed: Done | None) -> bool:
    """Is what stands at `layout.final` the run's last result? No, where a retry has reopened that and its own result
    has not taken its place yet. `done`: the last seal, if nothing was reopened since; `sealed`: the one before."""
    if disk.stat(layout.final) is None:
        return False
    if sealed is None or disk.stat(layout.partial) is None:
        return True
    return done is not None and digest_of(disk, layout.final) == (done.size, done.sha256)


def _sealed(disk: Disk, layout: RunLayout) -> bool:
    # The whole log is scanned: DONE may have survived a power cut that the frames before it did not.
    found = _scan(disk, layout)
    return found is not None and not found.torn and bool(found.frames) and found.frames[-1].kind == FrameType.DONE


def sealed_epoch(disk: Disk, layout: RunLayout) -> int:
    """The epoch that sealed the run last, by the log as it stands, a retry since then or not; 0: none has."""
    found = _scan(disk, layout)
    return max((frame.epoch for frame in found.frames if frame.kind == FrameType.DONE), default=0) if found else 0


def _scan(disk: Disk, layout: RunLayout) -> Scan | None:
    if disk.stat(layout.log) is None:
        return None
    run_id = str(read_document(disk, layout.job).get("run_id", ""))
    return scan(memoryview(disk.read(layout.log)), run_id=run_id, where=str(layout.log))


def check_vacant(disk: Disk, layout: RunLayout, *, but_for: RunLayout | None = None) -> None:
    """`UsageError` where OUT holds a result already, or rows of a run whose directory is gone: whose they are is not
    ours to decide. `but_for`: a run that is about to go, with its own names."""
    own = _names(but_for) if but_for is not None else ()
    for path in _names(layout):
        if path not in own and disk.stat(path) is not None:
            raise UsageError(
                f"{path} exists and belongs to no run",
                where=str(path),
                remedy="move it away, or choose another output folder",
            )


def _names(layout: RunLayout) -> tuple[Path, ...]:
    return (layout.final, layout.partial, layout.sorting) if layout.rows else ()


def create_run(disk: Disk, layout: RunLayout, *, job_document: Mapping[str, Any], plan_chunks: Iterable[bytes]) -> None:
    """A new run: OUT with its parents, the run directory, the plan and job.json are durable on return; before these
    two the state directory, and then the pointer to it, where there is one; that this run was created, after them.

    The caller holds the lock. What a half-created run left is replaced. `UsageError` as of `check_vacant`.
    """
    check_vacant(disk, layout)
    make_run_directory(disk, layout)
    plan = Draft(disk, layout.plan, chunks=plan_chunks)
    job = Draft(disk, layout.job, chunks=[text_of(job_document)])
    # Nothing has its name yet, so these may come in any order; the names below may not.
    disk.together([*dirs_made(disk, layout.out), partial(disk.sync_dir, layout.out), plan.sync, job.sync])
    if layout.state is not None:
        make_dirs(disk, layout.state)
    _remove_stale(disk, layout)
    if layout.state is not None:
        write_pointer(disk, layout, run_id=str(job_document["run_id"]), created=False)
    plan.rename()
    job.rename()
    disk.sync_dir(layout.directory)
    if layout.state is not None:  # from now on a state directory without job.json is one that was lost
        write_pointer(disk, layout, run_id=str(job_document["run_id"]), created=True)


def _remove_stale(disk: Disk, layout: RunLayout) -> None:
    """Of a half-created run: the plan of one and the job.json of the other, as a power cut may leave them, would pass
    for a run."""
    stale = [path for path in (layout.plan, layout.job) if disk.stat(path) is not None]
    if stale and layout.state is not None:
        forget_created(disk, layout)  # first, or the state of a run would seem to be lost
    for path in stale:
        disk.remove(path)
    if stale:
        disk.sync_dir(layout.directory)
