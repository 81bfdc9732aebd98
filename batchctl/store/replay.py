"""What a checkpoint log means: the ledger, what was in flight, which files still wait, the seal.

Reads only. A frame whose CRC holds but which contradicts the rest is corruption: no crash writes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter

from batchctl.digests import sha256
from batchctl.errors import CorruptionError
from batchctl.files import Disk
from batchctl.model.column_types import Columns, parse_columns, refines
from batchctl.model.lease import Lease
from batchctl.model.records import (
    Charged,
    Claimed,
    ClaimedGroup,
    Committed,
    CommittedGroup,
    EpochClosed,
    EpochOpened,
    Quarantined,
    Record,
    Reopened,
)
from batchctl.named_tuple import NamedTuple
from batchctl.store.frames import HEADER_SIZE, Frame, FrameType, Scan, scan
from batchctl.store.layout import RunLayout
from batchctl.store.ledger import Ledger
from batchctl.store.log_bytes import LogBytes
from batchctl.store.names import Names
from batchctl.store.parts import Parts
from batchctl.store.payloads import (
    CLAIM,
    COMMIT,
    MALFORMED,
    Arrangement,
    Done,
    Publication,
    unpack_done,
    unpack_epoch,
    unpack_failures,
    unpack_publication,
    unpack_reopened,
    unpack_wholes,
)

_BLOCK = 1 << 20
_MOST_ROWS = 1 << 63  # bytes; no file is as large, and the ledger marks states by the numbers above
_lease_of = itemgetter(0, 1, 2, 3)


class PastEpoch(NamedTuple):
    """An earlier coordinator: `in_flight` was handed out and came to nothing known; empty where it closed in order."""

    number: int
    boot_id: str
    closed: bool
    in_flight: tuple[Lease, ...]


class Replay:
    """A log, read. `waiting`: PUBLISH or PART without COMMIT. `published`: the names of all announced files."""

    def __init__(self, scan: Scan, ledger: Ledger) -> None:
        self.scan = scan
        self.ledger = ledger
        self.columns = b""
        self.types: Columns = ()  # of a table, as far as rows have fixed them
        self.waiting: dict[Lease, Publication] = {}
        self.published = Names()
        self.parts = Parts()
        self.past: list[PastEpoch] = []
        self.done: Done | None = None
        # The seal of the final file that a retry has reopened, and that stays until the next.
        self.sealed: Done | None = None
        self.generation = 0  # how often that was
        self._opened: EpochOpened | None = None
        self._closed = False
        self._claims: set[tuple[int, ...]] = set()

    @property
    def rows_end(self) -> int:
        """Where the rows end that the log vouches for."""
        waiting = (one.committed.offset + one.committed.length for one in self.waiting.values())
        base = self.sealed.end if self.sealed else 0
        return max(self.ledger.rows_end, len(self.columns), base, *waiting)

    def read(self, frame: Frame, payload: memoryview) -> None:
        """One frame on; raises one of MALFORMED for what cannot be."""
        if self.done and frame.kind != FrameType.REOPEN:
            raise ValueError("a frame after DONE")
        if (self._opened is None) != (frame.kind == FrameType.EPOCH and frame.epoch == 1):
            raise ValueError("the log does not begin with its first epoch")
        _READERS[FrameType(frame.kind)](self, frame, payload)

    def end_epoch(self) -> None:
        if self._opened:
            flying = () if self._closed else tuple(sorted(Lease(*claim) for claim in self._claims))
            self.past.append(PastEpoch(self._opened.number, self._opened.boot_id, self._closed, flying))
        self._opened, self._closed = None, False
        self._claims = set()

    def _epoch(self, frame: Frame, payload: memoryview) -> None:
        self.end_epoch()
        self._opened = unpack_epoch(bytes(payload), number=frame.epoch)

    def _claim(self, frame: Frame, payload: memoryview) -> None:
        self._claims.update(CLAIM.iter_unpack(payload))

    def _fail(self, frame: Frame, payload: memoryview) -> None:
        self._claims.difference_update(lease for lease, _ in unpack_failures(bytes(payload)))

    def _commit(self, frame: Frame, payload: memoryview) -> None:
        records = list(COMMIT.iter_unpack(payload))
        self.ledger.commit(records)
        if self.ledger.rows_end > min(frame.rows_durable, _MOST_ROWS):
            raise ValueError("commits of rows that were not yet on disk")
        if self._claims:
            self._claims.difference_update(map(_lease_of, records))
        if self.waiting:
            for record in records:
                self.waiting.pop(Lease(*_lease_of(record)), None)

    def _quarantine(self, frame: Frame, payload: memoryview) -> None:
        for lease, _ in unpack_failures(bytes(payload)):
            self.ledger.quarantine(lease)

    def _columns(self, frame: Frame, payload: memoryview) -> None:
        if self.columns:
            raise ValueError("two headers")
        self.columns = bytes(payload)

    def _types(self, frame: Frame, payload: memoryview) -> None:
        types = parse_columns(bytes(payload))
        if not refines(self.types, types):
            raise ValueError("column types that were fixed otherwise")
        self.types = types

    def _publish(self, frame: Frame, payload: memoryview) -> None:
        publication = unpack_publication(bytes(payload), kind=FrameType(frame.kind))
        lease = Lease(*publication.committed[:4])
        self.waiting[lease] = publication
        part = publication.kind is FrameType.PART
        for file in publication.files:
            if self.published.add(file.path, lease) != lease and not part:
                raise ValueError(f"two leases published {file.path!r}")
        if part:
            self.parts.add(lease, publication.files, digests=publication.digests)

    def _assembled(self, frame: Frame, payload: memoryview) -> None:
        if self.waiting or not self.ledger.complete:
            raise ValueError("files were assembled before all of them were written")
        self.parts.assembled(unpack_wholes(bytes(payload)))

    def _close(self, frame: Frame, payload: memoryview) -> None:
        self._closed = True

    def _done(self, frame: Frame, payload: memoryview) -> None:
        self.done = unpack_done(bytes(payload))
        if self.done.log_length != frame.start:
            raise ValueError("DONE of a log of another length")
        if not self.parts.complete:
            raise ValueError("DONE before every file was assembled")

    def _reopen(self, frame: Frame, payload: memoryview) -> None:
        self.reopen(unpack_reopened(payload))

    def reopen(self, reopened: Reopened) -> None:
        """A retry begins: of a sealed run, whose rows now lie where its final file has them, or of an open one."""
        if reopened.generation != self.generation + 1:
            raise ValueError(f"generation {reopened.generation} after {self.generation}")
        done = self.done
        if done:
            if done.arrangement not in {Arrangement.NONE, Arrangement.AS_COMMITTED}:
                by_offset = done.arrangement in {Arrangement.COMPACTED, Arrangement.TABLE_COMPACTED}
                self.ledger.place(header=len(self.columns), size=done.end, by_offset=by_offset, counted=done.is_table)
            self.sealed, self.done = done, None
            self._closed, self._claims = True, set()
        for one in reopened.ranges:
            self.ledger.reopen(one)
        self.generation += 1


_READERS: dict[FrameType, Callable[[Replay, Frame, memoryview], None]] = {
    FrameType.EPOCH: Replay._epoch,
    FrameType.CLAIM: Replay._claim,
    FrameType.FAIL: Replay._fail,
    FrameType.COMMIT: Replay._commit,
    FrameType.QUARANTINE: Replay._quarantine,
    FrameType.COLUMNS: Replay._columns,
    FrameType.PUBLISH: Replay._publish,
    FrameType.CLOSE: Replay._close,
    FrameType.DONE: Replay._done,
    FrameType.REOPEN: Replay._reopen,
    FrameType.PART: Replay._publish,
    FrameType.ASSEMBLED: Replay._assembled,
    FrameType.TYPES: Replay._types,
}


def replay(data: memoryview | LogBytes, layout: RunLayout, *, run_id: str, bounds: Sequence[int]) -> Replay:
    """Read a whole log up to its good end; `CorruptionError` for damage that a crash cannot explain."""
    where = str(layout.log)
    found = Replay(scan(data, run_id=run_id, where=where), Ledger(bounds))
    for frame in found.scan.frames:
        try:
            found.read(frame, data[frame.start + HEADER_SIZE : frame.end])
        except MALFORMED as error:
            raise contradiction(layout, frame.start, error) from error
    if found.waiting and not _fits(found):
        raise CorruptionError(f"{where} contradicts itself: files were announced for what is concluded", where=where)
    done = found.done or found.sealed
    if done and _digest(data, done.log_length) != done.log_sha256:
        raise CorruptionError(f"{where} is not the log that was sealed", where=where)
    found.end_epoch()
    return found


def _digest(data: memoryview | LogBytes, length: int) -> bytes:
    """SHA-256 of the first `length` bytes, or of all there are."""
    found = sha256(length)
    for at in range(0, min(length, len(data)), _BLOCK):
        found.update(data[at : min(at + _BLOCK, length)])
    return found.digest()


def _fits(found: Replay) -> bool:
    """Can all commits that wait for their files be counted, beside each other and what is concluded?"""
    ledger, end = found.ledger, 0
    for batch, first, count, *_, ok, failed in sorted(one.committed for one in found.waiting.values()):
        last = first + count
        if batch >= len(ledger.bounds) - 1 or ok + failed != count or count == 0 or first < end:
            return False
        if not any(low <= first and last <= low + length for low, length in ledger.open_ranges(batch)):
            return False
        end = last
    return True


def contradiction(layout: RunLayout, start: int, error: Exception) -> CorruptionError:
    """The error for a frame at byte `start` whose CRC holds and which cannot be: no crash writes one."""
    where = str(layout.log)
    return CorruptionError(f"{where} contradicts itself at byte {start}: {error}", where=where)


def read_records(disk: Disk, layout: RunLayout, *, run_id: str) -> LogRecords:
    """The records of a log as it stands, whoever writes it meanwhile: what lies behind its good end is not there yet.

    Needs no lock. A run without a log has none. `CorruptionError` for damage below what was durable.
    """
    if disk.stat(layout.log) is None:
        return LogRecords(disk, layout, frames=())
    with disk.open_read(layout.log) as log:
        return LogRecords(disk, layout, frames=scan(LogBytes(log), run_id=run_id, where=str(layout.log)).frames)


class LogRecords:
    """The records of a log in order, read anew by each iteration; the frames have been checked. `then`: what recovery
    itself has committed behind them."""

    __slots__ = ("_disk", "_frames", "_layout", "_then")

    def __init__(self, disk: Disk, layout: RunLayout, *, frames: Sequence[Frame], then: Sequence[Record] = ()) -> None:
        self._then = then
        self._disk = disk
        self._layout = layout
        self._frames = frames

    def only(self, *kinds: FrameType) -> LogRecords:
        """Those that frames of these types hold; reads no other frames. Not what recovery has committed."""
        return LogRecords(self._disk, self._layout, frames=[one for one in self._frames if one.kind in kinds])

    def __iter__(self) -> Iterator[Record]:
        yield from self._told_by(records_of)
        yield from self._then

    def grouped(self) -> Iterator[Record]:
        """The same, commits and claims of a frame together."""
        yield from self._told_by(_grouped_records_of)
        yield from self._then

    def _told_by(self, told: Callable[..., Iterator[Record]]) -> Iterator[Record]:
        if not self._frames:  # then there may be no log either
            return
        with self._disk.open_read(self._layout.log) as log:
            for kind, _, epoch, _, _, _, _, start, end in self._frames:
                if kind in _TOLD:
                    payload = log.pread(start + HEADER_SIZE, end - start - HEADER_SIZE)
                    try:
                        yield from told(FrameType(kind), payload, epoch=epoch)
                    except MALFORMED as error:
                        raise contradiction(self._layout, start, error) from error


_TOLD = frozenset(FrameType) - {FrameType.COLUMNS, FrameType.TYPES, FrameType.PUBLISH, FrameType.DONE}


def records_of(kind: FrameType, payload: bytes, *, epoch: int) -> Iterator[Record]:
    """What one frame says, in the words of the rest of the program; nothing for the store's own frames."""
    for told in _grouped_records_of(kind, payload, epoch=epoch):
        if isinstance(told, CommittedGroup):
            yield from map(Committed._make, told.records)
        elif isinstance(told, ClaimedGroup):
            yield from (Claimed(Lease._make(claim)) for claim in told.leases)
        else:
            yield told


def _grouped_records_of(kind: FrameType, payload: bytes, *, epoch: int) -> Iterator[Record]:
    if kind is FrameType.COMMIT:
        yield CommittedGroup(list(COMMIT.iter_unpack(payload)))
    elif kind is FrameType.CLAIM:
        yield ClaimedGroup(list(CLAIM.iter_unpack(payload)))
    elif kind is FrameType.FAIL:
        yield from (Charged(lease, failure) for lease, failure in unpack_failures(payload))
    elif kind is FrameType.QUARANTINE:
        yield from (Quarantined(lease, failure) for lease, failure in unpack_failures(payload))
    elif kind is FrameType.REOPEN:
        yield unpack_reopened(payload)
    elif kind is FrameType.EPOCH:
        yield unpack_epoch(payload, number=epoch)
    elif kind is FrameType.CLOSE:
        yield EpochClosed(epoch)
