"""Where a run may lie: what the file systems of OUT and of the state directory promise, judged before anything of the
run is written there."""

from __future__ import annotations

import os
from pathlib import Path

from batchctl.errors import BatchctlError, UsageError
from batchctl.files import RealDisk
from batchctl.model.job import JobSpec
from batchctl.node.mounts import MountPoint, parse_mount_points
from batchctl.node.storage import Storage, Verdict, storage_of
from batchctl.store.layout import RunLayout
from batchctl.store.state_directory import find

_OUT_REMEDY = "score into an OUT on a local disk and copy the result there; --accept-storage goes on all the same"
_STATE_REMEDY = "name a folder on a local disk with --state-dir; --accept-storage goes on all the same"


def out_storage(out: Path, *, accepted: bool) -> tuple[str, ...]:
    """Warnings about the file system of OUT: a line, or none. UsageError where it is refused, unless `accepted`, and
    where the run directory in OUT is a mount of its own, from which nothing can be renamed into OUT."""
    mounts, home = _mounts(), RunLayout(out).home
    found = storage_of(out, mounts)
    warnings = _judged(found, accepted=accepted, remedy=_OUT_REMEDY)
    if storage_of(home, mounts).mount.point != found.mount.point:
        raise UsageError(
            f"{home} is a mount of its own: files cannot be renamed from there into {out}",
            where=str(home),
            remedy="unmount it; --state-dir puts what the run knows on another file system",
        )
    return warnings


def state_storage(directory: Path | None, *, accepted: bool) -> tuple[str, ...]:
    """As `out_storage`, for a state directory."""
    if directory is None:
        return ()
    return _judged(storage_of(directory, _mounts()), accepted=accepted, remedy=_STATE_REMEDY)


def check_apart(layout: RunLayout) -> None:
    """UsageError where OUT and the state directory lie in one another: files of one would be taken for the other's."""
    if layout.state is None:
        return
    out, state = (Path(os.path.realpath(path)) for path in (layout.out, layout.state))
    if out.is_relative_to(state) or state.is_relative_to(out):
        raise UsageError(
            f"the state directory {layout.state} and the output folder {layout.out} lie in one another",
            where="--state-dir",
            remedy="name a folder outside of OUT that does not hold it, or leave --state-dir out",
        )


def where_it_lies(spec: JobSpec, *, accepted: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(problems, warnings) that a run of this spec would meet with its OUT and state directory, a line each; raises
    nothing, writes nothing."""
    problems: list[str] = []
    warnings: list[str] = []
    state = spec.state_dir
    try:
        if spec.out is not None:
            warnings += out_storage(spec.out, accepted=accepted)
            layout = RunLayout(spec.out, state=state)
            check_apart(layout)
            state = find(RealDisk(), layout).state
        warnings += state_storage(state, accepted=accepted)
    except BatchctlError as error:
        problems.append(problem_text(error))
    return tuple(problems), tuple(warnings)


def problem_text(error: BatchctlError) -> str:
    """An error as one line among others."""
    where = "" if error.where in error.message else f"{error.where}: "
    return ". ".join(part for part in (where + error.message, error.remedy) if part)


def _judged(found: Storage, *, accepted: bool, remedy: str) -> tuple[str, ...]:
    if found.verdict is Verdict.FINE:
        return ()
    if found.verdict is Verdict.REFUSED and not accepted:
        raise UsageError(found.told, where=found.path, remedy=remedy)
    return (found.told,)


def _mounts() -> list[MountPoint]:
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # no /proc: statfs is asked
        text = ""
    return parse_mount_points(text)
