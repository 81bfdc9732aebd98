"""From a complete ledger to the final file: order, sync, seal, rename. Begun again, it ends in the same bytes.

[assemble the script's files] -> copy in order -> sync -> DONE, sync -> rename, sync folder -> remove what is left over

After a retry the copy takes the rows of the old final file and the new ones, and replaces the old file by the rename.
Where rows are tables the copy is a parquet file that is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING

from batchctl import digests
from batchctl.errors import CorruptionError, NoSpaceError, StorageError, UsageError
from batchctl.files import Disk
from batchctl.model.job import Order
from batchctl.named_tuple import NamedTuple
from batchctl.store.assemble import assemble
from batchctl.store.commit import Committer, ProtocolError
from batchctl.store.copying import copy_checked, hand_on_checked
from batchctl.store.extents import damaged
from batchctl.store.frames import Frame
from batchctl.store.growing import Digest, GrowingFile, growing
from batchctl.store.layout import RunLayout
from batchctl.store.ledger import Extent, Ledger
from batchctl.store.log_bytes import LogBytes
from batchctl.store.payloads import Arrangement, Done
from batchctl.store.publish import digest_of
from batchctl.store.recover import cut_tail, make_durable, tail_of
from batchctl.store.replay import LogRecords, Replay, replay
from batchctl.store.rows import WrittenRows
from batchctl.store.state_directory import is_own

if TYPE_CHECKING:
    from batchctl.store.early import EarlyFinish, Ordered

_WINDOW = 4 << 20
_BLOCK = 1 << 20


class Finished(NamedTuple):
    """A finished run, its log checked (its data is for `verify`)."""

    records: LogRecords
    ledger: Ledger
    columns: bytes
    done: Done
    last: Frame  # of the log
    generation: int  # how often it was reopened


def finish(
    disk: Disk,
    layout: RunLayout,
    *,
    committer: Committer,
    order: Order,
    table: bool = False,
    early: EarlyFinish | None = None,
    alone: Callable[[], None] = lambda: None,
) -> Done:
    """Seal the run and bring the final file about; both durable on return, and the committer is closed. `table`: the
    rows are blocks, of which a parquet file is to be made. `early`: of this committer, where the final file was begun.
    `alone` is called when the rows are in order and before anything is sealed or tidied: it returns when nobody else
    writes in the run's folders any more.

    Every item must be concluded (`ProtocolError`). `NoSpaceError`: nothing is lost, call again when there is room.
    """
    if not committer.ledger.complete:
        raise ProtocolError("items are left that are neither committed nor quarantined")
    if committer.done is None:
        assemble(disk, layout, committer=committer)
    else:  # the seal stands, whatever order is asked for by now
        order = _order_of(committer.done)
    if not layout.rows:
        alone()
        _seal(disk, layout, committer=committer, rows=(0, 0, b"", Arrangement.NONE))
    else:
        committer.sync_rows()
        begun = early.result(order) if early and committer.done is None else None
        if begun and table:
            disk.sync_dir(layout.out)  # so that it is still there when DONE is
        arrangement, size, sha256 = begun or _ordered(disk, layout, committer=committer, order=order, table=table)
        alone()
        source = layout.partial if arrangement is Arrangement.AS_COMMITTED else layout.sorting
        _seal(disk, layout, committer=committer, rows=(committer.ledger.n_rows, size, sha256, arrangement))
        if committer.sealed:
            disk.replace(source, layout.final)
        elif not disk.rename_new(source, layout.final):
            raise StorageError(
                f"{layout.final} appeared while the run was going on",
                where=str(layout.final),
                remedy="move it away and run again",
            )
        disk.sync_dir(layout.out)  # before the rows in commit order go: one of the two must survive
    done = committer.done
    assert done is not None
    committer.close(clean=True)
    tidy(disk, layout)
    return done


def open_finished(disk: Disk, layout: RunLayout, *, run_id: str, bounds: Sequence[int], locked: bool) -> Finished:
    """A finished run, read and checked without repairing: any bad frame, missing DONE or odd size is `CorruptionError`.

    `locked`: the caller holds the lock; then the result is durable on return and leftovers of a crash are removed.
    """
    with _log_read(disk, layout) as data:
        found = replay(data, layout, run_id=run_id, bounds=bounds)
        _check_finished(disk, layout, found=found)
        if locked:
            _make_log_durable(disk, layout, found=found, data=data)
            tidy(disk, layout)
    frames = found.scan.frames
    assert found.done is not None
    records = LogRecords(disk, layout, frames=frames)
    return Finished(records, found.ledger, found.columns, found.done, frames[-1], found.generation)


@contextmanager
def _log_read(disk: Disk, layout: RunLayout) -> Iterator[LogBytes | memoryview]:
    if disk.stat(layout.log) is None:
        yield memoryview(b"")
        return
    with disk.open_read(layout.log) as source:
        yield LogBytes(source)


def _check_finished(disk: Disk, layout: RunLayout, *, found: Replay) -> None:
    final = disk.stat(layout.final) if layout.rows else None
    beside = layout.rows and disk.stat(layout.partial) is not None
    if beside and (found.done or not found.sealed) and not is_sealed(disk, layout, done=found.done):
        raise not_this_runs(layout)
    if (found.scan.torn and not beside) or found.done is None:  # beside rows it is a REOPEN that was cut off
        problem = found.scan.torn or "it is not sealed"
        raise CorruptionError(f"{layout.log} of a finished run is damaged: {problem}", where=str(layout.log))
    if layout.rows and (final is None or final.size != found.done.size):
        raise CorruptionError(f"{layout.final} is not the file that was sealed", where=str(layout.final))
    if not found.ledger.complete or found.waiting:
        raise CorruptionError(f"{layout.log} is sealed, but items are missing", where=str(layout.log))


def not_this_runs(layout: RunLayout) -> UsageError:
    """For a file of the result's name beside the rows of a run that is not finished."""
    return UsageError(
        f"{layout.final} is not this run's result: the run is not finished",
        where=str(layout.final),
        remedy="move it away and run again",
    )


def is_sealed(disk: Disk, layout: RunLayout, *, done: Done | None) -> bool:
    # Asked only while the rows in commit order are there: a crash may have left them, or somebody else's file of the
    # result's name came before the rename.
    return done is not None and digest_of(disk, layout.final) == (done.size, done.sha256)


def _make_log_durable(disk: Disk, layout: RunLayout, *, found: Replay, data: LogBytes | memoryview) -> None:
    # The rename of the final file, or (summary_only) DONE itself, may have been the last thing before a kill.
    log = disk.open_append(layout.log)
    try:
        cut_tail(log, good_end=found.scan.good_end)
        make_durable(disk, layout, log=log, rows=None, tail=tail_of(data, found.scan))
    finally:
        log.close()


def _order_of(done: Done) -> Order:
    by_item = done.arrangement in (Arrangement.BY_ITEM, Arrangement.TABLE_BY_ITEM)
    return Order.PLAN if by_item else Order.COMPLETION


def tidy(disk: Disk, layout: RunLayout) -> None:
    """Remove what only an unfinished run needs; the final file is durable. Some full file systems have no room to
    remove a file: the result is complete all the same, and the next command tries again."""
    with suppress(NoSpaceError):
        leftovers = [path for path in (layout.partial, layout.sorting) if layout.rows and disk.stat(path) is not None]
        for path in leftovers:
            disk.remove(path)
        if leftovers:  # else a power cut after the end may bring them back beside the result, where nobody tidies them
            disk.sync_dir(layout.out)
        for folder in (layout.stage, layout.parts, layout.spill):
            disk.remove_tree(folder)
        for name in disk.listdir(layout.directory):
            # A life before was killed as it replaced a file that this one has no word for. In a state directory, which
            # the user named, other names are other people's.
            if name.endswith(".tmp") and (layout.state is None or is_own(name)):
                disk.remove(layout.directory / name)


def _ordered(disk: Disk, layout: RunLayout, *, committer: Committer, order: Order, table: bool) -> Ordered:
    """The rows as they are to be, in one file; checked, where they are not sealed yet."""
    try:
        return (_make_table if table else _arrange)(disk, layout, committer=committer, order=order)
    except CorruptionError:
        with suppress(StorageError):
            disk.remove(layout.sorting)  # it was begun before all was checked, and nobody will go on with it
        raise


def _refuse_damaged(rows: WrittenRows, extents: Iterable[Extent], *, layout: RunLayout, sealed: Done | None) -> None:
    for extent in damaged(rows, extents):
        raise _are_damaged(extent, layout=layout, sealed=sealed)


def _are_damaged(extent: Extent, *, layout: RunLayout, sealed: Done | None) -> CorruptionError:
    last = extent.first + extent.items - 1
    old = sealed is not None and extent.offset < sealed.end
    where = layout.final if old else layout.partial
    return CorruptionError(f"{where}: the rows of items {extent.first} to {last} are damaged", where=str(where))


def _checked(
    rows: WrittenRows, extents: Sequence[Extent], *, layout: RunLayout, sealed: Done | None
) -> Iterator[Extent]:
    """The same, each looked at before it comes: Arrow's readers believe what they are given. The old rows are in a file
    that answers for all of them together."""
    base, at = sealed.end if sealed else 0, 0
    while at < len(extents):
        end, size = at, 0
        while end < len(extents) and size < _WINDOW:
            size += extents[end].length
            end += 1
        new = (extent for extent in extents[at:end] if extent.offset >= base)
        _refuse_damaged(rows, new, layout=layout, sealed=sealed)
        yield from extents[at:end]
        at = end


def _seal(disk: Disk, layout: RunLayout, *, committer: Committer, rows: tuple[int, int, bytes, Arrangement]) -> None:
    n_rows, size, sha256, arrangement = rows
    sha256 = sha256 or bytes(32)
    sealed = committer.done
    if sealed is None:
        length, log_sha256 = committer.log_size, digests.sha256(committer.log_size)
        with disk.open_read(layout.log) as log:
            for at in range(0, length, _BLOCK):
                log_sha256.update(log.pread(at, min(_BLOCK, length - at)))
        committer.seal(Done(length, log_sha256.digest(), n_rows, size, sha256, arrangement))
    elif (sealed.size, sealed.sha256) != (size, sha256):
        raise CorruptionError(f"{layout.partial} is not what was sealed", where=str(layout.partial))


def _arrange(disk: Disk, layout: RunLayout, *, committer: Committer, order: Order) -> Ordered:
    """Bring the rows into order: nothing to do, or a synced copy at `layout.sorting`."""
    by_offset, header, sealed = order is Order.COMPLETION, (0, len(committer.columns)), committer.sealed

    def pieces() -> Iterator[tuple[int, int]]:
        return chain((header,), committer.ledger.pieces(by_offset=by_offset))

    def copied(target: GrowingFile | Digest) -> None:
        with WrittenRows(disk, layout, sealed=sealed) as rows:
            target.append(rows.pread(0, len(committer.columns)))
            bad = copy_checked(rows, target, committer.ledger.extents(by_offset=by_offset))
        if bad is not None:
            raise _are_damaged(bad, layout=layout, sealed=sealed)

    def handed_on(target: Digest, checks: Iterable[tuple[int, int]]) -> None:
        at = len(committer.columns)
        with WrittenRows(disk, layout, sealed=None) as rows:
            target.append(rows.pread(0, at))
            bad = hand_on_checked(rows, target, checks, at=at)
        if bad is not None:
            raise _are_damaged(next(committer.ledger.extents_of(bad, bad + 1)), layout=layout, sealed=None)

    ledger, size = committer.ledger, committer.rows_size
    checks = None if sealed or by_offset else ledger.checks_in_a_row(len(committer.columns), size)
    doubtful = not sealed and (by_offset or ledger.in_parts)  # else the ledger has said all
    if checks is not None or (doubtful and _contiguous(pieces(), end=size)):
        if committer.done:
            return (Arrangement.AS_COMMITTED, *digest_of(disk, layout.partial))
        with disk.aside() as aside:
            digest = Digest(aside, size=size)
            if checks is None:
                copied(digest)
            else:
                handed_on(digest, checks)
        return Arrangement.AS_COMMITTED, digest.size, digest.sha256
    with growing(disk, layout.sorting, size=size) as target:
        copied(target)
    arrangement = Arrangement.COMPACTED if order is Order.COMPLETION else Arrangement.BY_ITEM
    return arrangement, target.size, target.sha256


def _make_table(disk: Disk, layout: RunLayout, *, committer: Committer, order: Order) -> Ordered:
    """Make the parquet file, synced, at `layout.sorting`; or find it there, if it is sealed already: another version
    of pyarrow would not make the same bytes of it."""
    from batchctl.store.table import write_table  # which runs without tables can do without

    done, sealed = committer.done, committer.sealed
    if done and disk.stat(layout.sorting) is not None and digest_of(disk, layout.sorting) == (done.size, done.sha256):
        return Arrangement(done.arrangement), done.size, done.sha256
    extents = [extent for extent in committer.ledger.extents() if extent.length]
    if order is Order.COMPLETION:
        extents.sort(key=lambda extent: extent.offset)
    base = sealed.end if sealed else 0
    if not done and sealed and digest_of(disk, layout.final) != (sealed.size, sealed.sha256):
        raise CorruptionError(f"{layout.final} is not the file that was sealed", where=str(layout.final))
    try:
        with (
            growing(disk, layout.sorting, size=committer.rows_size) as target,
            WrittenRows(disk, layout, sealed=sealed) as rows,
            disk.aside() as aside,  # ends first: it reads them
        ):
            checked = extents if done else _checked(rows, extents, layout=layout, sealed=sealed)
            write_table(rows, target, types=committer.types, extents=checked, base=base, aside=aside)
    except CorruptionError as error:
        if error.where:
            raise
        raise CorruptionError(f"{layout.partial}: {error.message}", where=str(layout.partial)) from error
    disk.sync_dir(layout.out)  # so that it is still there when DONE is
    arrangement = Arrangement.TABLE_COMPACTED if order is Order.COMPLETION else Arrangement.TABLE_BY_ITEM
    return arrangement, target.size, target.sha256


def _contiguous(pieces: Iterable[tuple[int, int]], *, end: int) -> bool:
    at = 0
    for offset, length in pieces:
        if offset != at:
            return False
        at += length
    return at == end
