"""The file queue: every mini-batch is waiting, leased or done, and who gets what next is decided here.

Life of a queue: `replay` each record of the checkpoint log in order (the EpochOpened that this coordinator appended
included), then `settle()` once, then the run: `take`, `scored`, `committed`, `failed`, `returned`.

A million ordinary mini-batches cost one byte each: FRESH -> LEASED -> (SCORED) -> DONE, found by fresh.py. Whatever has
a history (charged, returned, in parts, suspect) is ODD: its outstanding parts are objects in a dict, gone when done.

What the caller may rely on:

- Every item is in exactly one outstanding part, or counted once as ok, failed or quarantined.
- `is_current` is the fence: an outcome for a lease that is not out is refused (False, None or no verdict) and changes
  nothing. Of two workers with equal leases the engine drops the old incarnation; the queue cannot tell them apart.
- Order: returned leases first (they are innocent), then retries and parts, then untouched mini-batches in plan order
  or the one given, then suspects, each with nothing else leased.
- Replaying the log of a run gives the queue that the run had, with what was leased waiting again; uncharged repeats
  are forgotten, as they count within one epoch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from batchctl.dispatch.fresh import FRESH, TAKEN, FreshBatches
from batchctl.dispatch.isolate import LEASED, SCORED, WAITING, Part, carve, halves
from batchctl.dispatch.pending import Counts, Pending, pending_of
from batchctl.dispatch.reopen import counts_of, reopened_parts
from batchctl.dispatch.retry import Decision, RetryPolicy, Verdict, decide
from batchctl.dispatch.suspects import CrashWatch
from batchctl.errors import CorruptionError
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind
from batchctl.model.records import Charged, Claimed, Committed, EpochClosed, EpochOpened, Quarantined, Record, Reopened

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
        self._odd: dict[int, dict[int, Part]] = {}  # mini-batch -> its outstanding parts, by first item
        self._soon: OrderedDict[int, Part] = OrderedDict()  # waiting parts by first item, in the order of taking
        self._held: OrderedDict[int, Part] = OrderedDict()  # waiting parts of suspects
        self._suspects: set[int] = set()
        self._watch = CrashWatch()
        self._settled = True
        self._leased = self._done = 0
        self._ok = self._failed = self._quarantined = 0

    @property
    def finished(self) -> bool:
        """Is every item committed or quarantined?"""
        return self._done == self._n

    @property
    def counts(self) -> Counts:
        waiting = self._fresh.left + len(self._soon) + len(self._held)
        return Counts(
            self._bounds[self._n], self._ok, self._failed, self._quarantined, self._n, self._done, waiting, self._leased
        )

    def pending(self) -> Pending:
        """What is left, parts in plan order. Costs as much as there are parts."""
        return pending_of(self._odd, self._suspects, fresh=self._fresh.left, leased=self._leased)

    def is_current(self, lease: Lease) -> bool:
        """Is this lease out and without an outcome? Ask before anything is done with an outcome."""
        batch = lease.batch
        if batch >= self._n:
            return False
        if self._state[batch] == _LEASED:
            return self._is_whole(lease)
        part = self._odd.get(batch, {}).get(lease.first)
        return part is not None and part.state == LEASED and part.lease() == lease

    # --- the log ------------------------------------------------------------------------------------------------------

    def replay(self, record: Record) -> None:
        """Take a record of the checkpoint log into account. CorruptionError where it contradicts what came before.

        Only keeps the books: what charges lead to is decided by `settle`, under the policy of today.
        """
        if self._leased:
            raise RuntimeError("replay comes before the first take")
        self._settled = False
        if isinstance(record, Committed):
            batch, first, count = record.batch, record.first, record.count
            self._watch.resolved(first)
            self._ok += record.ok
            self._failed += record.failed
            # The common case, a whole mini-batch that nothing happened to, must cost next to nothing.
            fresh = batch < self._n and self._state[batch] == _FRESH
            if fresh and first == self._bounds[batch] and first + count == self._bounds[batch + 1]:
                self._state[batch] = _DONE
                self._fresh.left -= 1
                self._done += 1
            else:
                self._carve(batch, first, count)
                self._shrunk(batch)
        elif isinstance(record, Claimed):
            self._watch.claimed(record.lease.batch, first=record.lease.first)
        elif isinstance(record, Charged | Quarantined):
            batch, first, count, attempt = record.lease
            self._watch.resolved(first)
            part = self._carve(batch, first, count)
            if isinstance(record, Charged):
                part.attempt = max(part.attempt, attempt)
                part.charge(record.failure)
                self._odd[batch][first] = part
            else:
                self._quarantined += count
                self._shrunk(batch)
        elif isinstance(record, Reopened):
            self._reopen(record)
        elif isinstance(record, EpochOpened | EpochClosed):
            self._watch.epoch(record)

    def _reopen(self, record: Reopened) -> None:
        self._watch.epoch(EpochClosed(0))  # what was out when the run was done is nobody's suspect
        for part in reopened_parts(record.ranges):
            self._done -= self._state[part.batch] == _DONE
            self._state[part.batch] = _ODD
            self._odd.setdefault(part.batch, {})[part.first] = part
        ok, failed, quarantined = counts_of(record.ranges)
        self._ok -= ok
        self._failed -= failed
        self._quarantined -= quarantined

    def settle(self) -> tuple[Quarantined, ...]:
        """End of the replay: decide, under today's policy, what the charges in the log lead to.

        Returns quarantines that the log does not hold yet (a crash came between, or the policy is stricter now): they
        count from here on and must be logged before the first lease is.
        """
        decided: list[Quarantined] = []
        if self._settled:
            return ()
        self._settled = True
        self.suspects(self._watch.suspects())
        # All outstanding parts are put in their queues below; what `suspects` queued may be about to be given up.
        self._soon.clear()
        self._held.clear()
        for batch in sorted(self._odd):
            for _, part in sorted(self._odd[batch].items()):
                failure = part.failure
                if failure is None:
                    self._enqueue(part)
                    continue
                lease = part.lease()._replace(attempt=part.attempt - 1)  # the one charged last, not the next
                if self._settle_part(part)[0] is Decision.QUARANTINE:
                    decided.append(Quarantined(lease, failure))
        return tuple(decided)

    def suspects(self, batches: Iterable[int]) -> None:
        """These mini-batches may crash the machine: they run last, and alone. `settle` names those that the log shows;
        a mini-batch that is done is ignored, one that is out is held back when it returns."""
        for batch in batches:
            if self._state[batch] == _DONE or batch in self._suspects:
                continue
            self._suspects.add(batch)
            if self._state[batch] in (_LEASED, _SCORED):
                continue
            for first, part in sorted(self._parts(batch).items()):
                if part.state == WAITING:
                    self._soon.pop(first, None)
                    self._held[first] = part

    # --- the run ------------------------------------------------------------------------------------------------------

    def take(self, n: int) -> list[Lease]:
        """At most `n` leases, which are out from now on. None: nothing is waiting, or a suspect must be alone."""
        if not self._settled:
            raise RuntimeError("settle() comes between the replay and the first take")
        soon, fresh = self._soon, self._fresh
        if not soon and fresh.left:  # as nearly always
            leases = fresh.take(n)
            self._leased += len(leases)
            return leases
        leases = []
        while soon and len(leases) < n:
            part = soon.popitem(last=False)[1]
            part.state = LEASED
            leases.append(part.lease())
        if fresh.left:
            leases += fresh.take(n - len(leases))
        elif self._held and n > 0 and not leases and not self._leased:
            part = self._held.popitem(last=False)[1]
            part.state = LEASED
            leases.append(part.lease())
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
            self._odd[lease.batch][lease.first].state = SCORED
        return True

    def unscored(self, lease: Lease) -> None:
        """The rows of a `scored` lease cannot be committed after all: it is out again, and about to be charged."""
        if self._state[lease.batch] == _SCORED:
            self._state[lease.batch] = _LEASED
        else:
            self._odd[lease.batch][lease.first].state = LEASED

    def committed(self, lease: Lease, ok: int, failed: int) -> bool:
        """The lease's rows are durable: its items are done. False, and nothing counted: it was not out."""
        batch = lease.batch
        if batch >= self._n:
            return False
        state = self._state[batch]
        if state in (_LEASED, _SCORED):
            if not self._is_whole(lease):
                return False
            self._state[batch] = _DONE
            self._done += 1
        else:
            parts = self._odd.get(batch, {})
            part = parts.get(lease.first)
            if part is None or part.state == WAITING or part.lease() != lease:
                return False
            del parts[lease.first]
            self._shrunk(batch)
        self._leased -= 1
        self._ok += ok
        self._failed += failed
        return True

    def failed(self, lease: Lease, failure: Failure) -> Verdict | None:
        """The attempt is charged. None: the lease was not out. Else log the verdict's records."""
        part = self._take_back(lease)
        return None if part is None else self._charged(part, failure)

    def returned(self, leases: Iterable[Lease], *, began: bool = False) -> tuple[Verdict, ...]:
        """Leases that came to nothing through no fault of theirs: waiting again, before everything else.

        `began`: `run` had begun or ended (rows that died unsent), so that the next lease has the next attempt number
        and whatever the first left behind (staged files) is not taken for its own. A lease that returns for the
        sixth time in this epoch without a charge in between is charged as lost: a verdict for each of those.
        """
        verdicts: list[Verdict] = []
        # Each goes to the front: the last one first, so that they end up in plan order.
        for lease in sorted(leases, reverse=True):
            part = self._take_back(lease)
            if part is None:
                continue
            part.repeats += 1
            if part.repeats > self._policy.max_repeats:
                why = f"came back {part.repeats} times without an outcome"
                verdicts.append(self._charged(part, Failure(FailureKind.LOST, "NoOutcome", why)))
                continue
            part.attempt += began
            self._enqueue(part, front=True)
        return tuple(verdicts)

    def _is_whole(self, lease: Lease) -> bool:
        """Is it the first lease of the whole mini-batch?"""
        batch, first, count, attempt = lease
        return attempt == 1 and first == self._bounds[batch] and first + count == self._bounds[batch + 1]

    def _parts(self, batch: int) -> dict[int, Part]:
        """The outstanding parts of a mini-batch; a fresh one becomes odd, with one part."""
        if self._state[batch] == _FRESH:
            self._fresh.left -= 1
        elif self._state[batch] == _ODD:
            return self._odd[batch]
        first, end = self._bounds[batch], self._bounds[batch + 1]
        self._state[batch] = _ODD
        self._odd[batch] = {first: Part(batch, first, count=end - first)}
        return self._odd[batch]

    def _carve(self, batch: int, first: int, count: int) -> Part:
        if batch >= self._n or count < 1 or first < self._bounds[batch] or first + count > self._bounds[batch + 1]:
            raise CorruptionError(f"the checkpoint log names {count} items from {first} of mini-batch {batch}: no such")
        return carve({} if self._state[batch] == _DONE else self._parts(batch), first, count=count)

    def _shrunk(self, batch: int) -> None:
        """A part left the mini-batch for good: it is done when that was the last one."""
        if not self._odd[batch]:
            del self._odd[batch]
            self._suspects.discard(batch)
            self._state[batch] = _DONE
            self._done += 1

    def _enqueue(self, part: Part, *, front: bool = False) -> None:
        queue = self._held if part.batch in self._suspects else self._soon
        part.state = WAITING
        queue[part.first] = part
        if front:
            queue.move_to_end(part.first, last=False)

    def _take_back(self, lease: Lease) -> Part | None:
        """The part of a lease that is out and has no outcome: no longer out, in no queue. None: stale."""
        if not self.is_current(lease):
            return None
        self._leased -= 1
        return self._parts(lease.batch)[lease.first]

    def _charged(self, part: Part, failure: Failure) -> Verdict:
        lease = part.lease()
        part.charge(failure)
        decision, reason = self._settle_part(part)
        records: tuple[Charged | Quarantined, ...] = (Charged(lease, failure),)
        if decision is Decision.QUARANTINE:
            records += (Quarantined(lease, failure),)
        return Verdict(decision, records, reason)

    def _settle_part(self, part: Part) -> tuple[Decision, str]:
        """Decide about a part that was charged and is in no queue, and do it."""
        batch, n = part.batch, part.count
        is_part = n < self._bounds[batch + 1] - self._bounds[batch] and not part.reopened
        decision, reason = decide(self._policy, charges=part.charges, repeated=part.repeated, items=n, is_part=is_part)
        if decision is Decision.RETRY:
            self._enqueue(part)
            return decision, reason
        parts = self._odd[batch]
        del parts[part.first]
        if decision is Decision.SPLIT:
            for half in halves(part):
                parts[half.first] = half
                self._enqueue(half)
        else:
            self._quarantined += n
            self._shrunk(batch)
        return decision, reason
