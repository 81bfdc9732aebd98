"""What a resume finds otherwise than it was left: inputs, files beside them, and the batchctl that worked on the run.

docs/running.md has the table of all that can differ, with defaults and options.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto

from batchctl.errors import BatchctlError, ResumeRefusedError, UsageError
from batchctl.model.job import JobSpec
from batchctl.model.lease import Lease
from batchctl.model.records import EpochOpened
from batchctl.plan.display import display_name
from batchctl.plan.read import Change, ChangeKind, Plan
from batchctl.plan.summary import added_files
from batchctl.run.prepare import input_request
from batchctl.run.retrying import reopened_items
from batchctl.store.frames import FrameType
from batchctl.store.recover import Recovered

_LISTED = 20  # changed files that a refusal names
_NOTED = 5  # of those that were accepted
LOOKED_FOR = 5000  # items of a plan beside which files that were added are looked for at a resume: some ms


class Inputs(Enum):
    """What the user has said of inputs that are not as they were planned."""

    COMPARED = auto()  # nothing: a changed one ends the run
    ACCEPTED = auto()  # --accept-changes, when other changes were shown than that folders of inputs are gone
    AS_THEY_ARE = auto()  # --accept-changes, and nothing else was to be accepted


class InputsNow:
    """Looks at the inputs of leases that are about to be handed out, and says why they must not be; None: go on.

    A file that is missing is the script's to fail on. Where its whole folder is missing or empty it is rather a disk
    that is not mounted: all that is left would fail, and the run would end as if that were all right.
    """

    def __init__(
        self, plan: Plan, *, out: str, said: Inputs, again: frozenset[int], note: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._out = out
        self._said = said
        self._again = again
        self._note = note
        self._noted = 0

    def __call__(self, leases: Sequence[Lease]) -> BatchctlError | None:
        changes = [
            change
            for lease in leases
            for change in self._plan.changed(lease.first, lease.count)
            if change.item not in self._again
        ]
        missing = [change for change in changes if change.kind is ChangeKind.MISSING]
        if missing and self._said is not Inputs.AS_THEY_ARE:
            error = self._bare_folders(missing)
            if error is not None:
                return error
        others = [change for change in changes if change.kind is not ChangeKind.MISSING]
        if not others:
            return None
        lines = [f"{self._plan.display(change.item)}: {change.detail}" for change in others]
        if self._said is not Inputs.COMPARED:
            for line in lines[: max(0, _NOTED - self._noted)]:
                self._note(f"accepted: {line}")
            self._noted += len(lines)
            return None
        return ResumeRefusedError(
            "input files changed since the run was planned:",
            differences=tuple(lines[:_LISTED]),
            where=self._out,
            remedy="--accept-changes scores them as they are now; --fresh starts over",
        )

    def _bare_folders(self, missing: Sequence[Change]) -> BatchctlError | None:
        folders = dict.fromkeys(os.path.dirname(self._plan.path(change.item)) for change in missing)  # noqa: PTH120
        bare = [f"{display_name(folder)}: {told}" for folder in folders if (told := _why_bare(folder))]
        if not bare:
            return None
        return ResumeRefusedError(
            "folders of input files that are still to be scored are gone or empty:",
            differences=tuple(bare[:_LISTED]),
            where=self._out,
            remedy="bring them back (mount the disk, or put a symbolic link in their place) and type the same again; "
            "--accept-changes lets their files fail; --fresh starts over",
        )


def _why_bare(folder: str) -> str:
    try:
        with os.scandir(folder) as entries:
            return "" if next(entries, None) is not None else "empty"
    except (FileNotFoundError, NotADirectoryError):
        return "gone"
    except OSError:
        return ""  # it is there; its files are missing or not for the script to find out


def inputs_now(plan: Plan, recovered: Recovered, *, out: str, said: Inputs, note: Callable[[str], None]) -> InputsNow:
    """For a resume, its first epoch included: a command that made the plan may have ended before it began one. Ranges
    that a retry has reopened are scored as they are."""
    again = reopened_items(recovered.records) if recovered.generation else frozenset()
    return InputsNow(plan, out=out, said=said, again=again, note=note)


def other_version(recovered: Recovered, version: str) -> str:
    """What to tell where the last coordinator of this run was another batchctl; "" where it was not. It goes on all the
    same: what a version cannot read it refuses by the formats in job.json and in the log."""
    before = [record.version for record in recovered.records.only(FrameType.EPOCH) if isinstance(record, EpochOpened)]
    if recovered.epoch < 2 or not before or before[-1] == version:
        return ""
    return f"batchctl {before[-1]} has worked on this run before; this is {version}, which goes on with it"


def count_added(spec: JobSpec, plan: Plan, *, piped: Mapping[str, bytes] | None) -> int | None:
    """Files that match INPUT and are not in the plan; None where that cannot be told, as the INPUT is not there any
    more. Nothing is looked at but names."""
    try:
        return added_files(input_request(spec, piped=piped, sizes_up_to=0), plan).count
    except UsageError:
        return None
