"""Is the run still within its error threshold? Pure; asked after each commit group and at the end.

Failed items are those that a successful `run()` did not return plus those quarantined. Retried mini-batches that
succeeded in the end do not count.

- A count is exceeded by strictly more failed items; -1 is never exceeded.
- A percentage is of *all* items of the run. It is exceeded (a) as soon as more than that share of all items has failed:
  nothing that follows can mend it; (b) before that, when at least `MINIMUM_SAMPLE` items and a tenth of all have been
  judged and more than that share *of the judged* failed: a run that is going so badly is stopped early. A run of fewer
  items is judged by (a) alone. At the end all items are judged, so (a) and (b) are the same, exact question.
- Nothing succeeded at the end is a verdict of its own, whatever the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from batchctl.model.job import ErrorThreshold

MINIMUM_SAMPLE = 100


class Standing(StrEnum):
    """How the run stands against its threshold. The last two end it with exit 3."""

    WITHIN = "within"
    EXCEEDED = "exceeded"
    NOTHING_SUCCEEDED = "nothing succeeded"


@dataclass(frozen=True, slots=True)
class Judgement:
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
        return Judgement(Standing.EXCEEDED, f"{failed} items failed; the error threshold is {count}")
    return Judgement(Standing.WITHIN)


def _judge_percent(percent: float, *, failed: int, judged: int, total: int) -> Judgement:
    from fractions import Fraction  # it pulls in decimal and numbers, and most runs have no percentage

    # By way of its text: 0.07 means 7/10000, not the binary fraction next to it, and "exact" must mean exact.
    share = Fraction(str(percent)) / 100
    if failed > share * total:
        told = f"{failed} of {total} items failed; the error threshold is {percent:g}%"
        return Judgement(Standing.EXCEEDED, told)
    if judged >= MINIMUM_SAMPLE and judged * 10 >= total and failed > share * judged:
        told = f"{failed} of the first {judged} items failed; the error threshold is {percent:g}% (of {total})"
        return Judgement(Standing.EXCEEDED, told)
    return Judgement(Standing.WITHIN)
