"""A retry, for the file queue: what was concluded is outstanding again."""

from __future__ import annotations

from collections.abc import Iterable

from batchctl.dispatch.isolate import Part
from batchctl.model.records import Reopening


def reopened_parts(ranges: Iterable[Reopening]) -> list[Part]:
    """The ranges as parts without a history, neighbours of one mini-batch as one: they have all their attempts, and are
    divided only when those have failed, as a mini-batch is."""
    found: list[Part] = []
    for batch, first, count, *_ in sorted(ranges):
        if found and found[-1].batch == batch and found[-1].end == first:
            found[-1].count += count
        else:
            found.append(Part(batch, first, count=count))
    return found


def counts_of(ranges: Iterable[Reopening]) -> tuple[int, int, int]:
    """Items that were ok, failed and quarantined, and are not any more."""
    ok = failed = quarantined = 0
    for one in ranges:
        ok, failed = ok + one.ok, failed + one.failed
        quarantined += one.count if one.ok + one.failed == 0 else 0
    return ok, failed, quarantined
