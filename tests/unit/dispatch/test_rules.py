"""The rules that the queue and the conductor ask: retry, isolation, threshold, credits, the health of slots."""

from __future__ import annotations

import pytest

from batchctl.dispatch.credits import RunEstimate, credits_for
from batchctl.dispatch.isolate import Part, halves
from batchctl.dispatch.retry import Decision, RetryPolicy, decide, same_cause
from batchctl.dispatch.slot_health import InitDecision, SlotHealth
from batchctl.dispatch.threshold import FailedBatches, Standing, judge, judge_batches
from batchctl.model.job import ErrorThreshold
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind
from batchctl.model.records import Committed, Quarantined, Reopened, Reopening

RETRY, SPLIT, QUARANTINE, RETURNED, ALONE = Decision

# name: max_retries, isolate, charges, repeated, items, is_part -> decision
DECISIONS = {
    "first of four": (3, True, 1, False, 10, False, RETRY),
    "third of four": (3, True, 3, False, 10, False, RETRY),
    "last of four": (3, True, 4, False, 10, False, SPLIT),
    "last of four, one item": (3, True, 4, False, 1, False, QUARANTINE),
    "last of four, never split": (3, False, 4, False, 10, False, QUARANTINE),
    "no retries": (0, True, 1, False, 10, False, SPLIT),
    "one cause twice": (3, True, 2, True, 10, False, SPLIT),
    "one cause twice, one item": (3, True, 2, True, 1, False, QUARANTINE),
    "a part has one attempt": (3, True, 1, False, 5, True, SPLIT),
    "a part of one item": (3, True, 1, False, 1, True, QUARANTINE),
    "a part, and isolation is off by now": (3, False, 1, False, 5, True, QUARANTINE),
}


@pytest.mark.parametrize("case", DECISIONS)
def test_decide(case: str) -> None:
    max_retries, isolate, charges, repeated, items, is_part, expected = DECISIONS[case]
    policy = RetryPolicy(max_retries=max_retries, isolate=isolate)
    decision, reason = decide(policy, charges=charges, repeated=repeated, items=items, is_part=is_part)
    assert decision is expected
    assert reason


# name: isolate, items -> decision, with retries left
STARVED = {
    "killed for memory: halved at once": (True, 10, SPLIT),
    "killed for memory, one item": (True, 1, QUARANTINE),
    "killed for memory, never split": (False, 10, QUARANTINE),
}


@pytest.mark.parametrize("case", STARVED)
def test_a_charged_kill_for_memory_has_no_retries(case: str) -> None:
    isolate, items, expected = STARVED[case]
    policy = RetryPolicy(max_retries=3, isolate=isolate)
    assert decide(policy, charges=1, repeated=False, items=items, is_part=False, starved=True)[0] is expected


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, ("failed", "E", "a"), False),
        (("failed", "E", "a"), ("failed", "E", "a"), True),
        (("failed", "E", "a"), ("failed", "E", "b"), False),
        (("failed", "E", "a"), ("lost", "E", "a"), False),
        (("timed_out", "E", "a"), ("timed_out", "E", "a"), False),
        (("lost", "E", "a"), ("lost", "E", "a"), False),
    ],
)
def test_same_cause(before: tuple[str, str, str] | None, now: tuple[str, str, str], expected: bool) -> None:
    def made(cause: tuple[str, str, str]) -> Failure:
        return Failure(FailureKind(cause[0]), cause[1], cause[2], traceback=str(id(cause)))

    assert same_cause(made(before) if before else None, made(now)) is expected


@pytest.mark.parametrize(("count", "sizes"), [(2, (1, 1)), (3, (2, 1)), (8, (4, 4)), (9, (5, 4))])
def test_halves(count: int, sizes: tuple[int, int]) -> None:
    low, high = halves(Part(3, 20, count=count, attempt=4))
    assert (low.count, high.count) == sizes
    assert (low.first, high.first, high.end) == (20, 20 + sizes[0], 20 + count)
    assert low.attempt == high.attempt == 4


COUNT_3, NEVER, ZERO = ErrorThreshold(count=3), ErrorThreshold(count=-1), ErrorThreshold(count=0)
PERCENT_3, PERCENT_29 = ErrorThreshold(count=None, percent=3.0), ErrorThreshold(count=None, percent=0.29)
WITHIN, EXCEEDED, NOTHING = Standing

# name: threshold, ok, failed, total, finished -> standing
THRESHOLDS = {
    "a count is not exceeded by itself": (COUNT_3, 1, 3, 100, False, WITHIN),
    "one more exceeds it": (COUNT_3, 1, 4, 100, False, EXCEEDED),
    "zero tolerates none": (ZERO, 1, 1, 100, False, EXCEEDED),
    "zero and none failed": (ZERO, 1, 0, 100, False, WITHIN),
    "minus one never": (NEVER, 1, 99, 100, True, WITHIN),
    "nothing succeeded, at the end": (NEVER, 0, 100, 100, True, NOTHING),
    "nothing succeeded yet": (NEVER, 0, 99, 100, False, WITHIN),
    "nothing to do": (ZERO, 0, 0, 0, True, WITHIN),
    "percent, small sample, bad start": (PERCENT_3, 0, 3, 100, False, WITHIN),
    "percent, certain before any sample": (PERCENT_3, 0, 4, 100, False, EXCEEDED),
    "percent, exact at the end": (PERCENT_3, 9700, 300, 10000, True, WITHIN),
    "percent, one more at the end": (PERCENT_3, 9699, 301, 10000, True, EXCEEDED),
    "percent, a tenth judged and going badly": (PERCENT_3, 969, 31, 10000, False, EXCEEDED),
    "percent, a tenth judged, just within": (PERCENT_3, 970, 30, 10000, False, WITHIN),
    "percent, less than a tenth judged": (PERCENT_3, 800, 199, 10000, False, WITHIN),
    "percent, a tenth but under the minimum": (PERCENT_3, 85, 14, 500, False, WITHIN),
    "percent as written, not as binary": (PERCENT_29, 9971, 29, 10000, True, WITHIN),
    "percent as written, one more": (PERCENT_29, 9970, 30, 10000, True, EXCEEDED),
}


@pytest.mark.parametrize("case", THRESHOLDS)
def test_threshold(case: str) -> None:
    threshold, ok, failed, total, finished, expected = THRESHOLDS[case]
    judgement = judge(threshold, ok=ok, failed=failed, total=total, finished=finished)
    assert judgement.standing is expected
    assert bool(judgement.reason) == (expected is not WITHIN)


# name: failed, threshold, percent, finished -> standing; of 10 mini-batches
BATCH_THRESHOLDS = {
    "minus one never": (10, -1, 100.0, True, WITHIN),
    "a count is not exceeded by itself": (2, 2, 100.0, False, WITHIN),
    "one more exceeds it at once": (3, 2, 100.0, False, EXCEEDED),
    "zero tolerates none": (1, 0, 100.0, False, EXCEEDED),
    "percent, not before the end": (9, -1, 10.0, False, WITHIN),
    "percent, exact at the end": (1, -1, 10.0, True, WITHIN),
    "percent, one more at the end": (2, -1, 10.0, True, EXCEEDED),
    "zero percent": (1, -1, 0.0, True, EXCEEDED),
    "both apply": (3, 2, 50.0, True, EXCEEDED),
}


@pytest.mark.parametrize("case", BATCH_THRESHOLDS)
def test_batch_threshold(case: str) -> None:
    failed, threshold, percent, finished, expected = BATCH_THRESHOLDS[case]
    judgement = judge_batches(failed=failed, batches=10, threshold=threshold, percent=percent, finished=finished)
    assert judgement.standing is expected
    assert bool(judgement.reason) == (expected is not WITHIN)


@pytest.mark.parametrize(("failed", "words"), [(1, "1 item failed;"), (2, "2 items failed;")])
def test_the_reason_counts_as_people_do(failed: int, words: str) -> None:
    assert judge(ErrorThreshold(0), ok=5, failed=failed, total=9, finished=False).reason.startswith(words)
    told = judge_batches(failed=failed, batches=9, threshold=0, percent=100.0, finished=False).reason
    assert told.startswith(words.replace("items", "mini-batches").replace("item", "mini-batch"))


def test_failed_batches_are_counted_once_and_short_ones_under_a_limit_only() -> None:
    failure = Failure(FailureKind.FAILED, "E", "a")
    records = [
        Committed(0, 0, 5, 1, 0, 0, 0, 5, 5, 0),  # whole
        Committed(1, 5, 5, 1, 0, 0, 0, 3, 3, 2),  # short
        Committed(2, 10, 2, 1, 0, 0, 0, 1, 1, 1),  # a short part ...
        Quarantined(Lease(2, 12, 3, 2), failure),  # ... of one of which items are given up
        Quarantined(Lease(3, 15, 1, 2), failure),
        Quarantined(Lease(3, 16, 1, 2), failure),
        Committed(3, 17, 3, 1, 0, 0, 0, 2, 2, 1),
    ]
    found = FailedBatches()
    for record in records:
        found.replay(record)
    assert found.count(NEVER) == 2
    assert found.count(ZERO) == found.count(PERCENT_3) == 3


def test_what_a_retry_reopened_is_no_failure_any_more() -> None:
    failure = Failure(FailureKind.FAILED, "E", "a")
    found = FailedBatches()
    for record in (
        Committed(1, 5, 5, 1, 0, 0, 0, 3, 3, 2),
        Committed(2, 10, 2, 1, 0, 0, 0, 1, 1, 1),
        Quarantined(Lease(2, 12, 3, 2), failure),
        Quarantined(Lease(3, 15, 1, 2), failure),
        Quarantined(Lease(3, 16, 1, 2), failure),
    ):
        found.replay(record)
    assert (found.count(NEVER), found.count(ZERO)) == (2, 3)
    found.replay(Reopened(1, (Reopening(2, 12, 3, 0, 0, 0), Reopening(3, 15, 1, 0, 0, 0))))
    assert (found.count(NEVER), found.count(ZERO)) == (1, 3)  # 2 is short still, one item of 3 is given up still
    found.replay(Reopened(2, (Reopening(1, 5, 5, 3, 3, 2), Reopening(2, 10, 2, 1, 1, 1))))
    assert (found.count(NEVER), found.count(ZERO)) == (1, 1)
    found.given_up(2)
    found.scored(1, 1)
    assert (found.count(NEVER), found.count(ZERO)) == (2, 3)


MS = 1_000_000


@pytest.mark.parametrize(
    ("run_ns", "leases"),
    [
        (None, 1),
        (0, 256),
        (19_999, 256),
        (20_000, 64),
        (49_999, 64),
        (50_000, 16),
        (MS // 5, 16),
        (MS, 16),
        (MS * 5 // 4, 4),
        (5 * MS - 1, 4),
        (5 * MS, 2),
        (100 * MS, 2),
        (101 * MS, 1),
    ],
)
def test_credits(run_ns: int | None, leases: int) -> None:
    assert credits_for(run_ns, waiting=10**6, workers=2) == leases


@pytest.mark.parametrize(
    ("waiting", "workers", "leases"), [(2000, 4, 256), (100, 4, 25), (9, 4, 3), (4, 4, 1), (0, 4, 1), (5, 0, 5)]
)
def test_credits_share_the_end_of_a_run(waiting: int, workers: int, leases: int) -> None:
    assert credits_for(1000, waiting=waiting, workers=workers) == leases


def test_the_estimate_rises_fast_and_falls_slowly() -> None:
    estimate = RunEstimate()
    estimate.observe(MS)
    assert estimate.ns == MS
    estimate.observe(201 * MS)
    assert credits_for(estimate.ns, waiting=1000, workers=1) == 1
    estimate.observe(MS)
    assert estimate.ns is not None
    assert estimate.ns > 80 * MS
    for _ in range(200):
        estimate.observe(MS)
    assert credits_for(estimate.ns, waiting=1000, workers=1) == 16
    assert RunEstimate(seed_ns=7).ns == 7


# name: what a worker has shown, one after the other -> the estimate
SHOWN: dict[str, tuple[int | None, list[int], int]] = {
    "a first one that loads what the others find": (None, [80 * MS, MS], MS),
    "a first one that was short": (None, [MS, 81 * MS], 41 * MS),
    "a second short one is nothing new": (None, [80 * MS, 40 * MS, 32 * MS], 39 * MS),
    "nor is the first where others have shown more": (80 * MS, [40 * MS], 75 * MS),
}


@pytest.mark.parametrize("case", SHOWN)
def test_the_second_one_is_believed_where_it_is_shorter(case: str) -> None:
    seed, shown, expected = SHOWN[case]
    estimate = RunEstimate(seed)
    for run_ns in shown:
        estimate.observe(run_ns)
    assert estimate.ns == expected


RESTART, CLOSE, END = InitDecision

# name: what happens, slot by slot -> the last decision, open slots after it
HEALTH: dict[str, tuple[list[tuple[str, int]], InitDecision, tuple[int, ...]]] = {
    "the first failure of all ends the run": ([("fail", 1)], END, (0, 1)),
    "also of a second worker while none has passed": ([("fail", 0), ("fail", 1)], END, (0, 1)),
    "later it is tried again": ([("pass", 0), ("fail", 1)], RESTART, (0, 1)),
    "three in a row close the slot": ([("pass", 0), *[("fail", 1)] * 3], CLOSE, (0,)),
    "a pass in between starts anew": (
        [("pass", 0), ("fail", 1), ("fail", 1), ("pass", 1), ("fail", 1)], RESTART, (0, 1)
    ),
    "in a row means in this slot": ([("pass", 0), ("fail", 1), ("fail", 1), ("fail", 0)], RESTART, (0, 1)),
    "the last slot ends the run": ([("pass", 0), *[("fail", 1)] * 3, *[("fail", 0)] * 3], END, ()),
    "the last one after the other retired": ([("pass", 0), ("retire", 1), *[("fail", 0)] * 3], END, ()),
}  # fmt: skip


@pytest.mark.parametrize("case", HEALTH)
def test_init_failures(case: str) -> None:
    story, expected, open_slots = HEALTH[case]
    health = SlotHealth(range(2))
    last = None
    for what, slot in story:
        if what == "fail":
            last = health.init_failed(slot)
        elif what == "pass":
            health.init_passed(slot)
        else:
            health.retired(slot)
    assert last is expected
    assert health.open_slots == open_slots


def test_ten_failed_attempts_in_a_row_recycle_the_worker() -> None:
    health = SlotHealth([0])
    assert [health.attempt_failed(0) for _ in range(10)] == [False] * 9 + [True]
    assert [health.attempt_failed(0) for _ in range(9)] == [False] * 9
    health.attempt_scored(0)
    assert not health.attempt_failed(0)
    for _ in range(8):
        assert not health.attempt_failed(0)
    assert not health.attempt_failed(0, died=True)  # a new worker comes anyway
    assert not health.attempt_failed(0)
    health.retired(0)
    health.opened(0)
    assert health.open_slots == (0,)
