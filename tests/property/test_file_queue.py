"""Any interleaving of take, fail, commit, return, crash, replay: every item ends exactly once, attempts are bounded."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from batchctl.dispatch.file_queue import FileQueue
from batchctl.dispatch.retry import Decision, RetryPolicy, Verdict
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Shortage
from batchctl.model.records import Charged, Claimed, Committed, EpochClosed, EpochOpened, Quarantined, Record
from batchctl.plan.largest import largest_first

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=6)
POLICIES = st.builds(RetryPolicy, st.integers(0, 3), st.booleans(), st.just(RetryPolicy(0).max_repeats))
KINDS, ERRORS, MESSAGES = (
    st.sampled_from(FailureKind),
    st.sampled_from(["ValueError", "OSError"]),
    st.sampled_from("ab"),
)
# `builds` would make up what a NamedTuple has a default for.
FAILURES = st.tuples(KINDS, ERRORS, MESSAGES).map(lambda found: Failure(*found))
GPU_SHORT = Failure(FailureKind.FAILED, "torch.OutOfMemoryError", "CUDA", shortage=Shortage.GPU)
SHORT = st.sampled_from(
    [
        Failure(FailureKind.LOST, "OutOfMemory", "killed", shortage=Shortage.MEMORY),
        Failure(FailureKind.LOST, "WorkerDied", "suspected", shortage=Shortage.SUSPECTED),
        GPU_SHORT,
    ]
)


def bounds_of(sizes: list[int]) -> list[int]:
    bounds = [0]
    for size in sizes:
        bounds.append(bounds[-1] + size)
    return bounds


def committed(lease: Lease, *, failed: int = 0) -> Committed:
    return Committed(*lease, 0, 0, 0, 0, lease.count - failed, failed)


def opened(number: int, boot: str = "boot-1") -> EpochOpened:
    return EpochOpened(number, boot, "0", "{}")


def replayed(
    bounds: list[int], policy: RetryPolicy, log: list[Record], *, order: array[int] | None = None
) -> tuple[FileQueue, list[Charged | Quarantined]]:
    queue = FileQueue(bounds, policy, order=order)
    for record in log:
        queue.replay(record)
    return queue, list(queue.settle())


class Machine(RuleBasedStateMachine):
    """The queue beside its log; the log alone says what is true of each item."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Record] = []
        self.out: list[Lease] = []
        self.accepted: list[Lease] = []
        self.old: list[Lease] = []
        self.epoch = 1
        self.boot = 1
        self.repeats: Counter[tuple[int, int]] = Counter()  # uncharged returns in this epoch, by range
        self.divided: set[int] = set()  # mini-batches of which parts were cut in this epoch, uncharged
        self.blurred: set[int] = set()  # those of which such a part had charges

    @initialize(sizes=SIZES, policy=POLICIES, data=st.data())
    def begin(self, sizes: list[int], policy: RetryPolicy, data: Any) -> None:
        self.bounds = bounds_of(sizes)
        self.order = self._any_order(data)
        self.policy = policy
        self.patience = policy.max_retries
        self.log.append(opened(1))
        self.queue, decided = replayed(self.bounds, policy, self.log, order=self.order)
        assert not decided

    @rule(n=st.integers(1, 4))
    def take(self, n: int) -> None:
        alone = self.queue.only_suspects
        held = {part.lease for part in self.queue.pending().parts if part.suspect}
        leases = self.queue.take(n)
        assert not alone or len(leases) == 1
        for lease in leases:
            assert self.queue.is_current(lease)
            assert lease not in held or (alone and len(self.out) + len(self.accepted) == 0)
            if self.queue.most_items and self.policy.isolate:
                self.divided.add(lease.batch)
            self.out.append(lease)
            self.log.append(Claimed(lease))

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def commit(self, data: Any) -> None:
        lease = self._pick(data, self.out)
        failed = data.draw(st.integers(0, lease.count))
        self.log.append(committed(lease, failed=failed))
        assert self.queue.committed(lease, lease.count - failed, failed)
        self.old.append(lease)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def score(self, data: Any) -> None:
        lease = self._pick(data, self.out)
        assert self.queue.scored(lease)
        assert not self.queue.scored(lease)
        assert self.queue.failed(lease, Failure(FailureKind.LOST, "", "")) is None
        assert self.queue.returned([lease]) == ()
        self.accepted.append(lease)

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def commit_accepted(self, data: Any) -> None:
        lease = self._pick(data, self.accepted)
        self.log.append(committed(lease))
        assert self.queue.committed(lease, lease.count, 0)
        self.old.append(lease)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), failure=FAILURES)
    def fail(self, data: Any, failure: Failure) -> None:
        lease = self._pick(data, self.out)
        verdict = self.queue.failed(lease, failure)
        assert verdict is not None
        assert verdict.records[0] == Charged(lease, failure)
        assert (len(verdict.records) == 2) == (verdict.decision is Decision.QUARANTINE)
        self._charged(verdict)
        self.old.append(lease)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), failure=SHORT, alone=st.booleans())
    def starve(self, data: Any, failure: Failure, alone: bool) -> None:
        lease = self._pick(data, self.out)
        had = any(part.charges for part in self.queue.pending().parts if part.lease == lease)
        verdict = self.queue.starved(lease, failure, alone=alone)
        assert verdict is not None
        assert not self.queue.is_current(lease)
        if verdict.records:
            assert verdict.records[0].lease == lease
            assert verdict.records[0].failure.shortage is failure.shortage
            assert failure.shortage is Shortage.GPU or verdict.decision is not Decision.RETRY
            self._charged(verdict)
        elif verdict.decision is Decision.SPLIT:
            assert self.policy.isolate and lease.count > 1
            self.divided.add(lease.batch)
            if had:
                self.blurred.add(lease.batch)
        else:
            assert verdict.decision in (Decision.RETURNED, Decision.ALONE)
            held = {part.suspect for part in self.queue.pending().parts if part.lease.batch == lease.batch}
            assert held == {True} or verdict.decision is Decision.RETURNED
            self.repeats[lease[1:3]] += 1
        self.old.append(lease)

    @precondition(lambda self: len(self.log) > 12)  # most stories are about the plain queue
    @rule(most=st.sampled_from([0, 0, 0, 1, 3]))
    def remember(self, most: int) -> None:
        self.queue.most_items = most

    @precondition(lambda self: self.out)
    @rule(data=st.data(), began=st.booleans(), times=st.integers(1, 2))
    def give_back(self, data: Any, began: bool, times: int) -> None:
        leases = [self._pick(data, self.out) for _ in range(min(times, len(self.out)))]
        self.repeats.update(lease[1:3] for lease in leases)
        for verdict in self.queue.returned(leases, began=began):
            self._charged(verdict)

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def stale(self, data: Any) -> None:
        lease = data.draw(st.sampled_from(self.old))
        if lease in self.out or lease in self.accepted:
            return  # after a crash the same lease may be out again; the epoch tells them apart
        before = self.queue.counts
        assert not self.queue.is_current(lease)
        assert not self.queue.scored(lease)
        assert not self.queue.committed(lease, lease.count, 0)
        assert self.queue.failed(lease, Failure(FailureKind.FAILED, "E", "m")) is None
        assert self.queue.returned([lease]) == ()
        assert self.queue.counts == before

    @rule(policy=POLICIES, machine=st.booleans(), cut=st.integers(0, 2), drained=st.booleans(), data=st.data())
    def crash(self, policy: RetryPolicy, machine: bool, cut: int, drained: bool, data: Any) -> None:
        """`cut`: records that were not synced are lost; what was charged or done by them has not happened. The next
        epoch may have another order."""
        if drained:
            self.log.append(EpochClosed(self.epoch))
        else:
            while cut and not isinstance(self.log[-1], EpochOpened):
                self.log.pop()
                cut -= 1
        self.epoch += 1
        self.boot += machine
        self.log.append(opened(self.epoch, f"boot-{self.boot}"))
        self.policy = policy
        self.patience = max(self.patience, policy.max_retries)
        self.order = self._any_order(data)
        self.queue, decided = replayed(self.bounds, policy, self.log, order=self.order)
        self.log.extend(decided)
        self.out, self.accepted, self.old = [], [], []
        self.repeats.clear()
        self.divided.clear()
        self.blurred.clear()

    @invariant()
    def the_log_says_the_same(self) -> None:
        if not self.log:
            return
        ends = self._ends()
        assert all(times == 1 for times in ends.values())
        counts = self.queue.counts
        rows = [r for r in self.log if isinstance(r, Committed)]
        gone = [r.lease.count for r in self.log if isinstance(r, Quarantined)]
        assert (counts.ok, counts.failed) == (sum(r.ok for r in rows), sum(r.failed for r in rows))
        assert counts.quarantined == sum(gone)
        assert counts.leased == len(self.out) + len(self.accepted)
        held = Counter(i for lease in self.out + self.accepted for i in range(lease.first, lease.first + lease.count))
        assert all(times == 1 for times in held.values())
        assert not held.keys() & ends.keys()
        assert self.queue.finished == (len(ends) == self.bounds[-1])
        assert counts.waiting + counts.leased > 0 or self.queue.finished

    @invariant()
    def a_replay_gives_the_same_queue(self) -> None:
        if not self.log:
            return
        again, decided = replayed(self.bounds, self.policy, self.log)
        assert not decided
        assert self._shape(again) == self._shape(self.queue)
        ends = self._ends().keys()
        for queue in (self.queue, again):
            covered: dict[int, list[int]] = {}
            for part in queue.pending().parts:
                covered.setdefault(part.lease.batch, []).extend(range(part.lease.first, sum(part.lease[1:3])))
            for batch, items in covered.items():
                assert items == [item for item in range(*self.bounds[batch : batch + 2]) if item not in ends]

    @invariant()
    def uncharged_repeats_are_bounded(self) -> None:
        assert not self.log or all(times <= self.policy.max_repeats for times in self.repeats.values())

    @invariant()
    def attempts_are_bounded(self) -> None:
        charges: Counter[int] = Counter()
        for record in self.log:
            if isinstance(record, Charged):
                charges.update(range(record.lease.first, record.lease.first + record.lease.count))
        for batch in range(len(self.bounds) - 1 if self.log else 0):
            first, end = self.bounds[batch : batch + 2]
            bound = self.patience + 1 + math.ceil(math.log2(end - first))
            assert all(charges[item] <= bound for item in range(first, end))

    def teardown(self) -> None:
        if not self.log:
            return
        for lease in self.out + self.accepted:
            self.log.append(committed(lease))
            assert self.queue.committed(lease, lease.count, 0)
        while not self.queue.finished:
            leases = self.queue.take(3)
            assert leases
            for lease in leases:
                self.log.append(committed(lease))
                assert self.queue.committed(lease, lease.count, 0)
        assert self._ends() == Counter(range(self.bounds[-1]))

    def _charged(self, verdict: Verdict) -> None:
        self.log.extend(verdict.records)
        self.repeats.pop(verdict.records[0].lease[1:3], None)

    def _ends(self) -> Counter[int]:
        ends: Counter[int] = Counter()
        for record in self.log:
            if isinstance(record, Committed):
                ends.update(range(record.first, record.first + record.count))
            elif isinstance(record, Quarantined):
                ends.update(range(record.lease.first, record.lease.first + record.lease.count))
        return ends

    @staticmethod
    def _pick(data: Any, leases: list[Lease]) -> Lease:
        return leases.pop(data.draw(st.integers(0, len(leases) - 1)))

    def _any_order(self, data: Any) -> array[int] | None:
        orders = st.none() | st.permutations(range(len(self.bounds) - 1)).map(lambda order: array("I", order))
        found: array[int] | None = data.draw(orders)
        return found

    def _shape(self, queue: FileQueue) -> set[tuple[Any, ...]]:
        """Outstanding ranges with their charges; a whole mini-batch without any is as good as fresh. What nobody was
        charged for is not in the log: of mini-batches divided so, only the parts with charges are the same."""
        sizes = [self.bounds[i + 1] - self.bounds[i] for i in range(len(self.bounds) - 1)]
        shape: set[tuple[Any, ...]] = {
            (p.lease.first, p.lease.count, p.charges, p.cause)
            for p in queue.pending().parts
            if (p.charges and p.lease.batch not in self.blurred)
            or (p.lease.count < sizes[p.lease.batch] and p.lease.batch not in self.divided)
        }
        return shape


Machine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestFileQueue = Machine.TestCase


@settings(max_examples=150, deadline=None)
@given(
    sizes=SIZES,
    guilty=st.sets(st.integers(0, 53), max_size=8),
    max_retries=st.integers(0, 3),
    crash_every=st.integers(1, 30),
    ahead=st.integers(1, 4),
)
def test_isolation_finds_exactly_the_guilty(
    sizes: list[int], guilty: set[int], max_retries: int, crash_every: int, ahead: int
) -> None:
    """A script that fails whenever it is given a bad item loses the bad items and no others, despite crashes."""
    bounds = bounds_of(sizes)
    policy = RetryPolicy(max_retries=max_retries)
    log: list[Record] = [opened(1)]
    queue, _ = replayed(bounds, policy, log)
    steps = 0
    while not queue.finished:
        leases = queue.take(ahead)
        assert leases
        for lease in leases:
            steps += 1
            if steps % crash_every == 0:
                log.append(opened(steps))
                queue, decided = replayed(bounds, policy, log)
                log.extend(decided)
                break
            bad = guilty & set(range(lease.first, lease.first + lease.count))
            if bad:
                verdict = queue.failed(lease, Failure(FailureKind.FAILED, "ValueError", str(sorted(bad))))
                assert verdict is not None
                log.extend(verdict.records)
            else:
                log.append(committed(lease))
                assert queue.committed(lease, lease.count, 0)
        if crash_every == 1:
            crash_every = 1000  # else it would crash for ever
    lost = {i for r in log if isinstance(r, Quarantined) for i in range(r.lease.first, r.lease.first + r.lease.count)}
    assert lost == {item for item in guilty if item < bounds[-1]}
    assert queue.counts.ok == bounds[-1] - len(lost)


@settings(max_examples=150, deadline=None)
@given(
    sizes=SIZES,
    policy=POLICIES,
    most=st.integers(0, 4),
    data=st.data(),
)
def test_where_memory_never_suffices_all_is_given_up_in_bounded_rounds(
    sizes: list[int], policy: RetryPolicy, most: int, data: Any
) -> None:
    """Whatever is short, and whether or not the caller keeps its word and leases suspects alone."""
    bounds = bounds_of(sizes)
    queue, _ = replayed(bounds, policy, [opened(1)])
    queue.most_items = most
    log: list[Record] = []
    per_item = (policy.max_retries + 2 + 4) * (policy.max_repeats + 1) + 4  # charges, repeats before each, divisions
    for _ in range(bounds[-1] * per_item):
        if queue.finished:
            break
        for lease in queue.take(data.draw(st.integers(1, 3))):
            verdict = queue.starved(lease, data.draw(SHORT), alone=data.draw(st.booleans()))
            assert verdict is not None
            log.extend(verdict.records)
    assert queue.finished
    assert queue.counts.quarantined == bounds[-1]
    again, decided = replayed(bounds, policy, [opened(1), *log])
    assert again.finished
    assert not decided


@settings(max_examples=100, deadline=None)
@given(sizes=SIZES, room=st.integers(1, 9), ahead=st.integers(1, 4), max_retries=st.integers(0, 3))
def test_what_fits_into_the_gpu_is_found_and_nothing_is_charged(
    sizes: list[int], room: int, ahead: int, max_retries: int
) -> None:
    """A GPU that bears `room` items at once: all are scored, none is charged, and soon no more than that is leased."""
    bounds = bounds_of(sizes)
    queue, _ = replayed(bounds, RetryPolicy(max_retries=max_retries), [opened(1)])
    refusals = 0
    while not queue.finished:
        for lease in queue.take(ahead):
            if lease.count <= room:
                assert queue.committed(lease, lease.count, 0)
                continue
            known = queue.most_items
            verdict = queue.starved(lease, GPU_SHORT, alone=True)
            assert verdict is not None
            assert not verdict.records
            assert not 0 < known < lease.count or verdict.decision is Decision.SPLIT
            refusals += 1
    assert queue.counts.ok == bounds[-1]
    assert queue.most_items <= room
    assert refusals <= 5 * len(sizes) + sum(sizes)


@settings(max_examples=150, deadline=None)
@given(
    batches=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 4) | st.integers(0, 1 << 40)), max_size=12),
    ahead=st.integers(1, 4),
    failing=st.sets(st.integers(0, 11)),
    crash_after=st.integers(0, 12),
    again=st.booleans(),
)
def test_largest_first_hands_out_each_mini_batch_once(
    batches: list[tuple[int, int]], ahead: int, failing: set[int], crash_after: int, again: bool
) -> None:
    """By bytes that never rise, failures and their retries aside; a resume at any point, in the same order or in plan
    order, hands out what was not committed, and nothing else."""
    bounds = bounds_of([items for items, _ in batches])
    sizes = [size for _, size in batches]
    order = largest_first(bounds, [size * (item == 0) for items, size in batches for item in range(items)])
    policy = RetryPolicy(max_retries=1, isolate=False)
    log: list[Record] = [opened(1)]
    queue, _ = replayed(bounds, policy, log, order=order)
    fresh = _drive(queue, log, ahead=ahead, failing=failing, commits=crash_after)
    assert len(set(fresh)) == len(fresh)
    assert [sizes[batch] for batch in fresh] == sorted((sizes[batch] for batch in fresh), reverse=True)
    done = {record.batch for record in log if isinstance(record, Committed)}
    log.append(opened(2))
    queue, _ = replayed(bounds, policy, log, order=order if again else None)
    charged = {record.lease.batch for record in log if isinstance(record, Charged)}
    rest = _drive(queue, log, ahead=ahead, failing=set(), commits=len(batches))
    assert queue.finished
    assert set(rest) == set(range(len(batches))) - done - charged
    if again:
        assert rest == [batch for batch in order if batch not in done | charged]
    else:
        assert rest == sorted(rest)


def _drive(queue: FileQueue, log: list[Record], *, ahead: int, failing: set[int], commits: int) -> list[int]:
    """Up to so many commits; mini-batches of `failing` fail once. Returns those that had no history, as they came."""
    fresh: list[int] = []
    while commits > 0 and (leases := queue.take(ahead)):
        for lease in leases:
            if lease.attempt == 1:
                fresh.append(lease.batch)
            if lease.batch in failing and lease.attempt == 1:
                verdict = queue.failed(lease, Failure(FailureKind.FAILED, "ValueError", "once"))
                assert verdict is not None
                log.extend(verdict.records)
            elif commits > 0:
                commits -= 1
                log.append(committed(lease))
                assert queue.committed(lease, lease.count, 0)
    return fresh
