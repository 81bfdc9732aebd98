"""What waits to become durable: the open commit group, the group under way, and the pause while storage is full.

A group closes after 100 ms, 8 MiB, 2,048 results, or when nothing else can happen until it is committed. Results that
are a little ahead of others may wait for the next one (plan_order.py). Only what came back from a commit counts; the
caller learns of it from `pump`.

Claims go with the next group. Where there is none for a second they are made durable by themselves, so that a machine
that goes down leaves the names of those who may have done it; after such an end at once, and the claim of a suspect
before it is handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from batchctl.errors import NoSpaceError, StoppedError
from batchctl.model.column_types import Columns
from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored
from batchctl.model.records import Charged, Quarantined
from batchctl.run.flusher import Flusher
from batchctl.run.plan_order import PlanOrder
from batchctl.store.commit import Committer, Group

if TYPE_CHECKING:
    from batchctl.store.early import EarlyFinish

GROUP_S = 0.1
GROUP_BYTES = 8 << 20
GROUP_RESULTS = 2048  # packed in some 10 ms, which the end of a run waits for
CLAIM_S = 1.0  # how long claims wait for a group
HELD_BYTES = 64 << 20  # above this much uncommitted, no further leases are given
LATER_BYTES = 32 << 20  # so much does not wait for others
_EACH = 700  # bytes of an answer and its claim as objects: small rows of many mini-batches wait for a slow disk, too
_PROBE_S = 1.0  # how often a full disk is tried again
_REST_MOST_S = 30.0  # by workers, whom a try may cost much


class Journal:
    """Collects outcomes and commits them in groups, on the flusher's thread. `clock` in monotonic seconds. `order`:
    where rows are wanted in plan order."""

    def __init__(
        self,
        committer: Committer,
        *,
        clock: Callable[[], float],
        wake: Callable[[], None],
        pause_max: float,
        order: PlanOrder | None = None,
    ) -> None:
        self._clock = clock
        self._pause_max = pause_max
        self._order = order
        self._committer = committer
        self.early: EarlyFinish | None = None  # told what was committed; to be set while nothing is `committing`
        self._flusher: Flusher[Group, Group] = Flusher(self._commit, done=wake)
        self._flying = Group()
        self._retry: Group | None = None
        self._retry_at = 0.0
        self.wary = False  # the machine went down under this run: claims wait for no group
        self._flying_bytes = 0
        self._rest_s = _PROBE_S
        self._rest_until: float | None = None  # paused for workers, not for a commit: when they may try again
        self.paused_since: float | None = None
        self.pause_reason = ""
        self._reset()

    def _reset(self) -> None:
        self._claims: list[Lease] = []
        self._claimed: float | None = None
        self._scored: list[Scored] = []
        self._charged: list[Charged] = []
        self._quarantined: list[Quarantined] = []
        self._columns = b""
        self._types: Columns = ()
        self._bytes = 0
        self._held = (0, 0)  # of these bytes and results, those that a group has left here
        self._opened: float | None = None

    def _commit(self, group: Group) -> Group:
        if group == Group(claims=group.claims):
            self._committer.note_claims(group.claims, sync=True)
            return group
        committed = self._committer.commit(group)
        if self.early:
            self.early.follow(committed)
        return group

    @property
    def committing(self) -> bool:
        """Is a group under way? While none is, the committer is the caller's."""
        return self._flusher.busy

    @property
    def empty(self) -> bool:
        """Nothing but claims is waiting, nothing is under way."""
        return self._opened is None and not self._flusher.busy and self._retry is None

    @property
    def is_full(self) -> bool:
        """So much is uncommitted that nobody should be given more to do."""
        if self._bytes + self._flying_bytes > HELD_BYTES:
            return True
        return self.paused_since is not None and (self._rest_until is None or self._clock() < self._rest_until)

    def claim(self, leases: Sequence[Lease], *, alone: bool) -> None:
        """Leases that are about to be handed out. `alone`: to a suspect, and the journal is `empty`; durable on return,
        but for a full disk."""
        if not leases:
            return
        self._claims.extend(leases)
        if self._claimed is None:
            self._claimed = self._clock()
        if alone and self.paused_since is None:
            try:
                self._committer.note_claims(self._claims, sync=True)
            except NoSpaceError:  # they stay, for a group that finds room; a claim is worth no pause
                return
            self._claims, self._claimed = [], None

    def add_scored(self, found: Sequence[Scored]) -> None:
        """Successful attempts."""
        self._scored += found
        self._bytes += _bytes_of(found)
        if self._opened is None:
            self._opened = self._clock()

    def add_records(self, records: Iterable[Charged | Quarantined]) -> None:
        """Charges and quarantines, in the order in which they were decided."""
        for record in records:
            if isinstance(record, Charged):
                self._charged.append(record)
            else:
                self._quarantined.append(record)
            if self._opened is None:
                self._opened = self._clock()

    def set_columns(self, header: bytes) -> None:
        """The csv header of the run became known."""
        self._columns = header

    def set_types(self, types: Columns) -> None:
        """The column types of the run became known, or known better."""
        self._types = types

    def due_in(self, now: float) -> float:
        """Seconds until `pump` has something to do by itself."""
        if self._retry is not None:
            return max(0.0, self._retry_at - now)
        if self._flusher.busy:
            return 60.0  # the flusher wakes the loop
        due = [] if self._opened is None else [self._opened + GROUP_S]
        if self._claimed is not None:
            due.append(self._claimed + self._claim_s)
        return max(0.0, min(due, default=now + 60.0) - now)

    @property
    def _claim_s(self) -> float:
        return 0.0 if self.wary else CLAIM_S

    def pump(self, *, idle: bool) -> Group | None:
        """Collect a finished commit and begin the next if it is due. `idle`: all workers wait.

        Returns the group that has just become durable. Raises StorageError (exit 74), StoppedError when a pause took
        longer than `pause_max`, and FilesRefusedError: `reject` that lease's result then, and the rest is tried again.
        """
        now = self._clock()
        finished: Group | None = None
        if self._flusher.busy:
            finished = self._collect(now)
        if not self._flusher.busy:
            if self._retry is not None:
                if now >= self._retry_at:
                    group, self._retry = self._retry, None
                    self._begin(group)
            elif self._is_due(now, idle=idle):
                closed = self._close_group(now, idle=idle)
                if closed is not None:
                    self._begin(closed)
        return finished

    def _is_due(self, now: float, *, idle: bool) -> bool:
        if self._are_claims_due(now):
            return True
        size, count = self._held
        full = self._bytes - size >= GROUP_BYTES or len(self._scored) - count >= GROUP_RESULTS
        return self._opened is not None and (idle or full or now - self._opened >= GROUP_S)

    def _are_claims_due(self, now: float) -> bool:
        return self._claimed is not None and now - self._claimed >= self._claim_s

    def reject(self, lease: Lease) -> Scored | None:
        """Take a refused result out of the group that was being committed, which is tried again without it."""
        group = self._flying
        found = next((scored for scored in group.scored if scored.lease == lease), None)
        rest = tuple(scored for scored in group.scored if scored is not found)
        self._retry, self._retry_at = group._replace(scored=rest), 0.0
        return found

    def _close_group(self, now: float, *, idle: bool) -> Group | None:
        """None: all that there is waits for others."""
        scored: Sequence[Scored] = self._scored
        later: Sequence[Scored] = ()
        if self._order is not None:
            # What failed counts together with what succeeded beside it, or a threshold would see the failures first.
            whole = idle or bool(self._quarantined)
            scored, later = self._order.cut(self._scored, now=now, whole=whole)
            if _bytes_of(later) >= LATER_BYTES:
                scored, later = self._order.cut(self._scored, now=now, whole=True)
        if later and not (scored or self._charged or self._quarantined or self._are_claims_due(now)):
            self._opened, self._held = now, (self._bytes, len(later))
            return None
        group = Group(
            claims=tuple(self._claims),
            scored=tuple(scored),
            charged=tuple(self._charged),
            quarantined=tuple(self._quarantined),
            columns=self._columns,
            types=self._types,
        )
        size = self._bytes
        self._reset()
        if later:
            self.add_scored(later)
            self._held = (self._bytes, len(later))
        self._flying_bytes = size - self._bytes
        return group

    def _begin(self, group: Group) -> None:
        self._flying = group
        self._flusher.submit(group)

    def _collect(self, now: float) -> Group | None:
        try:
            group = self._flusher.collect()
        except NoSpaceError as error:
            self._pause(error, now)
            return None
        if group is not None:
            self._flying_bytes = 0
            if self._rest_until is None or now >= self._rest_until:
                self.paused_since, self._rest_until, self._rest_s = None, None, _PROBE_S
        return group

    def no_room(self, reason: str) -> None:
        """A worker found the disk full: nobody is given more to do for a while, the longer the more often it was so.
        Raises StoppedError as `pump` does; commits go on, and one that comes after that while ends the pause."""
        now = self._clock()
        if self.paused_since is None or self._rest_until is not None:
            if self._rest_until is None or now >= self._rest_until:  # else it is another one of the same moment
                self._rest_until = now + self._rest_s
                self._rest_s = min(2 * self._rest_s, _REST_MOST_S)
            self._hold(reason, now)

    def _pause(self, error: NoSpaceError, now: float) -> None:
        self._rest_until = None
        self._hold(f"{error.message} ({error.where})" if error.where else error.message, now, error)
        self._retry, self._retry_at = self._flying, now + _PROBE_S

    def _hold(self, reason: str, now: float, error: NoSpaceError | None = None) -> None:
        if self.early:  # what it has written is room for rows
            self.early.give_up()
        if self.paused_since is None:
            self.paused_since = now
        self.pause_reason = reason
        if now - self.paused_since >= self._pause_max:
            raise StoppedError(
                f"storage stayed full for {self._pause_max:g} s: {reason}",
                where=error.where if error else "",
                remedy="free some space and run the same command again: it resumes",
            ) from error

    def give_up_pause(self) -> None:
        """Drop the group that waits for space, if one does: it counts for nothing and will be run again.

        The header of the run and its types stay: rows that find room later must not be the first thing in their file.
        """
        if self._retry is not None and self.paused_since is not None and self._rest_until is None:
            self._columns = self._columns or self._retry.columns
            self._types = self._types or self._retry.types
            self._retry = None

    def close(self) -> None:
        """End the threads; waits for the commit under way."""
        self._flusher.close()
        if self.early:
            self.early.close()


def _bytes_of(found: Sequence[Scored]) -> int:
    return sum([len(scored.rows) for scored in found]) + _EACH * len(found)
