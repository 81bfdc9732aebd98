"""Isolation: find the guilty items of a mini-batch by halving what failed, again and again.

A part is a range of item numbers; the plan never changes. The attempt number of a part goes on where its parent's
stopped: it counts how often *these items* were handed out and began to run. A mini-batch of 8 that failed 4 times
becomes two parts of 4 with attempt 5; if one fails, its two parts of 2 have attempt 6. So (first item, attempt) is
never used twice within an epoch for different ranges, and an outcome names its lease without doubt.
"""

from __future__ import annotations

from batchctl.dispatch.retry import same_cause
from batchctl.errors import CorruptionError
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, Shortage

WAITING, LEASED, SCORED = range(3)


class Part:
    """A range of items with a history: charged before, returned before, or less than its mini-batch. Mutable.

    `charges` counts charged failures of exactly this range, `repeats` the uncharged returns since it was last charged
    (in this epoch: they are not in the log), `attempt` is the number of the next lease. `isolated`: cut from a range
    that was charged, where its items have had their attempts. `portion`: cut from one that was too large for a GPU.
    `shared`: returns that others in the same hands answered for, though it had begun: it may have been this one.
    """

    __slots__ = (
        "_short",
        "attempt",
        "batch",
        "charges",
        "count",
        "failure",
        "first",
        "isolated",
        "portion",
        "repeated",
        "repeats",
        "shared",
        "state",
    )

    def __init__(self, batch: int, first: int, *, count: int, attempt: int = 1) -> None:
        self.batch = batch
        self.first = first
        self.count = count
        self.attempt = attempt
        self.charges = 0
        self.repeats = self.shared = 0
        self.repeated = self.isolated = self.portion = False
        self._short = (0, 0)  # how often these items were short of memory and of GPU memory, in this epoch
        self.failure: Failure | None = None
        self.state = WAITING

    @property
    def end(self) -> int:
        return self.first + self.count

    def charge(self, failure: Failure) -> None:
        """An attempt counts against this range; the next one has the next number."""
        self.charges += 1
        self.attempt += 1
        self.repeats = self.shared = 0
        self.repeated = same_cause(self.failure, failure)
        self.failure = failure

    def was_short(self, shortage: Shortage) -> int:
        """An attempt came to nothing for want of memory: how often has that happened to these items by now?"""
        memory, gpu = self._short
        self._short = (memory, gpu + 1) if shortage is Shortage.GPU else (memory + 1, gpu)
        return self._short[shortage is Shortage.GPU]

    def piece(self, first: int, *, count: int) -> Part:
        """A range of these items, to stand for itself. Charges and repeats are counted anew for it."""
        cut = Part(self.batch, first, count=count, attempt=self.attempt)
        cut.isolated = self.isolated or self.charges > 0
        cut._short = self._short
        return cut

    def lease(self) -> Lease:
        return Lease(self.batch, self.first, self.count, self.attempt)

    def lend(self) -> Lease:
        """The lease, which is out from now on."""
        self.state = LEASED
        return self.lease()


def halves(part: Part) -> tuple[Part, Part]:
    """The two halves of a failed part of at least two items; the first is the larger one."""
    middle = (part.count + 1) // 2
    return (
        part.piece(part.first, count=middle),
        part.piece(part.first + middle, count=part.count - middle),
    )


def carve(parts: dict[int, Part], first: int, *, count: int) -> Part:
    """Take items [first, first + count) out of `parts` (by first item); what is left of the parts that it cuts stays.

    The range that the log names is authoritative: the policy of the epoch that wrote it may have split otherwise than
    today's would. A part that is met exactly keeps its history; what is cut from one starts anew, in isolation if that
    was charged (else it was divided for other reasons, see shortage.py).
    CorruptionError, and nothing changed, where any of the items is not outstanding: two outcomes for one item.
    """
    end = first + count
    exact = parts.get(first)
    if exact is not None and exact.count == count:
        del parts[first]
        return exact
    cut = [part for part in parts.values() if part.first < end and part.end > first]
    if sum(min(end, part.end) - max(first, part.first) for part in cut) != count:
        raise CorruptionError(
            f"the checkpoint log holds two outcomes for one item of items {first} to {end - 1}",
            remedy="`batchctl inspect OUT` prints the log; `--fresh` starts over",
        )
    for part in cut:
        del parts[part.first]
        if part.first < first:
            parts[part.first] = part.piece(part.first, count=first - part.first)
        if part.end > end:
            parts[end] = part.piece(end, count=part.end - end)
    found = cut[0].piece(first, count=count)
    found.attempt = max(part.attempt for part in cut)
    found.isolated = any(part.isolated or part.charges > 0 for part in cut)
    return found
