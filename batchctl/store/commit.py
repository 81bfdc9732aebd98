"""Group commit: rows, sync, log, sync, and only then is anything acknowledged.

    append rows -> sync rows -> [PUBLISH -> sync log -> files into OUT, synced] -> frames -> sync log -> return

(PART and parts instead of PUBLISH and OUT where several mini-batches may write one file.) A commit record in the log
therefore implies that its rows, and its files, are on disk. `commit` may run on a thread of its own, one at a time.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from operator import itemgetter

from batchctl.errors import BatchctlError, NoSpaceError, StorageError
from batchctl.files import Disk
from batchctl.model.column_types import Columns, pack_columns, refines
from batchctl.model.job import OnCollision
from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored
from batchctl.model.records import Charged, Committed, Quarantined
from batchctl.named_tuple import NamedTuple
from batchctl.store.checkpoint_log import LogWriter
from batchctl.store.frames import FrameType
from batchctl.store.layout import RunLayout
from batchctl.store.ledger import Ledger
from batchctl.store.names import Names
from batchctl.store.parts import Parts, Whole
from batchctl.store.payloads import (
    Done,
    Publication,
    pack_claims,
    pack_commits,
    pack_done,
    pack_failures,
    pack_publication,
    pack_wholes,
)
from batchctl.store.publish import FilesRefusedError, check_files, digests_of, make_staged_durable, place_files
from batchctl.store.rows import RowsFile

# Once per mini-batch: half the time of Committed(...), and less than that of an attribute.
_new_committed = tuple.__new__
_SPILL, _STAGED, _FILES = map(Scored._fields.index, ("spill", "staged", "files"))


class ProtocolError(BatchctlError):
    """A bug of ours: the caller asked for what the store must never do. Nothing was written."""


class Group(NamedTuple):
    """What is committed together. `columns`: the header, where it became known (csv; may be repeated). `types`: the
    column types of a table, where they became known, or known better (may be repeated)."""

    claims: Sequence[Lease] = ()
    scored: Sequence[Scored] = ()
    charged: Sequence[Charged] = ()
    quarantined: Sequence[Quarantined] = ()
    columns: bytes = b""
    types: Columns = ()


class Committer:
    """The open end of a run: appends groups, then is sealed or closed. Made by `recover` only."""

    def __init__(
        self,
        disk: Disk,
        layout: RunLayout,
        *,
        log: LogWriter,
        rows: RowsFile | None,
        ledger: Ledger,
        columns: bytes,
        types: Columns,
        published: Names,
        parts: Parts,
        on_collision: OnCollision,
        done: Done | None,
        sealed: Done | None = None,
    ) -> None:
        self._disk = disk
        self._layout = layout
        self._log = log
        self._rows = rows
        self._published = published
        self._waiting: dict[Lease, Publication] = {}  # PUBLISH is durable, COMMIT did not fit
        self._dead = ""
        self._good = (log.mark(), rows.size if rows else 0)
        self.ledger = ledger
        self.columns = columns
        self.types = types
        self.parts = parts
        self.on_collision = on_collision
        self.done = done
        self.sealed = sealed  # what stands at the final file's name, where a retry has reopened it

    @property
    def epoch(self) -> int:
        return self._log.epoch

    @property
    def log_size(self) -> int:
        return self._log.size

    @property
    def ended(self) -> bool:
        """Is it sealed, or may it be, for all that is known?"""
        return bool(self.done or self._dead)

    @property
    def rows_size(self) -> int:
        return self._rows.size if self._rows else 0

    def commit(self, group: Group) -> tuple[Committed, ...]:
        """All of the group is durable on return, and counted in `ledger`.

        `FilesRefusedError`, `ProtocolError`: nothing was written. `NoSpaceError`: nothing counts, both files are cut
        back, the same group may be committed later. Any other `StorageError`: this committer refuses all further use.
        """
        try:
            self._admit(group)
        except FilesRefusedError as error:
            self._clear_refused(group, error.lease)
            raise
        if group.claims and not (group.scored or group.charged or group.quarantined or group.columns or group.types):
            self.note_claims(group.claims)
            return ()
        self._good = (self._log.mark(), self.rows_size)
        return self._guarded(group)

    def note_claims(self, leases: Sequence[Lease], *, sync: bool = False) -> None:
        """Write that these were handed out; it only names suspects after a crash. `sync`: durable on return."""
        self._refuse_if_over()
        self._good = (self._log.mark(), self.rows_size)
        self._guarded(Group(claims=leases), sync=sync)

    def close(self, *, clean: bool) -> None:
        """Release the files; `clean`: nothing is in flight, and that is durable on return."""
        try:
            if clean and not self.done and not self._dead:
                self._good = (self._log.mark(), self.rows_size)
                self._write_frames([(FrameType.CLOSE, b"")], sync=True)
        finally:
            self._log.close()
            if self._rows:
                self._rows.close()

    def assembled(self, wholes: Sequence[Whole]) -> None:
        """Write ASSEMBLED: these files come to OUT as they are named here; durable on return. No piece comes after."""
        self._write_last([(FrameType.ASSEMBLED, payload) for payload in pack_wholes(wholes)])
        self.parts.assembled(wholes)
        self._dead = ""

    def seal(self, done: Done) -> None:
        """Write DONE; durable on return. Nothing is committed after it."""
        self._write_last([(FrameType.DONE, pack_done(done))])
        self.done = done
        self._dead = ""

    def _write_last(self, frames: Sequence[tuple[FrameType, bytes]]) -> None:
        self._refuse_if_over()
        self._good = (self._log.mark(), self.rows_size)
        # Until we know that it was not: a signal may strike between any two steps, and nothing may follow an end.
        self._dead = "it was cut off at its end"
        try:
            self._write_frames(frames, sync=True)
        except NoSpaceError:
            self._dead = ""
            self._cut_back()
            raise
        except StorageError as error:
            self._dead = error.message
            raise

    def sync_rows(self) -> None:
        """Rows as they stand are durable on return (a cut after a full disk included)."""
        if self._dead:
            self._refuse_if_over()
        if self._rows:
            self._rows.sync()

    def _admit(self, group: Group) -> None:
        self._refuse_if_over()
        if group.columns and group.columns != self.columns and (self.columns or self.rows_size):
            raise ProtocolError("the rows have a header already, and it is another one")
        if group.types and not refines(self.types, group.types):
            raise ProtocolError("the column types of the run are fixed otherwise")
        for lease in _concluded_twice(group, self.ledger):
            raise ProtocolError(f"{lease} is concluded already")
        for one in () if self._rows and _are_announced(group.scored) else group.scored:
            crc = one.crc if one.spill else zlib.crc32(one.rows)
            if crc != one.crc or (not one.spill and len(one.rows) != one.length) or (one.length and not self._rows):
                raise ProtocolError(f"the rows of {one.lease} are not those that were announced")
        fresh = [one for one in group.scored if one[_FILES] and one.lease not in self._waiting]
        shared = self.on_collision is not OnCollision.FAIL
        if fresh:
            check_files(self._disk, self._layout, scored=fresh, published=self._published, shared=shared)

    def _refuse_if_over(self) -> None:
        if self._dead:
            raise StorageError(f"storage failed before: {self._dead}", where=str(self._layout.log))
        if self.done:
            raise ProtocolError("the run is sealed")

    def _guarded(self, group: Group, *, sync: bool = True) -> tuple[Committed, ...]:
        try:
            return self._write(group, sync=sync)
        except NoSpaceError:
            self._cut_back()
            raise
        except FilesRefusedError as error:
            self._cut_back()
            self._clear_refused(group, error.lease)
            raise
        except StorageError as error:
            self._dead = error.message
            raise

    def _clear_refused(self, group: Group, lease: Lease) -> None:
        """There may be many like it."""
        for one in group.scored:
            if one.lease == lease:
                self._clear(one)

    def _cut_back(self) -> None:
        mark, rows_size = self._good
        try:
            self._log.cut(mark)  # first, and synced: no commit may come back without its rows
            if self._rows:
                self._rows.cut(rows_size)
        except StorageError as error:
            self._dead = error.message
            raise

    def _write(self, group: Group, *, sync: bool) -> tuple[Committed, ...]:
        header = group.columns if not self.columns else b""
        committed = self._write_rows(group, header=header)
        frames: list[tuple[FrameType, bytes]] = [(FrameType.COLUMNS, header)] if header else []
        if group.types and group.types != self.types:
            frames.append((FrameType.TYPES, pack_columns(group.types)))
        if any(map(itemgetter(_FILES), group.scored)):
            self._publish(group, committed=committed, frames=frames)
            frames = []
        if group.claims:
            frames.append((FrameType.CLAIM, pack_claims(group.claims)))
        frames += [(FrameType.FAIL, payload) for payload in pack_failures(group.charged)]
        if committed:
            frames.append((FrameType.COMMIT, pack_commits(committed)))
        frames += [(FrameType.QUARANTINE, payload) for payload in pack_failures(group.quarantined)]
        if frames:
            self._write_frames(frames, sync=sync)
        self._conclude(group, committed=committed, header=header)
        return tuple(committed)

    def _write_rows(self, group: Group, *, header: bytes) -> list[Committed]:
        waiting = self._waiting
        fresh = [one for one in group.scored if one.lease not in waiting] if waiting else group.scored
        placed: Sequence[int] = [0] * len(fresh)
        if self._rows and (fresh or header):
            placed = self._rows.append(header, fresh)
            if self._rows.size > self._good[1]:
                self._sync_rows_of_group()
        committed = [
            _new_committed(Committed, lease + (offset, length, crc, n_rows, ok, failed))  # noqa: RUF005  half the time
            for (lease, _, length, crc, n_rows, ok, failed, _, _, _, _, _), offset in zip(fresh, placed, strict=True)
        ]
        if not waiting:
            return committed
        made = dict(zip((one.lease for one in fresh), committed, strict=True))
        return [made[one.lease] if one.lease in made else waiting[one.lease].committed for one in group.scored]

    def _sync_rows_of_group(self) -> None:
        if self._rows:
            self._rows.sync()

    def _publish(self, group: Group, *, committed: Sequence[Committed], frames: list[tuple[FrameType, bytes]]) -> None:
        publications = []
        kind = FrameType.PUBLISH if self.on_collision is OnCollision.FAIL else FrameType.PART
        staged = [one for one in group.scored if one.files and one.lease not in self._waiting]
        make_staged_durable(self._disk, self._layout, scored=staged)
        for one, record in zip(group.scored, committed, strict=True):
            if one.files and one.lease not in self._waiting:
                digests = digests_of(self._disk, self._layout, scored=one)
                publications.append(Publication(record, one.staged, tuple(one.files), digests, kind))
                frames.append((kind, pack_publication(publications[-1])))
        if frames:
            self._write_frames(frames, sync=True)
            # From here the files go to their places whatever happens: a full disk takes no rows or frames back.
            self._good = (self._log.mark(), self.rows_size)
            self.columns = self.columns or group.columns
            self.types = group.types or self.types
            for publication in publications:
                lease = Lease(*publication.committed[:4])
                self._waiting[lease] = publication
                for file in publication.files:
                    self._published.add(file.path, lease)
                if kind is FrameType.PART:
                    self.parts.add(lease, publication.files, digests=publication.digests)
        place_files(self._disk, self._layout, publications=[*self._waiting.values()])

    def _write_frames(self, frames: Sequence[tuple[FrameType, bytes]], *, sync: bool) -> None:
        self._log.write(frames, rows_durable=self._rows.durable if self._rows else 0)
        if sync:
            self._log.sync()

    def _conclude(self, group: Group, *, committed: Sequence[Committed], header: bytes) -> None:
        self.ledger.commit(committed)
        for record in group.quarantined:
            self.ledger.quarantine(record.lease)
        self.columns = self.columns or header
        self.types = group.types or self.types
        for one in group.scored if self._waiting else ():
            self._waiting.pop(one.lease, None)
        for one in [one for one in group.scored if one[_SPILL] or one[_STAGED]]:
            self._clear(one)

    def _clear(self, one: Scored) -> None:
        """Nobody asks any more for what this attempt left. Some full file systems have no room to remove a file: what
        stays is removed at the end, and meanwhile it must not take back what counts."""
        with suppress(NoSpaceError):
            if one.spill:
                self._disk.remove(self._layout.spill / one.spill)
            if one.staged:
                self._disk.remove_tree(self._layout.stage / one.staged)


def _are_announced(scored: Sequence[Scored]) -> bool:
    """Whether the rows are in memory and what was announced, all of them; the short way to a look at each."""
    crc32 = zlib.crc32
    for _, rows, length, crc, _, _, _, _, spill, _, _, _ in scored:
        if spill or crc32(rows) != crc or len(rows) != length:
            return False
    return True


def _concluded_twice(group: Group, ledger: Ledger) -> list[Lease]:
    batches = [one[0][0] for one in group.scored] + [record.lease.batch for record in group.quarantined]
    apart = len(set(batches)) == len(batches)  # of different mini-batches: nothing can overlap
    if apart and ledger.untouched(batches):
        return []
    ranges = [one.lease for one in group.scored] + [record.lease for record in group.quarantined]
    again = [lease for lease in ranges if ledger.concluded(lease)]
    if apart:
        return again
    ordered = sorted(ranges, key=lambda lease: lease.first)
    again += [b for a, b in pairwise(ordered) if a.first + a.count > b.first]
    return again
