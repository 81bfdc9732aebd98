"""Mini-batch bounds. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from batchctl.model.job import Grouping


def batch_firsts(
    run_firsts: Sequence[int],
    *,
    size: int,
    grouping: Grouping,
    sizes: Sequence[int] = (),
    max_bytes: int | None = None,
) -> array[int]:
    """First item of each mini-batch, u32, closed by the number of items.

    `run_firsts`: first item of each run (a stretch of items of one folder), closed by the number of items. With
    Grouping.DIRECTORY no mini-batch spans two runs: their number is the sum over runs of ceil(items / size).
    With `max_bytes` a mini-batch is closed, too, before its items' `sizes` (bytes of each item) pass it; a single item
    that does is one by itself.
    """
    if size < 1:
        raise ValueError(f"mini-batch size {size}: must be 1 or more")
    items = run_firsts[-1]
    if max_bytes is not None and len(sizes) != items:
        raise ValueError(f"sizes of {len(sizes)} items: there are {items}")
    firsts = array("I")
    stretches: Iterable[tuple[int, int]] = ((0, items),) if grouping is Grouping.PATH else pairwise(run_firsts)
    for first, end in stretches:
        if max_bytes is None:
            firsts.extend(range(first, end, size))
        else:
            firsts.extend(_closed_by_bytes(first, end, size=size, sizes=sizes, max_bytes=max_bytes))
    firsts.append(items)
    return firsts


def _closed_by_bytes(first: int, end: int, *, size: int, sizes: Sequence[int], max_bytes: int) -> Iterator[int]:
    begun, held = first - size, 0  # so that the first item begins one
    for item in range(first, end):
        held += sizes[item]
        if held > max_bytes or item - begun == size:
            yield item
            begun, held = item, sizes[item]


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
