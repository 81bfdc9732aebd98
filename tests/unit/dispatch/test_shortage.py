"""What a want of memory leads to: the rules as tables, then as stories told by the file queue."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import pytest

from batchctl.dispatch.file_queue import FileQueue
from batchctl.dispatch.isolate import Part
from batchctl.dispatch.retry import Decision, RetryPolicy, Verdict
from batchctl.dispatch.shortage import concluded, decide_shortage, portions
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Shortage
from batchctl.model.records import Charged, Committed, Quarantined, Record

RETRY, SPLIT, QUARANTINE, RETURNED, ALONE = Decision
MEMORY, SUSPECTED, GPU = Shortage.MEMORY, Shortage.SUSPECTED, Shortage.GPU
CHARGE = None

# name: shortage, times, alone, items, isolate, most_items -> decision
DECISIONS: dict[str, tuple[Shortage, int, bool, int, bool, int, Decision | None]] = {
    "killed once": (MEMORY, 1, False, 8, True, 0, RETURNED),
    "killed once, alone: the worker may have grown": (MEMORY, 1, True, 8, True, 0, RETURNED),
    "killed twice": (MEMORY, 2, False, 8, True, 0, ALONE),
    "killed twice, one item": (MEMORY, 2, False, 1, True, 0, ALONE),
    "killed twice, never split": (MEMORY, 2, False, 8, False, 0, ALONE),
    "killed twice, and alone": (MEMORY, 2, True, 8, True, 0, CHARGE),
    "killed as a suspect, and not alone": (MEMORY, 3, False, 8, True, 0, ALONE),
    "suspected is as good as known": (SUSPECTED, 1, False, 8, True, 0, RETURNED),
    "suspected twice": (SUSPECTED, 2, False, 8, True, 0, ALONE),
    "suspected alone": (SUSPECTED, 3, True, 8, True, 0, CHARGE),
    "what fits into a GPU says nothing of memory": (MEMORY, 1, False, 8, True, 2, RETURNED),
    "GPU, once": (GPU, 1, False, 8, True, 0, RETURNED),
    "GPU, once, alone": (GPU, 1, True, 8, True, 0, RETURNED),
    "GPU, again": (GPU, 2, False, 8, True, 0, SPLIT),
    "GPU, again, never split": (GPU, 2, False, 8, False, 0, CHARGE),
    "GPU, again, one item": (GPU, 2, False, 1, True, 0, CHARGE),
    "GPU, once, more than what has fitted": (GPU, 1, False, 8, True, 4, SPLIT),
    "GPU, once, more than what has fitted, never split": (GPU, 1, False, 8, False, 4, RETURNED),
    "GPU, once, as many as have fitted": (GPU, 1, False, 4, True, 4, RETURNED),
    "GPU, again, as many as have fitted": (GPU, 2, False, 4, True, 4, SPLIT),
}  # fmt: skip


@pytest.mark.parametrize("case", DECISIONS)
def test_decide_shortage(case: str) -> None:
    shortage, times, alone, items, isolate, most_items, expected = DECISIONS[case]
    policy = RetryPolicy(isolate=isolate)
    found, reason = decide_shortage(policy, shortage, times=times, alone=alone, items=items, most_items=most_items)
    assert found is expected
    assert bool(reason) == (expected is not CHARGE)


@pytest.mark.parametrize(
    ("count", "most", "sizes"),
    [(8, 4, [4, 4]), (9, 4, [3, 3, 3]), (7, 4, [4, 3]), (4, 4, [4]), (3, 1, [1, 1, 1]), (10, 9, [5, 5])],
)
def test_portions(count: int, most: int, sizes: list[int]) -> None:
    part = Part(2, 30, count=count, attempt=3)
    found = portions(part, most=most)
    assert [one.count for one in found] == sizes
    assert [one.first for one in found] == [30 + sum(sizes[:index]) for index in range(len(sizes))]
    assert all((one.batch, one.attempt, one.isolated, one.portion) == (2, 3, False, True) for one in found)


def test_portions_of_what_was_charged_have_had_their_attempts() -> None:
    part = Part(2, 30, count=8)
    part.charge(short(GPU))
    assert [one.isolated for one in portions(part, most=4)] == [True, True]


def test_what_is_charged_says_what_happened_and_what_would_help() -> None:
    killed = Failure(FailureKind.LOST, "OutOfMemory", "out of memory: the kernel killed it", "log", "run", 5, MEMORY)
    told = concluded(killed, alone=True)
    assert told.message == (
        "out of memory: the kernel killed it, and it had the machine to itself; "
        "more memory, smaller files or a smaller mini_batch_size would let it through"
    )
    assert (told.kind, told.error, told.traceback, told.phase) == (killed.kind, killed.error, "log", "run")
    assert (told.peak_memory, told.shortage) == (5, MEMORY)
    assert "to itself" not in concluded(killed, alone=False).message
    refused = Failure(FailureKind.FAILED, "torch.OutOfMemoryError", "CUDA out of memory.", shortage=GPU)
    assert concluded(refused, alone=True).message.startswith(
        "out of GPU memory, in a fresh worker too; a GPU with more"
    )
    assert concluded(refused, alone=True).message.endswith(": CUDA out of memory.")


# --- stories ----------------------------------------------------------------------------------------------------------

BOUNDS = memoryview(array("I", [0, 4, 8, 10]))  # mini-batches of 4, 4 and 2 items
WHOLE = [Lease(0, 0, 4, 1), Lease(1, 4, 4, 1), Lease(2, 8, 2, 1)]


def short(shortage: Shortage, kind: FailureKind = FailureKind.LOST) -> Failure:
    return Failure(kind, "OutOfMemory", "no memory", shortage=shortage)


def queue_of(
    records: Iterable[Record] = (), *, max_retries: int = 3, isolate: bool = True, most_items: int = 0
) -> FileQueue:
    queue = FileQueue(BOUNDS, RetryPolicy(max_retries=max_retries, isolate=isolate))
    for record in records:
        queue.replay(record)
    queue.settle()
    queue.most_items = most_items
    return queue


def starve(queue: FileQueue, lease: Lease, shortage: Shortage = MEMORY, *, alone: bool = False) -> Verdict:
    verdict = queue.starved(lease, short(shortage), alone=alone)
    assert verdict is not None
    return verdict


def commit(queue: FileQueue, *leases: Lease) -> None:
    for lease in leases:
        assert queue.committed(lease, lease.count, 0)


def test_killed_once_it_is_uncharged_and_first_under_a_new_number() -> None:
    queue = queue_of()
    first, second = queue.take(2)
    verdict = starve(queue, second)
    assert (verdict.decision, verdict.records) == (RETURNED, ())
    assert not queue.is_current(second)
    assert queue.take(9) == [second._replace(attempt=2), WHOLE[2]]
    assert queue.counts.leased == 3
    assert first == WHOLE[0]


def test_killed_twice_it_comes_last_with_the_machine_to_itself() -> None:
    queue = queue_of()
    for attempt, decision in ((1, RETURNED), (2, ALONE)):
        (lease,) = queue.take(1)
        assert lease == WHOLE[0]._replace(attempt=attempt)
        assert starve(queue, lease).decision is decision
    assert not queue.only_suspects  # others are still to be leased
    others = queue.take(9)
    assert others == WHOLE[1:]
    assert queue.take(9) == []
    commit(queue, others[0])
    assert not queue.only_suspects  # one is still out
    commit(queue, others[1])
    assert queue.only_suspects
    assert queue.take(9) == [WHOLE[0]._replace(attempt=3)]
    assert not queue.only_suspects


def suspect(queue: FileQueue) -> Lease:
    """The first mini-batch, leased alone at last; the others are done."""
    for _ in range(2):
        starve(queue, queue.take(1)[0])
    commit(queue, *queue.take(9))
    (lease,) = queue.take(9)
    return lease


def test_killed_alone_it_is_charged_and_halved_at_once_and_the_halves_are_no_more_innocent() -> None:
    queue = queue_of()
    lease = suspect(queue)
    verdict = starve(queue, lease, alone=True)
    assert verdict.decision is SPLIT
    (charged,) = verdict.records
    assert isinstance(charged, Charged)
    assert (charged.lease, charged.failure.kind, charged.failure.shortage) == (lease, FailureKind.LOST, MEMORY)
    assert "machine to itself" in charged.failure.message
    assert queue.take(9) == [Lease(0, 0, 2, 4)]  # the halves are alone too, one by one
    assert starve(queue, Lease(0, 0, 2, 4), alone=True).decision is SPLIT
    assert queue.take(9) == [Lease(0, 2, 2, 4)]
    commit(queue, Lease(0, 2, 2, 4))
    assert queue.take(9) == [Lease(0, 0, 1, 5)]
    verdict = starve(queue, Lease(0, 0, 1, 5), alone=True)
    assert verdict.decision is QUARANTINE
    assert [type(record) for record in verdict.records] == [Charged, Quarantined]
    commit(queue, *queue.take(9))
    assert queue.finished
    assert queue.counts[1:4] == (9, 0, 1)


def test_killed_alone_without_isolation_the_mini_batch_is_given_up() -> None:
    queue = queue_of(isolate=False)
    verdict = starve(queue, suspect(queue), alone=True)
    assert verdict.decision is QUARANTINE
    assert queue.counts.quarantined == 4
    assert queue.finished


def test_a_single_worker_needs_no_dismissal() -> None:
    queue = queue_of()
    starve(queue, queue.take(1)[0], alone=True)
    assert starve(queue, queue.take(1)[0], alone=True).decision is SPLIT
    assert queue.take(2) == [Lease(0, 0, 2, 3), Lease(0, 2, 2, 3)]


def test_a_suspect_that_is_never_alone_is_charged_in_the_end() -> None:
    queue = queue_of()
    commit(queue, *queue.take(9)[1:])
    lease = WHOLE[0]
    decisions = []
    while not decisions or decisions[-1] is not SPLIT:
        decisions.append(starve(queue, lease).decision)
        (lease,) = queue.take(1)
    assert decisions == [RETURNED, ALONE, ALONE, ALONE, ALONE, SPLIT]


def test_all_uncharged_returns_are_counted_together() -> None:
    queue = queue_of(max_retries=0)
    for shortage, decision in ((MEMORY, RETURNED), (GPU, RETURNED), (MEMORY, ALONE)):
        assert starve(queue, queue.take(1)[0], shortage).decision is decision
    commit(queue, *queue.take(9))
    for _ in range(2):
        assert queue.returned(queue.take(1)) == ()
    (verdict,) = queue.returned(queue.take(1))
    assert verdict.records


def test_short_of_gpu_memory_it_is_first_run_again_and_then_halved_uncharged() -> None:
    queue = queue_of()
    assert starve(queue, queue.take(1)[0], GPU).decision is RETURNED
    (lease,) = queue.take(1)
    verdict = starve(queue, lease, GPU)
    assert (lease.attempt, verdict.decision, verdict.records) == (2, SPLIT, ())
    assert queue.most_items == 0
    halves = queue.take(2)
    assert halves == [Lease(0, 0, 2, 3), Lease(0, 2, 2, 3)]
    commit(queue, halves[0])
    assert queue.most_items == 2
    assert queue.take(9) == [Lease(1, 4, 2, 1), Lease(1, 6, 2, 1), WHOLE[2]]


def test_half_of_what_was_too_large_is_divided_at_once() -> None:
    queue = queue_of()
    for decision in (RETURNED, SPLIT, SPLIT):
        (lease,) = queue.take(1)
        assert starve(queue, lease, GPU).decision is decision
    assert queue.take(3) == [Lease(0, 0, 1, 4), Lease(0, 1, 1, 4), Lease(0, 2, 2, 3)]


def test_pieces_of_what_was_too_large_have_all_their_attempts_also_after_a_replay() -> None:
    queue = queue_of(max_retries=1)
    for _ in range(2):
        starve(queue, queue.take(1)[0], GPU)
    bad, worse = (Failure(FailureKind.FAILED, name, name) for name in ("ValueError", "KeyError"))
    verdict = queue.failed(queue.take(1)[0], bad)
    assert verdict is not None
    assert verdict.decision is RETRY
    resumed = queue_of(verdict.records, max_retries=1)
    for one in (queue, resumed):
        leases = {lease.first: lease for lease in one.take(9)}
        assert leases.keys() == {0, 2, 4, 8}
        assert leases[0] == Lease(0, 0, 2, 4)
        second = one.failed(leases[0], worse)
        assert second is not None
        assert second.decision is SPLIT


@pytest.mark.parametrize(("max_retries", "decision"), [(0, QUARANTINE), (3, RETRY)])
def test_a_single_item_that_does_not_fit_is_charged_like_any_failure(max_retries: int, decision: Decision) -> None:
    queue = queue_of(max_retries=max_retries, most_items=1)
    assert starve(queue, queue.take(1)[0], GPU).decision is RETURNED
    verdict = starve(queue, queue.take(1)[0], GPU)
    assert verdict.decision is decision
    charged = verdict.records[0]
    assert charged.failure.message.startswith("out of GPU memory")
    assert charged.failure.shortage is GPU


def test_without_isolation_nothing_is_leased_in_parts() -> None:
    queue = queue_of(isolate=False, max_retries=0, most_items=1)
    assert queue.take(9) == WHOLE
    assert starve(queue, WHOLE[0], GPU).decision is RETURNED
    verdict = starve(queue, queue.take(1)[0], GPU)
    assert verdict.decision is QUARANTINE
    assert queue.counts.quarantined == 4


def test_what_fitted_before_is_kept_to_from_the_start() -> None:
    queue = queue_of([Committed(*WHOLE[1], 0, 0, 0, 0, 4, 0)], most_items=3)
    assert queue.take(1) == [Lease(0, 0, 2, 1)]
    assert queue.take(9) == [Lease(0, 2, 2, 1), WHOLE[2]]
    commit(queue, Lease(0, 0, 2, 1), Lease(0, 2, 2, 1), WHOLE[2])
    assert queue.finished
    assert queue.most_items == 3


def test_what_was_larger_and_comes_back_is_divided_too_unless_it_was_charged() -> None:
    queue = queue_of()
    queue.take(2)
    queue.failed(WHOLE[0], Failure(FailureKind.FAILED, "ValueError", "bad"))
    queue.returned([WHOLE[1]])
    queue.most_items = 2
    assert queue.take(9) == [Lease(1, 4, 2, 1), Lease(1, 6, 2, 1), WHOLE[0]._replace(attempt=2), WHOLE[2]]


def test_a_stale_lease_and_a_mere_failure() -> None:
    queue = queue_of(max_retries=0)
    assert queue.starved(WHOLE[0], short(MEMORY), alone=True) is None
    queue.take(1)
    verdict = queue.starved(WHOLE[0], Failure(FailureKind.FAILED, "ValueError", "bad"), alone=True)
    assert verdict is not None
    assert verdict.decision is SPLIT
    assert verdict.records
    assert queue.starved(WHOLE[0], short(MEMORY), alone=True) is None


KILLED = Charged(WHOLE[0], short(MEMORY))

# name: log, isolate -> leases handed out, quarantined items
REPLAYS: dict[str, tuple[list[Record], bool, list[Lease], int]] = {
    "killed alone: halved, whatever retries there are": (
        [KILLED], True, [Lease(0, 0, 2, 2), Lease(0, 2, 2, 2), *WHOLE[1:]], 0,
    ),
    "suspected is the same": (
        [Charged(WHOLE[0], short(SUSPECTED))], True, [Lease(0, 0, 2, 2), Lease(0, 2, 2, 2), *WHOLE[1:]], 0,
    ),
    "killed alone, never split": ([KILLED], False, WHOLE[1:], 4),
    "charged for GPU memory: retried like any failure": (
        [Charged(WHOLE[0], short(GPU))], False, [WHOLE[0]._replace(attempt=2), *WHOLE[1:]], 0,
    ),
    "a log of before, lost without a shortage: retried": (
        [Charged(WHOLE[0], short(Shortage.NONE))], True, [WHOLE[0]._replace(attempt=2), *WHOLE[1:]], 0,
    ),
    "half of an uncharged division was done": (
        [Committed(0, 0, 2, 3, 0, 0, 0, 2, 2, 0)], True, [Lease(0, 2, 2, 1), *WHOLE[1:]], 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REPLAYS)
def test_replay(case: str) -> None:
    log, isolate, leases, quarantined = REPLAYS[case]
    queue = queue_of(log, isolate=isolate)
    assert queue.counts.quarantined == quarantined
    assert queue.take(9) == leases
