"""The final file, begun while the last mini-batches are scored: a run's end has that much less to wait for.

    commit -> `follow` -> queue of extents -> [thread: check, digest; a table: row groups into .sorting] -> `result`

What is committed and has its place in the final file for good is read as soon as it is durable: text that lies in order
already is checked and digested, of tables the parquet file is made. Nothing depends on it. A crash leaves a file that
the next life begins anew; whatever else comes between (rows out of order, a column type that changes, a full disk,
damaged rows) ends it without a result, and `finish` does all of it, and meets what there is to be met. Only what a disk
says of a write or a sync that failed is kept for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from batchctl.errors import NoSpaceError, StorageError
from batchctl.files import Disk
from batchctl.handles import ReadFile
from batchctl.model.job import Order
from batchctl.model.records import Committed
from batchctl.store.commit import Committer
from batchctl.store.copying import copy_checked
from batchctl.store.extents import damaged
from batchctl.store.growing import Digest, growing
from batchctl.store.layout import RunLayout
from batchctl.store.ledger import Extent
from batchctl.store.payloads import Arrangement
from batchctl.store.table import write_table

_WINDOW = 4 << 20

Ordered = tuple[Arrangement, int, bytes]  # how the final file came about, its size and its SHA-256


class _GivenUpError(Exception):
    """Nobody asks for the result any more, or there can be none."""


class EarlyFinish:
    """Begun by making it, which lists what is committed so far; from then on the committer's owner calls `follow` after
    each commit. Only where the run is not sealed and has rows. What there is so far is listed at once: 1 us and 300
    bytes for each mini-batch."""

    def __init__(self, disk: Disk, layout: RunLayout, *, committer: Committer, order: Order, table: bool) -> None:
        self._disk = disk
        self._layout = layout
        self._committer = committer
        self._order = order
        self._header, self._types = committer.columns, committer.types
        self._batch = 0  # mini-batches before this one are concluded, and handed on
        self._items = 0  # handed on
        self._coming: SimpleQueue[Sequence[Extent] | None] = SimpleQueue()
        self._rows = _DurableRows(disk, layout.partial)
        self._given_up = False
        self._found: Ordered | None = None
        self._broken: StorageError | None = None
        self._thread = threading.Thread(
            target=self._work, args=(self._table if table else self._text,), name="batchctl-early", daemon=True
        )
        try:
            self._hand_on(
                self._extents([*committer.ledger.extents(by_offset=True)] if order is Order.COMPLETION else ())
            )
            self._thread.start()
        except BaseException:
            self._rows.__exit__(None, None, None)
            raise

    def follow(self, committed: Sequence[Committed]) -> None:
        """These have just become durable. On the thread that commits, between two commits."""
        if self._given_up:
            return
        if (self._committer.types, self._committer.columns) != (self._types, self._header):
            self.give_up()
            return
        late = [Extent(*one[1:3], *one[4:8]) for one in committed] if self._order is Order.COMPLETION else ()
        if late and min(map(_offset, late)) < self._rows.size:
            self.give_up()  # rows of a group that had to wait for its files: those behind them have come before
            return
        self._hand_on(self._extents(sorted(late, key=_offset)))

    def give_up(self) -> None:
        """There is no result, and room on the disk is given back as soon as may be. From any thread."""
        self._given_up = True
        self._coming.put(None)

    def result(self, order: Order) -> Ordered | None:
        """How the final file came about, once all items are concluded; None where `finish` has to do it. A table is at
        `layout.sorting` then, synced; its entry is not. Raises `StorageError`: what a disk says of a write or sync that
        failed, it may say once."""
        self._coming.put(None)
        self._thread.join()
        if self._broken is not None:
            raise self._broken
        found, complete = self._found, self._items == self._committer.ledger.committed
        if found is None or self._given_up or not complete or order is not self._order:
            return None
        in_place = found[0] is Arrangement.AS_COMMITTED
        return None if in_place and found[1] != self._committer.rows_size else found

    def close(self) -> None:
        """End it, whether there is a result or not; one that nobody has taken is removed."""
        self.give_up()
        self._thread.join()
        if self._found and not self._committer.ended:
            self._clear()

    # --- the committer's thread ---------------------------------------------------------------------------------------

    def _extents(self, late: Sequence[Extent]) -> Sequence[Extent]:
        """What may be handed on: in the order of the final file, and nothing will come before it any more."""
        if self._order is Order.COMPLETION:
            return late
        ledger, first = self._committer.ledger, self._batch
        end, count = first, len(ledger.bounds) - 1
        while end < count and not ledger.open_ranges(end):
            end += 1
        self._batch = end
        return [*ledger.extents_of(first, end)]

    def _hand_on(self, extents: Sequence[Extent]) -> None:
        self._rows.size = self._committer.rows_size
        self._items += sum([extent.items for extent in extents])
        if extents:
            self._coming.put(extents)
        if self._committer.ledger.complete:
            self._coming.put(None)

    # --- its own thread -----------------------------------------------------------------------------------------------

    def _work(self, make: Callable[[], Ordered]) -> None:
        try:
            with self._rows:
                self._found = make()
        except BaseException as error:  # noqa: BLE001 - what is not kept, `finish` meets again, where it can be told
            self._given_up = True
            self._keep(error)
            self._clear()

    def _keep(self, error: BaseException) -> None:
        """For `result`: the first that a disk may not say again."""
        if self._broken is None and isinstance(error, StorageError) and not isinstance(error, NoSpaceError):
            self._broken = error

    def _clear(self) -> None:
        with suppress(StorageError):
            self._disk.remove(self._layout.sorting)

    def _windows(self) -> Iterator[Sequence[Extent]]:
        """All that comes, in pieces of some MiB, until no more will come."""
        while (extents := self._coming.get()) is not None:
            at = 0
            while at < len(extents):
                if self._given_up:
                    raise _GivenUpError
                start, size = at, 0
                while at < len(extents) and size < _WINDOW:
                    size += extents[at].length
                    at += 1
                yield extents[start:at]
        if self._given_up:
            raise _GivenUpError

    def _text(self) -> Ordered:
        """Digest the rows where they lie, as long as they lie in order."""
        at = len(self._header)
        with self._disk.aside() as aside:
            digest = Digest(aside)
            digest.append(self._rows.pread(0, at))
            for window in self._windows():
                for extent in window:
                    if extent.length and extent.offset != at:
                        raise _GivenUpError
                    at += extent.length
                if copy_checked(self._rows, digest, window) is not None:
                    raise _GivenUpError
        return Arrangement.AS_COMMITTED, digest.size, digest.sha256

    def _table(self) -> Ordered:
        with growing(self._disk, self._layout.sorting) as target, self._disk.aside() as aside:
            try:
                write_table(self._rows, target, types=self._types, extents=self._checked(), base=0, aside=aside)
            except BaseException as error:
                self._keep(error)  # before anything else takes its place
                self.give_up()  # what is made aside may be waiting for more
                raise
        by_offset = self._order is Order.COMPLETION
        arrangement = Arrangement.TABLE_COMPACTED if by_offset else Arrangement.TABLE_BY_ITEM
        return arrangement, target.size, target.sha256

    def _checked(self) -> Iterator[Extent]:
        for window in self._windows():
            if next(damaged(self._rows, window), None) is not None:
                raise _GivenUpError
            yield from (extent for extent in window if extent.length)


class _DurableRows:
    """`Rows` over a .partial that is being appended to: `size` is what may be read of it so far."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._file = disk.open_read(path)
        self.size = self._file.size

    @property
    def new(self) -> ReadFile:
        return self

    @property
    def sealed(self) -> ReadFile:
        return self

    def pread(self, offset: int, length: int) -> bytes:
        try:
            return self._file.pread(offset, length)
        except StorageError as error:  # it will be read again, and then what is wrong with it has its word
            raise _GivenUpError from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)


def _offset(extent: Extent) -> int:
    return extent.offset
