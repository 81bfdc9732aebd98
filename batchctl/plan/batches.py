"""Mini-batch bounds. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise

from batchctl.model.job import Grouping


def batch_firsts(run_firsts: Sequence[int], *, size: int, grouping: Grouping) -> array[int]:
    """First item of each mini-batch, u32, closed by the number of items.

    `run_firsts`: first item of each run (a stretch of items of one folder), closed by the number of items. With
    Grouping.DIRECTORY no mini-batch spans two runs: their number is the sum over runs of ceil(items / size).
    """
    if size < 1:
        raise ValueError(f"mini-batch size {size}: must be 1 or more")
    items = run_firsts[-1]
    if grouping is Grouping.PATH:
        firsts = array("I", range(0, items, size))
    else:
        firsts = array("I")
        for first, end in pairwise(run_firsts):
            firsts.extend(range(first, end, size))
    firsts.append(items)
    return firsts


def partition_firsts(run_firsts: Sequence[int], run_partitions: Sequence[int]) -> array[int]:
    """First item of each partition, u32, closed by the number of items, where runs are sorted by partition."""
    firsts = array("I")
    last = -1
    for first, partition in zip(run_firsts, run_partitions, strict=False):
        if partition != last:
            firsts.append(first)
            last = partition
    firsts.append(run_firsts[-1])
    return firsts
