"""Sorting the names of one folder without holding all of them as objects.

A million names as bytes objects are 72 MB; joined by NUL, which no name contains, they are as long as they are.
So a large folder is sorted in parts: sorted blocks are kept joined, split points are taken from samples of the
blocks, and each part is split, sorted (it is made of sorted stretches, which is cheap) and dropped before the next.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

PART = 1 << 16  # names held as objects at once: about 5 MB
_SAMPLE = 256  # every n-th name of a sorted block


class NameSorter:
    """Collects names of one folder in any order; `parts` gives them sorted by bytes, then it is empty."""

    def __init__(self, *, part: int = PART) -> None:
        self._part = part
        self._block: list[bytes] = []
        self._blobs: list[bytes] = []
        self._samples: list[bytes] = []
        self._spilled = 0

    def add(self, names: list[bytes]) -> None:
        self._block += names
        if len(self._block) >= self._part:
            self._spill()

    def _spill(self) -> None:
        block, self._block = self._block, []
        block.sort()
        self._samples += block[::_SAMPLE]
        self._spilled += len(block)
        self._blobs.append(b"\0".join(block))

    def parts(self) -> Iterator[list[bytes]]:
        """Sorted lists; every name of one is below every name of the next; at least one list, maybe empty."""
        if not self._blobs:
            block, self._block = self._block, []
            block.sort()
            yield block
            return
        if self._block:
            self._spill()
        self._samples.sort()
        count = -(-self._spilled // self._part)
        edges = [self._samples[len(self._samples) * i // count] for i in range(1, count)]
        self._samples = []
        buckets: list[list[bytes]] = [[] for _ in range(count)]
        while self._blobs:
            names = self._blobs.pop().split(b"\0")
            cuts = [0, *(bisect_left(names, edge) for edge in edges), len(names)]
            for bucket, low, high in zip(buckets, cuts, cuts[1:], strict=False):
                if low < high:
                    bucket.append(b"\0".join(names[low:high]))
            del names
        for bucket in buckets:
            if bucket:
                part = b"\0".join(bucket).split(b"\0")
                bucket.clear()
                part.sort()
                yield part
