"""Bringing the items of a partition together: the columns of a plan, its runs sorted by partition."""

from __future__ import annotations

from array import array
from itertools import accumulate
from operator import le

from batchctl.named_tuple import NamedTuple


class ItemColumns(NamedTuple):
    """The columns of a plan that go by item or by run, as encode.py builds them. `run_firsts` is closed by the number
    of items; `run_partitions` holds a partition per run, numbered from 0 without gaps."""

    run_firsts: array[int]
    run_folders: array[int]
    run_partitions: array[int]
    name_at: array[int]
    name_bytes: bytearray
    sizes: array[int]  # empty, like mtimes, where they are not recorded
    mtimes: array[int]


def regrouped(columns: ItemColumns) -> ItemColumns:
    """The same items sorted by partition; those of one partition keep their order. Costs nothing where they are so
    already, else a copy of the columns for a moment."""
    partitions = columns.run_partitions
    if all(map(le, partitions, partitions[1:])):
        return columns
    firsts, names, sized = columns.run_firsts, memoryview(columns.name_bytes), bool(columns.sizes)
    found = ItemColumns(array("I"), array("I"), array("I"), array("I", [0]), bytearray(), array("Q"), array("q"))
    before = (-1, -1)
    for run in _order(partitions):
        first, end = firsts[run], firsts[run + 1]
        here = (partitions[run], columns.run_folders[run])
        if here != before:  # else the rest of a run that others had cut
            found.run_firsts.append(len(found.name_at) - 1)
            found.run_partitions.append(here[0])
            found.run_folders.append(here[1])
            before = here
        low = columns.name_at[first]
        shift = len(found.name_bytes) - low
        if end - first == 1:
            found.name_at.append(columns.name_at[end] + shift)
        else:
            found.name_at.extend([at + shift for at in columns.name_at[first + 1 : end + 1]])
        found.name_bytes.extend(names[low : columns.name_at[end]])
        if sized:
            found.sizes.extend(columns.sizes[first:end])
            found.mtimes.extend(columns.mtimes[first:end])
    found.run_firsts.append(firsts[-1])
    return found


def _order(partitions: array[int]) -> array[int]:
    """The runs by partition, those of one in their order: by counting, as a list of a million numbers is large."""
    counts = array("I", bytes(4 * (max(partitions) + 2)))
    for partition in partitions:
        counts[partition + 1] += 1
    places, order = array("I", accumulate(counts)), array("I", bytes(4 * len(partitions)))
    for run, partition in enumerate(partitions):
        order[places[partition]] = run
        places[partition] += 1
    return order
