"""In which order a run hands out its mini-batches, and what `batchctl plan` says about it."""

from __future__ import annotations

from array import array

from batchctl.model.job import JobSpec, Schedule
from batchctl.plan.largest import are_alike, largest_first
from batchctl.plan.read import Plan
from batchctl.report.progress import Reporter
from batchctl.report.wording import count_text, plural

_SMALL = 5_000  # items whose sizes are looked at, and put to use, without being asked


def sizes_up_to(spec: JobSpec) -> int | None:
    """Up to how many items sizes are looked at when a run is planned; None: however many there are."""
    return None if spec.max_batch_bytes is not None or _asked(spec) else _SMALL


def order_of(spec: JobSpec, plan: Plan, reporter: Reporter) -> array[int] | None:
    """The order for the file queue, None for plan order. Who asked for another one in vain is told.

    Where all mini-batches are of nearly one size they count as equal ones: there is nothing to gain, and rows that come
    in plan order are not copied at the end.
    """
    if _applies(spec, items=plan.items, sized=plan.sized):
        order = largest_first(plan.batch_firsts, plan.sizes)
        return None if are_alike(plan.batch_firsts, plan.sizes, order=order) else order
    if _asked(spec):
        told = told_schedule(spec, items=plan.items, sized=plan.sized, planned=True)
        reporter.note(f"mini-batches are handed out {told}", level="warning")
    return None


def told_schedule(spec: JobSpec, *, items: int, sized: bool, planned: bool) -> str:
    """Which schedule applies, and why, in words. `sized`: the plan of the run has sizes, or will have them; `planned`:
    that is settled, as the run exists."""
    if _applies(spec, items=items, sized=sized):
        return f"largest-first: sizes of {plural(items, 'file')} known"
    if spec.schedule is Schedule.PLAN:
        return f"in plan order: {_source(spec)}"
    if planned and not sized:
        return f"in plan order: the run was planned without the sizes of its {plural(items, 'file')}"
    unasked = f"in plan order: sizes are not used above {count_text(_SMALL)} files unless asked for"
    return f"{unasked}; --schedule largest-first looks at them"


def _source(spec: JobSpec) -> str:
    return spec.sources.get("schedule", "default")


def _asked(spec: JobSpec) -> bool:
    return spec.schedule is Schedule.LARGEST_FIRST and not _source(spec).startswith("default")


def _applies(spec: JobSpec, *, items: int, sized: bool) -> bool:
    limit = sizes_up_to(spec)
    return spec.schedule is Schedule.LARGEST_FIRST and sized and (limit is None or items <= limit)
