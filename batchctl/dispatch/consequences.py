"""Does to an odd part what the rules say: retry.py where it is charged, shortage.py where memory was short."""

from __future__ import annotations

from batchctl.dispatch.isolate import Part, halves
from batchctl.dispatch.odd import OddParts
from batchctl.dispatch.retry import Decision, RetryPolicy, Verdict, decide
from batchctl.dispatch.shortage import concluded, decide_shortage, portions
from batchctl.model.outcome import Failure, FailureKind, Shortage
from batchctl.model.records import Charged, Quarantined

_KILLED = (Shortage.MEMORY, Shortage.SUSPECTED)
_OFTEN = 2  # returns after which it is to be seen who is to blame for the next


class Consequences:
    """Each method takes a part that is outstanding and in no queue: afterwards it waits, is replaced by its pieces, or
    (QUARANTINE) is gone from the books. `most_items`: see FileQueue."""

    def __init__(self, policy: RetryPolicy, odd: OddParts) -> None:
        self._policy = policy
        self._odd = odd
        self.most_items = 0

    def settle(self, part: Part, *, divide: bool = True) -> tuple[Decision, str]:
        """The part was charged, now or in the log. `divide`: see decide."""
        decision, reason = decide(
            self._policy,
            charges=part.charges,
            repeated=part.repeated,
            items=part.count,
            is_part=part.isolated,
            starved=part.failure is not None and part.failure.shortage in _KILLED,
            divide=divide,
        )
        if decision is Decision.RETRY:
            self._odd.enqueue(part)
        else:
            pieces = halves(part) if decision is Decision.SPLIT else ()
            self._odd.replace(part, pieces)
            for piece in pieces:
                self._odd.enqueue(piece)
        return decision, reason

    def charge(self, part: Part, failure: Failure, *, divide: bool = True) -> Verdict:
        """An attempt counts against the part."""
        lease = part.lease()
        part.charge(failure)
        self._odd.unclear.discard(part.first)
        decision, reason = self.settle(part, divide=divide)
        records: tuple[Charged | Quarantined, ...] = (Charged(lease, failure),)
        if decision is Decision.QUARANTINE:
            records += (Quarantined(lease, failure),)
        return Verdict(decision, records, reason)

    def give_back(self, part: Part, *, began: bool, counted: bool) -> Verdict | None:
        """It came to nothing through no fault of its own: None, and it waits before everything else."""
        part.repeats += counted
        part.shared += began and not counted
        if part.repeats + part.shared >= _OFTEN and part.batch not in self._odd.suspects:
            self._odd.unclear.add(part.first)
        if part.repeats > self._policy.max_repeats:
            why = f"came back {part.repeats} times without an outcome"
            return self.charge(part, Failure(FailureKind.LOST, "NoOutcome", why))
        part.attempt += began
        self._odd.enqueue(part, front=True)
        return None

    def starve(self, part: Part, failure: Failure, *, alone: bool) -> Verdict:
        """Memory was short."""
        decision, reason = decide_shortage(
            self._policy,
            failure.shortage,
            times=part.was_short(failure.shortage),
            alone=alone,
            items=part.count,
            most_items=self.most_items,
        )
        if decision is not Decision.SPLIT:
            part.repeats += 1
        if decision is None or part.repeats > self._policy.max_repeats:
            return self.charge(part, concluded(failure, alone=alone))
        part.attempt += 1
        if decision is Decision.SPLIT:
            half = (part.count + 1) // 2
            part = self._divided(part, most=min(self.most_items or half, half))
        elif decision is Decision.ALONE:
            self._odd.hold(part.batch)
        self._odd.enqueue(part, front=True)
        return Verdict(decision, (), reason)

    def fitting(self, part: Part) -> Part:
        """The part, or the first of the portions that fit, which is in no queue either; the others are next. What was
        charged before stays as it is: it has its attempts as a whole."""
        if self._policy.isolate and 0 < self.most_items < part.count and not part.charges:
            return self._divided(part, most=self.most_items)
        return part

    def _divided(self, part: Part, *, most: int) -> Part:
        first, *others = portions(part, most=most)
        self._odd.replace(part, (first, *others))
        for other in reversed(others):
            self._odd.enqueue(other, front=True)
        return first
