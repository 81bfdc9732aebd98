"""What `batchctl plan` says about a plan, and about files that a plan does not hold yet."""

from __future__ import annotations

from typing import Any

from batchctl.named_tuple import NamedTuple
from batchctl.plan.display import display_name, machine_name
from batchctl.plan.encode import LargestItem, PlanImage
from batchctl.plan.index import path_of
from batchctl.plan.inputs import InputRequest, Listing
from batchctl.plan.partitions import LargestPartition
from batchctl.plan.read import Plan

EXAMPLES = 10


class AddedFiles(NamedTuple):
    """Files that the inputs hold now and an existing plan does not: never part of its run."""

    count: int  # type: ignore[assignment]  # shadows tuple.count, which nobody calls on a record
    examples: tuple[str, ...]  # paths, the first ten in plan order


class PlanSummary(NamedTuple):
    """A plan in figures. `total_bytes` in bytes; `warnings` and `notes` are lines for people."""

    items: int
    total_bytes: int
    batches: int
    folders: int
    largest: LargestItem
    largest_partition: LargestPartition | None = None  # None: no partitions
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    added: AddedFiles | None = None  # None: no existing plan was compared

    def to_dict(self) -> dict[str, Any]:
        """For --json; names as valid Unicode."""
        return {
            "items": self.items,
            "bytes": self.total_bytes,
            "mini_batches": self.batches,
            "folders": self.folders,
            "largest": {"path": machine_name(self.largest.path), "bytes": self.largest.size},
            "largest_partition": None
            if self.largest_partition is None
            else {"partition": self.largest_partition.label, "items": self.largest_partition.items},
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "added": None
            if self.added is None
            else {"count": self.added.count, "examples": [machine_name(path) for path in self.added.examples]},
        }


def added_files(request: InputRequest, existing: Plan) -> AddedFiles:
    """List the inputs again and name what `existing` does not hold. Raises what a listing raises."""
    index = existing.folder_index()
    count = 0
    examples: list[str] = []
    seen: dict[bytes, set[bytes]] = {}  # one INPUT may cover another
    for stretch in Listing(request).stretches():
        planned, told = index.names(stretch.folder), seen.setdefault(stretch.folder, set())
        fresh = [name for name in stretch.names if name not in planned and name not in told]
        told.update(fresh)
        count += len(fresh)
        examples += [path_of(stretch.folder, name) for name in fresh[: EXAMPLES - len(examples)]]
    return AddedFiles(count, tuple(examples))


def summarise(image: PlanImage, *, added: AddedFiles | None = None) -> PlanSummary:
    """The figures of a plan just built; files added since an existing plan become a note."""
    notes = image.findings.notes()
    if added is not None and added.count:
        shown = ", ".join(display_name(path) for path in added.examples[:3])
        more = f" and {added.count - 3} more" if added.count > 3 else ""
        notes += (f"{added.count} file(s) added since the run was planned are not part of it: {shown}{more}",)
    return PlanSummary(
        items=image.items,
        total_bytes=image.total_bytes,
        batches=image.batches,
        folders=image.folders,
        largest=image.largest,
        largest_partition=image.largest_partition,
        warnings=image.findings.warnings(),
        notes=notes,
        added=added,
    )
