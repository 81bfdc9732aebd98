"""Is the run still within its error threshold? Pure; asked after each commit group and at the end.

Failed items are those that a successful `run()` did not return plus those quarantined. Retried mini-batches that
succeeded in the end do not count.

- A count is exceeded by strictly more failed items; -1 is never exceeded.
- A percentage is of *all* items of the run. It is exceeded (a) as soon as more than that share of all items has failed:
  nothing that follows can mend it; (b) before that, when at least `MINIMUM_SAMPLE` items and a tenth of all have been
  judged and more than that share *of the judged* failed: a run that is going so badly is stopped early. A run of fewer
  items is judged by (a) alone. At the end all items are judged, so (a) and (b) are the same, exact question.
- Nothing succeeded at the end is a verdict of its own, whatever the threshold.

Mini-batches have thresholds of their own (`judge_batches`): a count, exceeded by strictly more failed ones at any time,
and a percentage of all, judged at the end only. Which mini-batches have failed is kept by `FailedBatches`.
"""

from __future__ import annotations

from array import array
from enum import StrEnum
from typing import TYPE_CHECKING

from batchctl.model.job import ErrorThreshold
from batchctl.model.records import Commits, Quarantined, Record, Reopened, failed_of
from batchctl.named_tuple import NamedTuple

if TYPE_CHECKING:
    from fractions import Fraction

MINIMUM_SAMPLE = 100


class Standing(StrEnum):
    """How the run stands against its threshold. The last two end it with exit 3."""

    WITHIN = "within"
    EXCEEDED = "exceeded"
    NOTHING_SUCCEEDED = "nothing succeeded"


class Judgement(NamedTuple):
    """The standing and, unless WITHIN, the reason in words."""

    standing: Standing
    reason: str = ""


def judge(threshold: ErrorThreshold, *, ok: int, failed: int, total: int, finished: bool) -> Judgement:
    """`failed` includes the quarantined; `ok` + `failed` items have been judged, of `total`."""
    if finished and ok == 0 and total > 0:
        return Judgement(Standing.NOTHING_SUCCEEDED, f"none of {total} items succeeded")
    if threshold.percent is not None:
        return _judge_percent(threshold.percent, failed=failed, judged=ok + failed, total=total)
    count = -1 if threshold.count is None else threshold.count
    if 0 <= count < failed:
        return Judgement(Standing.EXCEEDED, f"{_number(failed, 'item')} failed; the error threshold is {count}")
    return Judgement(Standing.WITHIN)


def judge_batches(*, failed: int, batches: int, threshold: int, percent: float, finished: bool) -> Judgement:
    """`failed` of `batches` mini-batches; `threshold` -1 is never exceeded, nor is 100 `percent`."""
    if 0 <= threshold < failed:
        told = f"{_number(failed, 'mini-batch', 'es')} failed; the mini-batch error threshold is {threshold}"
        return Judgement(Standing.EXCEEDED, told)
    if finished and percent < 100.0 and failed > _share(percent) * batches:
        told = f"{failed} of {batches} mini-batches failed; {percent:g}% may fail"
        return Judgement(Standing.EXCEEDED, told)
    return Judgement(Standing.WITHIN)


class FailedBatches:
    """Which mini-batches have failed, by what is durable: items of it were given up, or fewer rows came back than
    there were items. Replaying the log gives what the run had; what a retry reopened counts no more."""

    def __init__(self) -> None:
        self._given_up, self._short = _Ranges(), _Ranges()
        self._both = 0  # mini-batches of both kinds

    def replay(self, record: Record) -> None:
        """A record of the checkpoint log."""
        if isinstance(record, Commits):
            if any(map(failed_of, record.records)):
                for one in record.records:
                    self.scored(one[0], failed_of(one))
        elif isinstance(record, Quarantined):
            self.given_up(record.lease.batch)
        elif isinstance(record, Reopened):
            for one in record.ranges:
                if not one.ok + one.failed:
                    self._count(self._given_up, one.batch, -1)
                elif one.failed:
                    self._count(self._short, one.batch, -1)

    def scored(self, batch: int, failed: int) -> None:
        """Rows of the mini-batch, or of a part of it, are durable; `failed` items were missing in them."""
        if failed:
            self._count(self._short, batch, 1)

    def given_up(self, batch: int) -> None:
        """Items of the mini-batch are quarantined, durably."""
        self._count(self._given_up, batch, 1)

    def _count(self, ranges: _Ranges, batch: int, change: int) -> None:
        before = self._is_both(batch)
        ranges.count(batch, change)
        self._both += self._is_both(batch) - before

    def _is_both(self, batch: int) -> bool:
        return self._given_up.has(batch) and self._short.has(batch)

    def count(self, threshold: ErrorThreshold) -> int:
        """How many have failed. Short ones count only where the error threshold limits anything: with -1 a script may
        return as few rows as it likes."""
        return self._given_up.batches + (self._short.batches - self._both if threshold.limits else 0)


class _Ranges:
    """How many ranges of each mini-batch have failed in one way; `batches`: of how many there are any."""

    def __init__(self) -> None:
        self._of = array("I")  # by mini-batch, as far as there are failed ones: a million of them may be
        self.batches = 0

    def count(self, batch: int, change: int) -> None:
        if batch >= len(self._of):
            self._of.extend([0] * (batch + 1 - len(self._of)))
        before = self._of[batch]
        self._of[batch] = before + change
        self.batches += (before + change > 0) - (before > 0)

    def has(self, batch: int) -> bool:
        return batch < len(self._of) and self._of[batch] > 0


def _number(count: int, noun: str, ending: str = "s") -> str:
    return f"{count} {noun}{ending if count != 1 else ''}"


def _share(percent: float) -> Fraction:
    from fractions import Fraction  # it pulls in decimal and numbers, and most runs have no percentage

    # By way of its text: 0.07 means 7/10000, not the binary fraction next to it, and "exact" must mean exact.
    return Fraction(str(percent)) / 100


def _judge_percent(percent: float, *, failed: int, judged: int, total: int) -> Judgement:
    share = _share(percent)
    if failed > share * total:
        told = f"{failed} of {total} items failed; the error threshold is {percent:g}%"
        return Judgement(Standing.EXCEEDED, told)
    if judged >= MINIMUM_SAMPLE and judged * 10 >= total and failed > share * judged:
        told = f"{failed} of the first {judged} items failed; the error threshold is {percent:g}% (of {total})"
        return Judgement(Standing.EXCEEDED, told)
    return Judgement(Standing.WITHIN)
