"""The bytes of a checkpoint log for whoever reads it as its only owner, without holding all of it.

A log is 64 bytes for each mini-batch. What is known to be durable is read again whenever it is asked for; what is not
is held from its first reading on: the page cache may lose it (a sync that failed in an earlier process has marked it
clean), and what was checked must be what is counted and written again.
"""

from __future__ import annotations

from batchctl.handles import ReadFile

_BLOCK = 1 << 20


class LogBytes:
    """Slices of the file as it was when it was opened, as memoryviews. `keep_from` says what need not be held."""

    __slots__ = ("_file", "_held", "_held_from", "_last")

    def __init__(self, file: ReadFile) -> None:
        self._file = file
        self._held: dict[int, bytes] = {}  # by the number of the block
        self._held_from = 0  # blocks below are not held
        self._last: tuple[int, bytes] = (-1, b"")  # of those, the one that was asked for last

    def __len__(self) -> int:
        return self._file.size

    def keep_from(self, offset: int) -> None:
        """All bytes below `offset` are durable."""
        first = offset // _BLOCK
        for number in range(self._held_from, first):
            self._held.pop(number, None)
        self._held_from = max(self._held_from, first)

    def __getitem__(self, part: slice) -> memoryview:
        start, stop, _ = part.indices(len(self))
        number = start // _BLOCK
        if stop <= (number + 1) * _BLOCK:  # as nearly always
            at = start - number * _BLOCK
            return memoryview(self._block(number))[at : at + max(0, stop - start)]
        blocks = [self._block(one) for one in range(number, -(-stop // _BLOCK))]
        at = start - number * _BLOCK
        return memoryview(b"".join(blocks))[at : at + stop - start]

    def _block(self, number: int) -> bytes:
        if number < self._held_from:
            if self._last[0] != number:
                self._last = (number, self._read(number))
            return self._last[1]
        if number not in self._held:
            self._held[number] = self._read(number)
        return self._held[number]

    def _read(self, number: int) -> bytes:
        start = number * _BLOCK
        return self._file.pread(start, max(0, min(_BLOCK, len(self) - start)))
