"""The file queue: every mini-batch is waiting, leased or done, and who gets what next is decided here.

Life of a queue: `replay` each record of the checkpoint log in order (the EpochOpened that this coordinator appended
included), then `settle()` once, then the run: `take`, `scored`, `committed`, `failed` and so on.

A million ordinary mini-batches cost one byte each: FRESH -> LEASED -> (SCORED) -> DONE, found by fresh.py. Whatever has
a history (charged, returned, in parts, suspect) is ODD: its outstanding parts are objects in a dict, gone when done.

What the caller may rely on:

- Every item is in exactly one outstanding part, or counted once as ok, failed or quarantined.
- `is_current` is the fence: an outcome for a lease that is not out is refused (False, None or no verdict) and changes
  nothing. Of two workers with equal leases the engine drops the old incarnation; the queue cannot tell them apart.
- Order: returned leases first (they are innocent), then retries and parts, then untouched mini-batches in plan order
  or the one given, then suspects, each with nothing else leased.
- Replaying the log of a run gives the queue that the run had, with what was leased waiting again; uncharged repeats
  and divisions (shortage.py) are forgotten, as they count within one epoch.
- No lease returns uncharged more than `max_repeats` times in an epoch: the next one is charged. Not counted is what
  something else brings to an end: a pause, or another lease of the same worker that has to answer for the return.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from batchctl.dispatch.consequences import Consequences
from batchctl.dispatch.fresh import FRESH, TAKEN, FreshBatches
from batchctl.dispatch.isolate import LEASED, SCORED, WAITING, Part, carve
from batchctl.dispatch.odd import OddParts
from batchctl.dispatch.pending import Counts, Pending, pending_of
from batchctl.dispatch.reopen import counts_of, reopened_parts
from batchctl.dispatch.retry import Decision, RetryPolicy, Verdict
from batchctl.dispatch.suspects import CrashWatch, machine_down
from batchctl.dispatch.whole import move_whole
from batchctl.errors import CorruptionError
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, Scored, Shortage
from batchctl.model.records import Charged, Claims, Commits, EpochClosed, EpochOpened, Quarantined, Record, Reopened

# States of a mini-batch, one byte each.
_FRESH, _LEASED, _SCORED, _DONE, _ODD = FRESH, TAKEN, 2, 3, 4


class FileQueue:
    """The queue that all workers of a run pull from. Not thread-safe: the conductor owns it."""

    def __init__(self, bounds: Sequence[int], policy: RetryPolicy, *, order: Sequence[int] | None = None) -> None:
        """`bounds`: the first item of each mini-batch, then the number of items. It is kept, never copied: a
        memoryview of u32 over the mapped plan file will do, and must outlive the queue. `order`: see FreshBatches."""
        self._bounds = bounds
        self._policy = policy
        self._n = len(bounds) - 1
        self._state = bytearray(self._n)
        self._fresh = FreshBatches(bounds, self._state, order=order)
        self._odd = OddParts()
        self._after = Consequences(policy, self._odd)
        self._watch = CrashWatch()
        self._settled = True
        self._leased = self._done = self._ok = self._failed = self._quarantined = 0

    @property
    def finished(self) -> bool:
        """Is every item committed or quarantined?"""
        return self._done == self._n

    @property
    def counts(self) -> Counts:
        n, waiting, concluded = self._n, self.shareable + self._odd.held, (self._ok, self._failed, self._quarantined)
        return Counts(self._bounds[n], *concluded, n, self._done, waiting, self._leased, len(self._odd.unclear))

    @property
    def most_items(self) -> int:
        """The largest part that has fitted into a GPU's memory after a larger one had not; 0: not known. From then on
        larger ones are leased in parts, where isolation is allowed. May be set, to what an earlier run has found."""
        return self._after.most_items

    @most_items.setter
    def most_items(self, items: int) -> None:
        self._after.most_items = max(0, items)

    @property
    def only_suspects(self) -> bool:
        """Is what is left to be had alone? The machine is to be its own: dismiss all workers but one before `take`."""
        return bool(self._odd.held) and not (self._leased or self._fresh.left or self._odd.soon)

    @property
    def shareable(self) -> int:
        """How many wait that several workers may share."""
        return self._fresh.left + self._odd.soon

    @property
    def frontier(self) -> tuple[int, int]:
        """In plan order, the last mini-batch that is done and the first that is out as a whole; -1: none is."""
        return self._state.rfind(_DONE), self._state.find(_LEASED)

    def pending(self) -> Pending:
        """What is left, parts in plan order. Costs as much as there are parts."""
        return pending_of(self._odd.by_batch, self._odd.suspects, fresh=self._fresh.left, leased=self._leased)

    def is_current(self, lease: Lease) -> bool:
        """Is this lease out and without an outcome? Ask before anything is done with an outcome."""
        if lease.batch >= self._n:
            return False
        if self._state[lease.batch] == _LEASED:
            return self._is_whole(lease)
        part = self._odd.at(lease)
        return part is not None and part.state == LEASED and part.lease() == lease

    # --- the log ------------------------------------------------------------------------------------------------------

    def replay(self, record: Record) -> None:
        """Take a record of the checkpoint log into account. CorruptionError where it contradicts what came before.

        Only keeps the books: what charges lead to is decided by `settle`, under the policy of today.
        """
        if self._leased:
            raise RuntimeError("replay comes before the first take")
        self._settled = False
        if isinstance(record, Commits):
            self._replay_commits(record.records)
        elif isinstance(record, Claims):
            self._watch.claimed(record.leases)
        elif isinstance(record, Charged | Quarantined):
            batch, first, count, attempt = record.lease
            self._watch.resolved(first, attempt=attempt)
            part = self._carve(batch, first, count)
            if isinstance(record, Charged):
                part.attempt = max(part.attempt, attempt)
                part.charge(record.failure)
                self._odd.add(part)
            else:
                self._quarantined += count
                self._shrunk(batch)
        elif isinstance(record, Reopened):
            self._reopen(record)
        elif isinstance(record, EpochOpened | EpochClosed):
            self._watch.epoch(record)

    def _replay_commits(self, records: Sequence[tuple[int, ...]]) -> None:
        self._watch.committed(records)
        others, ok, failed = self._fresh.conclude(records, state=_DONE)
        self._ok += ok
        self._failed += failed
        self._done += len(records) - len(others)
        for batch, first, count, *_ in others:
            self._carve(batch, first, count)
            self._shrunk(batch)

    def _reopen(self, record: Reopened) -> None:
        self._watch.epoch(EpochClosed(0))  # what was out when the run was done is nobody's suspect
        for part in reopened_parts(record.ranges):
            self._done -= self._state[part.batch] == _DONE
            self._state[part.batch] = _ODD
            self._odd.add(part)
        ok, failed, quarantined = counts_of(record.ranges)
        self._ok, self._failed = self._ok - ok, self._failed - failed
        self._quarantined -= quarantined

    def settle(self) -> tuple[Charged | Quarantined, ...]:
        """End of the replay: decide, under today's policy, what the charges in the log lead to.

        Returns what the log does not hold yet: charges of those who took the machine down, and quarantines (a crash
        came between, or the policy is stricter now). They count from here on; log them before the first lease.
        """
        if self._settled:
            return ()
        decided: list[Charged | Quarantined] = []
        for lease in self._watch.guilty():
            decided.append(Charged(lease, machine_down()))
            self.replay(decided[-1])
        self._settled = True
        self.suspects(self._watch.suspects())
        # All outstanding parts are put in their queues below; what `suspects` queued may be about to be given up.
        self._odd.unqueue()
        for part in list(self._odd):
            failure = part.failure
            if failure is None:
                self._odd.enqueue(part)
                continue
            lease = part.lease()._replace(attempt=part.attempt - 1)  # the one charged last, not the next
            if self._after.settle(part)[0] is Decision.QUARANTINE:
                decided.append(Quarantined(lease, failure))
                self._given_up(part)
        return tuple(decided)

    def suspects(self, batches: Iterable[int]) -> None:
        """These mini-batches may crash the machine: they run last, and alone. `settle` names those that the log shows;
        a mini-batch that is done is ignored, one that is out is held back when it returns."""
        for batch in batches:
            if self._state[batch] == _FRESH:
                self._parts(batch)
            if self._state[batch] != _DONE and batch not in self._odd.suspects:
                self._odd.hold(batch)

    # --- the run ------------------------------------------------------------------------------------------------------

    def take(self, n: int) -> list[Lease]:
        """At most `n` leases, which are out from now on. None: nothing is waiting, or a suspect must be alone."""
        if not self._settled:
            raise RuntimeError("settle() comes between the replay and the first take")
        odd, fresh = self._odd, self._fresh
        leases: list[Lease] = []
        while len(leases) < n and (odd.soon or self._by_parts()):
            leases.append(self._after.fitting(odd.next()).lend())
        if fresh.left:
            leases += fresh.take(n - len(leases))
        elif odd.held and n > 0 and not leases and not self._leased:
            leases.append(odd.next_held().lend())
        self._leased += len(leases)
        return leases

    def scored(self, lease: Lease) -> bool:
        """The rows of this lease have arrived and will be committed. False: not out, drop them.

        From here until `committed`, a second outcome for the lease is refused; a mere `is_current` leaves that gap.
        """
        if not self.is_current(lease):
            return False
        if self._state[lease.batch] == _LEASED:
            self._state[lease.batch] = _SCORED
        else:
            self._odd.of(lease.batch)[lease.first].state = SCORED
        return True

    def all_scored(self, found: Sequence[Scored]) -> Sequence[Scored]:
        """As `scored` for each, in order; returns those that were out."""
        _, _, others = move_whole(found, self._state, bounds=self._bounds, before=_LEASED, after=_SCORED)
        refused = {id(one) for one in others if not self.scored(one.lease)}
        return [one for one in found if id(one) not in refused] if refused else found

    def unscored(self, lease: Lease) -> None:
        """The rows of a `scored` lease cannot be committed after all: it is out again, and about to be charged."""
        if self._state[lease.batch] == _SCORED:
            self._state[lease.batch] = _LEASED
        else:
            self._odd.of(lease.batch)[lease.first].state = LEASED

    def committed(self, lease: Lease, ok: int, failed: int) -> bool:
        """The lease's rows are durable: its items are done. False, and nothing counted: it was not out."""
        batch = lease.batch
        if batch >= self._n:
            return False
        if self._state[batch] in (_LEASED, _SCORED):
            if not self._is_whole(lease):
                return False
            self._state[batch] = _DONE
            self._done += 1
        else:
            part = self._odd.at(lease)
            if part is None or part.state == WAITING or part.lease() != lease:
                return False
            if part.portion:
                self.most_items = max(self.most_items, part.count)
            self._odd.replace(part, ())
            self._shrunk(batch)
        self._leased -= 1
        self._ok += ok
        self._failed += failed
        return True

    def all_committed(self, found: Sequence[Scored]) -> None:
        """As `committed` for each, in order."""
        ok, failed, others = move_whole(found, self._state, bounds=self._bounds, before=_SCORED, after=_DONE)
        whole = len(found) - len(others)
        self._done, self._leased = self._done + whole, self._leased - whole
        self._ok, self._failed = self._ok + ok, self._failed + failed
        for one in others:
            self.committed(one.lease, one.ok, one.failed)

    def failed(self, lease: Lease, failure: Failure, *, divide: bool = True) -> Verdict | None:
        """The attempt is charged. None: the lease was not out. Else log the verdict's records. `divide`: see decide."""
        part = self._take_back(lease)
        return None if part is None else self._concluded(part, self._after.charge(part, failure, divide=divide))

    def returned(self, leases: Iterable[Lease], *, began: bool = False, counted: bool = True) -> tuple[Verdict, ...]:
        """Leases that came to nothing through no fault of theirs: waiting again, before everything else.

        `began`: `run` had begun or ended (rows that died unsent), so that the next lease has the next attempt number
        and whatever the first left behind (staged files) is not taken for its own. A lease that returns for the
        sixth time without a charge in between is charged as lost: a verdict for each. Not `counted`: see above.
        """
        verdicts: list[Verdict] = []
        # Each goes to the front: the last one first, so that they end up in plan order.
        for lease in sorted(leases, reverse=True):
            part = self._take_back(lease)
            if part is None:
                continue
            verdict = self._after.give_back(part, began=began, counted=counted)
            if verdict is not None:
                verdicts.append(self._concluded(part, verdict))
        return tuple(verdicts)

    def starved(self, lease: Lease, failure: Failure, *, alone: bool) -> Verdict | None:
        """The attempt came to nothing for want of memory (`failure.shortage`; without one it has merely failed). None:
        the lease was not out. Else log the verdict's records, if it is charged. `alone`: see `decide_shortage`."""
        if failure.shortage is Shortage.NONE:
            return self.failed(lease, failure)
        part = self._take_back(lease)
        return None if part is None else self._concluded(part, self._after.starve(part, failure, alone=alone))

    def _by_parts(self) -> bool:
        """Where only so many items fit, untouched mini-batches go out as odd parts. False: not so, or none is left."""
        if not (self.most_items and self._policy.isolate and self._fresh.left):
            return False
        for part in self._parts(self._fresh.next()).values():
            self._odd.enqueue(part)
        return True

    def _is_whole(self, lease: Lease) -> bool:
        """Is it the first lease of the whole mini-batch?"""
        batch, first, count, attempt = lease
        return attempt == 1 and first == self._bounds[batch] and first + count == self._bounds[batch + 1]

    def _parts(self, batch: int) -> dict[int, Part]:
        """The outstanding parts of a mini-batch; a fresh one becomes odd, with one part."""
        if self._state[batch] == _FRESH:
            self._fresh.left -= 1
        elif self._state[batch] == _ODD:
            return self._odd.of(batch)
        first, end = self._bounds[batch], self._bounds[batch + 1]
        self._state[batch] = _ODD
        self._odd.add(Part(batch, first, count=end - first))
        return self._odd.of(batch)

    def _carve(self, batch: int, first: int, count: int) -> Part:
        if batch >= self._n or count < 1 or first < self._bounds[batch] or first + count > self._bounds[batch + 1]:
            raise CorruptionError(f"the checkpoint log names {count} items from {first} of mini-batch {batch}: no such")
        return carve({} if self._state[batch] == _DONE else self._parts(batch), first, count=count)

    def _shrunk(self, batch: int) -> None:
        """A part left the mini-batch for good: it is done when that was the last one."""
        if self._odd.settle_gone(batch):
            self._state[batch] = _DONE
            self._done += 1

    def _take_back(self, lease: Lease) -> Part | None:
        """The part of a lease that is out and has no outcome: no longer out, in no queue. None: stale."""
        if not self.is_current(lease):
            return None
        self._leased -= 1
        return self._parts(lease.batch)[lease.first]

    def _concluded(self, part: Part, verdict: Verdict) -> Verdict:
        if verdict.decision is Decision.QUARANTINE:
            self._given_up(part)
        return verdict

    def _given_up(self, part: Part) -> None:
        self._quarantined += part.count
        self._shrunk(part.batch)
