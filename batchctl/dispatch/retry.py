"""What a charged failure leads to: another attempt, isolation, or quarantine. (What is not charged: shortage.py.)

The rule, in the order in which it is asked (design section 5):

1. A *whole* mini-batch has `max_retries` + 1 attempts. Two exceptions in a row with the same class and message end them
   early: what failed twice in one way will fail a third time. A *final* one (a file's name is taken) does at once.
2. A *part* of a mini-batch (isolation has begun) has one attempt: its items had their retries as part of the whole.
3. What the kernel killed for want of memory, and is charged for that, has had its repeats: no more attempts.
4. When the attempts are spent: more than one item is halved if `isolate` allows, else the range is quarantined.

So an item is attempted at most `max_retries` + 1 + ceil(log2(items of its mini-batch)) times with a charge, and each of
these attempts may be preceded by at most `max_repeats` uncharged ones per epoch, and by those that another lease has
to answer for (file_queue.py).
"""

from __future__ import annotations

from enum import StrEnum

from batchctl.model.outcome import Failure, FailureKind
from batchctl.model.records import Charged, Quarantined
from batchctl.named_tuple import NamedTuple

# The kinds of failure whose repetition ends the retrying early: only what the script itself raised. Deaths and timeouts
# look alike for many reasons (memory pressure, a slow disk), so they keep all their attempts.
ENDS_EARLY = frozenset({FailureKind.FAILED})


class Decision(StrEnum):
    """What becomes of a range of items after an attempt that came to nothing. The first three may be charged, the last
    two never are; SPLIT without records is a division that nobody is charged for."""

    RETRY = "retry"
    SPLIT = "split"
    QUARANTINE = "quarantine"
    RETURNED = "returned"  # waiting again, before everything else
    ALONE = "alone"  # its mini-batch is a suspect from now on: last, with nothing else leased


class RetryPolicy(NamedTuple):
    """How patient a run is. `isolate` is False where parts make no sense (the user's wish, partitions, slices).

    `max_repeats`: counted, uncharged repeats of one lease within one epoch before it is charged as lost.
    """

    max_retries: int = 3
    isolate: bool = True
    max_repeats: int = 5

    @property
    def attempts_allowed(self) -> int:
        return self.max_retries + 1


class Verdict(NamedTuple):
    """A failure and its consequence. `records` must reach the log, in this order and in one group; none: uncharged."""

    decision: Decision
    records: tuple[Charged | Quarantined, ...]
    reason: str


def same_cause(before: Failure | None, now: Failure) -> bool:
    """Is this the same failure again, of a kind whose repetition ends the retrying early, or one that needs none?"""
    if now.is_final:
        return True
    return before is not None and now.kind in ENDS_EARLY and before.cause == now.cause


def decide(
    policy: RetryPolicy,
    *,
    charges: int,
    repeated: bool,
    items: int,
    is_part: bool,
    starved: bool = False,
    divide: bool = True,
) -> tuple[Decision, str]:
    """The decision after the `charges`-th charge of a range of `items` items, and the reason in words.

    `repeated`: two charges in a row had the same cause, or one is final. `is_part`: isolation has begun. `starved`: the
    kernel killed the worker for want of memory. `divide`: isolation may help.
    """
    if starved:
        spent = "out of memory"
    elif is_part:
        spent = "a part has one attempt"
    elif charges >= policy.attempts_allowed:
        spent = f"attempt {charges} of {policy.attempts_allowed} failed"
    elif repeated:
        spent = "the same failure twice in a row" if charges > 1 else "another attempt would fail alike"
    else:
        return Decision.RETRY, f"attempt {charges} of {policy.attempts_allowed} failed"
    if items > 1 and policy.isolate and divide:
        return Decision.SPLIT, f"{spent}; {items} items are split in halves to find the guilty ones"
    return Decision.QUARANTINE, spent
