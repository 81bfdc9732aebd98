"""Which items are concluded and where their rows lie: 24 bytes a mini-batch, so that a million costs 24 MB.

A mini-batch concluded as a whole sits in arrays, one concluded in parts (isolation) in a small dict. It refuses what
contradicts it, so no range counts twice; the reader calls that corruption, the writer a bug of ours.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from operator import eq

from batchctl.model.lease import Lease
from batchctl.model.records import Committed, Reopening
from batchctl.named_tuple import NamedTuple

_OPEN = (1 << 64) - 1
_QUARANTINED = _OPEN - 1
_PARTS = _OPEN - 2
_new_extent = tuple.__new__  # half the time of Extent(...), once per mini-batch


class ContradictionError(ValueError):
    """A range was concluded twice, or lies outside its mini-batch."""


class Extent(NamedTuple):
    """Where the rows of a committed range lie in the rows file: bytes. Those in a sealed table, which a retry has
    reopened: `length` rows from number `offset`, and no CRC."""

    first: int
    items: int
    offset: int
    length: int
    crc: int
    n_rows: int = 0


class Ledger:
    """What is concluded. `bounds` holds the first item of each mini-batch and, last, the number of items."""

    __slots__ = (
        "_crcs",
        "_lengths",
        "_offsets",
        "_parts",
        "_rows",
        "bounds",
        "committed",
        "failed",
        "n_rows",
        "ok",
        "quarantined",
        "rows_end",
    )

    def __init__(self, bounds: Sequence[int]) -> None:
        n = len(bounds) - 1
        self.bounds = bounds
        self._offsets = array("Q", [_OPEN]) * n
        self._lengths = array("Q", [0]) * n
        self._crcs = array("I", [0]) * n
        self._rows = array("I", [0]) * n
        self._parts: dict[int, list[Extent]] = {}
        self.committed = 0  # items
        self.quarantined = 0  # items
        self.ok = 0  # items
        self.failed = 0  # items of successful attempts that returned too little
        self.n_rows = 0
        self.rows_end = 0  # where the last committed rows end

    @property
    def items(self) -> int:
        return self.bounds[-1]

    @property
    def complete(self) -> bool:
        return self.committed + self.quarantined == self.items

    def commit(self, records: Iterable[Committed | tuple[int, ...]]) -> None:
        """Count successful attempts, in the field order of `Committed`; `ContradictionError` for what cannot be."""
        bounds, offsets, lengths, crcs, rows = self.bounds, self._offsets, self._lengths, self._crcs, self._rows
        mini_batches = len(offsets)
        committed, n_ok, n_failed, all_rows, top = self.committed, self.ok, self.failed, self.n_rows, self.rows_end
        for batch, first, count, _, offset, length, crc, n_rows, ok, failed in records:
            if ok + failed != count or batch >= mini_batches:
                raise ContradictionError(f"mini-batch {batch}: {ok} + {failed} of {count} items")
            if offsets[batch] == _OPEN and bounds[batch] == first and bounds[batch + 1] - first == count:
                offsets[batch] = offset
                lengths[batch] = length
                crcs[batch] = crc
                rows[batch] = n_rows
            else:
                self._add_part(batch, Extent(first, count, offset, length, crc, n_rows))
            committed += count
            n_ok += ok
            n_failed += failed
            all_rows += n_rows
            if offset + length > top:  # noqa: PLR1730  max() is a fifth of all this
                top = offset + length
        self.committed, self.ok, self.failed, self.n_rows, self.rows_end = committed, n_ok, n_failed, all_rows, top

    def quarantine(self, lease: Lease) -> None:
        """Count a range as given up; `ContradictionError` for what cannot be."""
        batch, first, count, _ = lease
        if batch >= len(self._offsets):
            raise ContradictionError(f"no mini-batch {batch}")
        if self._offsets[batch] == _OPEN and self.bounds[batch] == first and self.bounds[batch + 1] - first == count:
            self._offsets[batch] = _QUARANTINED
        else:
            self._add_part(batch, Extent(first, count, _QUARANTINED, 0, 0))
        self.quarantined += count

    def reopen(self, one: Reopening) -> None:
        """The range is no longer concluded; `ContradictionError` unless exactly that range was, in that way."""
        batch, first, count, n_rows, ok, failed = one
        if batch >= len(self._offsets):
            raise ContradictionError(f"no mini-batch {batch}")
        state, low = self._offsets[batch], self.bounds[batch]
        if state < _PARTS or state == _QUARANTINED:
            found = Extent(low, self.bounds[batch + 1] - low, state, 0, 0)
            left: list[Extent] = []
        else:
            parts = self._parts.get(batch, [])
            found = next((part for part in parts if part.first == first), Extent(0, 0, _OPEN, 0, 0))
            left = [part for part in parts if part is not found]
        given_up = found.offset == _QUARANTINED
        if (found.first, found.items) != (first, count) or ok + failed != (0 if given_up else count):
            raise ContradictionError(f"mini-batch {batch}: items {first} to {first + count - 1} were not concluded so")
        self._offsets[batch], self._lengths[batch], self._crcs[batch] = _PARTS if left else _OPEN, 0, 0
        self._rows[batch] = 0
        self._parts.pop(batch, None)
        if left:
            self._parts[batch] = left
        if given_up:
            self.quarantined -= count
        else:
            self.committed -= count
        self.ok, self.failed, self.n_rows = self.ok - ok, self.failed - failed, self.n_rows - n_rows

    def place(self, *, header: int, size: int, by_offset: bool, counted: bool = False) -> None:
        """The rows were copied to a file of `size` bytes behind a header, without gaps, in item order or in that of
        their offsets: that is where they lie from now on. `counted`: to a table of `size` rows."""
        if not self._parts:
            self._place_whole(header=header, size=size, by_offset=by_offset, counted=counted)
            return
        places = [
            (part.offset if by_offset else 0, batch, at)
            for batch, offset in enumerate(self._offsets)
            for at, part in enumerate(self._parts[batch] if offset == _PARTS else [Extent(0, 0, offset, 0, 0)])
            if part.offset < _PARTS
        ]
        places.sort(key=lambda place: place[0])  # stable: in item order where the first is 0
        end = header
        for _, batch, at in places:
            if self._offsets[batch] == _PARTS:
                part = self._parts[batch][at]
                if counted:
                    part = part._replace(length=part.n_rows, crc=0)
                self._parts[batch][at] = part._replace(offset=end)
                end += part.length
            else:
                if counted:
                    self._lengths[batch], self._crcs[batch] = self._rows[batch], 0
                self._offsets[batch] = end
                end += self._lengths[batch]
        self._placed(end, size=size, counted=counted)

    def _place_whole(self, *, header: int, size: int, by_offset: bool, counted: bool) -> None:
        """The same without an object for each mini-batch, where none was concluded in parts."""
        offsets, lengths, end = self._offsets, self._lengths, header
        numbers = range(len(offsets))
        for batch in sorted(numbers, key=offsets.__getitem__) if by_offset else numbers:
            if offsets[batch] < _PARTS:
                if counted:
                    lengths[batch], self._crcs[batch] = self._rows[batch], 0
                offsets[batch] = end
                end += lengths[batch]
        self._placed(end, size=size, counted=counted)

    def _placed(self, end: int, *, size: int, counted: bool) -> None:
        if end != size:
            raise ContradictionError(f"{end} {'' if counted else 'bytes of '}rows in a file of {size}")
        self.rows_end = size

    def untouched(self, batches: Sequence[int]) -> bool:
        """Whether nothing at all of these mini-batches is concluded; the short way to `concluded` for many."""
        return all(map(_OPEN.__eq__, map(self._offsets.__getitem__, batches)))

    def concluded(self, lease: Lease) -> bool:
        """Whether any item of the range is concluded."""
        state = self._offsets[lease.batch]
        if state == _PARTS:
            return _overlaps(self._parts[lease.batch], lease.first, lease.count)
        return state != _OPEN

    def open_ranges(self, batch: int) -> list[tuple[int, int]]:
        """What is left of a mini-batch: (first item, items), in order."""
        state, at, end = self._offsets[batch], self.bounds[batch], self.bounds[batch + 1]
        if state not in {_OPEN, _PARTS}:
            return []
        left = []
        for part in self._parts.get(batch, ()):
            if part.first > at:
                left.append((at, part.first - at))
            at = part.first + part.items
        return [*left, (at, end - at)] if at < end else left

    def extents(self, *, by_offset: bool = False) -> Iterator[Extent]:
        """The rows of all committed ranges, in item order or in that of their offsets, which costs some 40 bytes for
        each mini-batch meanwhile."""
        if by_offset:
            return self._by_offset()
        return self._by_item(0, zip(self._offsets, self._lengths, self._crcs, self._rows, strict=True))

    def extents_of(self, first: int, end: int) -> Iterator[Extent]:
        """The same in item order, of the mini-batches from `first` to before `end`."""
        columns = (self._offsets, self._lengths, self._crcs, self._rows)
        return self._by_item(first, zip(*(column[first:end] for column in columns), strict=True))

    def _by_item(self, start: int, columns: Iterable[tuple[int, int, int, int]]) -> Iterator[Extent]:
        bounds = self.bounds
        for batch, (offset, length, crc, n_rows) in enumerate(columns, start):
            if offset < _PARTS:
                first = bounds[batch]
                yield _new_extent(Extent, (first, bounds[batch + 1] - first, offset, length, crc, n_rows))
            elif offset == _PARTS:
                yield from (part for part in self._parts[batch] if part.offset < _PARTS)

    def _by_offset(self) -> Iterator[Extent]:
        if self._parts:
            yield from sorted(self.extents(), key=lambda extent: extent.offset)
            return
        bounds, offsets = self.bounds, self._offsets
        for batch in sorted(range(len(offsets)), key=offsets.__getitem__):
            if offsets[batch] < _PARTS:
                first, length, crc = bounds[batch], self._lengths[batch], self._crcs[batch]
                yield Extent(first, bounds[batch + 1] - first, offsets[batch], length, crc, self._rows[batch])

    def pieces(self, *, by_offset: bool = False) -> Iterator[tuple[int, int]]:
        """(offset, length) of all rows that are not empty, in item order or in that of their offsets; the short way to
        `extents` for copying. `by_offset` costs some 80 bytes for each mini-batch meanwhile."""
        offsets, lengths = self._offsets, self._lengths
        if self._parts:
            found = ((extent.offset, extent.length) for extent in self.extents() if extent.length)
            return iter(sorted(found)) if by_offset else found
        if by_offset:
            order = sorted(range(len(offsets)), key=offsets.__getitem__)
            both = zip(map(offsets.__getitem__, order), map(lengths.__getitem__, order), strict=True)
        else:
            both = zip(offsets, lengths, strict=True)
        return (piece for piece in both if piece[1])  # what has no rows, or is not committed, has no length

    @property
    def in_parts(self) -> bool:
        """Whether some are concluded in parts."""
        return bool(self._parts)

    def checks_in_a_row(self, start: int, end: int) -> Iterable[tuple[int, int]] | None:
        """(length, CRC-32) of every mini-batch, where their rows fill the file from `start` to `end` in this order;
        None where they do not, or some are concluded in parts. Without rows: 0, and the CRC of nothing."""
        offsets, lengths = self._offsets, self._lengths
        if self._parts or start + sum(lengths) != end:
            return None
        if not all(map(eq, offsets, accumulate(lengths, initial=start))):  # some have no place, or rows no order
            for offset, length in zip(offsets, lengths, strict=True):
                if length and offset != start:
                    return None
                start += length
        return zip(lengths, self._crcs, strict=True)

    def _add_part(self, batch: int, part: Extent) -> None:
        state, low, high = self._offsets[batch], self.bounds[batch], self.bounds[batch + 1]
        parts = self._parts.get(batch, [])
        inside = low <= part.first and part.items > 0 and part.first + part.items <= high
        if state not in {_OPEN, _PARTS} or not inside or _overlaps(parts, part.first, part.items):
            raise ContradictionError(
                f"mini-batch {batch}: items {part.first} to {part.first + part.items - 1} are concluded, or not its own"
            )
        self._offsets[batch] = _PARTS
        self._parts[batch] = sorted([*parts, part])


def _overlaps(parts: Sequence[Extent], first: int, count: int) -> bool:
    return any(part.first < first + count and first < part.first + part.items for part in parts)
