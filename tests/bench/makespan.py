"""How long recorded durations would take with more workers than this machine has: the real queue, simulated workers.

Workers that are ready at once and take no time but the recorded one; leases as the crew of a run gives them: as many as
`credits_for` says, and what is not started goes to whoever idles.
"""

from __future__ import annotations

import csv
import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from batchctl.dispatch.credits import RunEstimate, credits_for
from batchctl.dispatch.file_queue import FileQueue
from batchctl.dispatch.retry import RetryPolicy
from batchctl.model.lease import Lease


@dataclass(frozen=True, slots=True)
class Makespan:
    """Seconds. `bound`: what no order can undercut, the work evenly shared or the longest mini-batch alone;
    `idle_from`: when the first worker had nothing left to do."""

    seconds: float
    bound: float
    idle_from: float

    @property
    def tail(self) -> float:
        """What the order costs."""
        return self.seconds - self.bound


def recorded(out: Path) -> dict[int, float]:
    """Seconds in run() by mini-batch, of the finished run in OUT."""
    with (out / ".batchctl" / "attempts.csv").open(newline="", encoding="utf-8") as file:
        return {int(row["Mini-batch Id"]): float(row["Process Seconds"]) for row in csv.DictReader(file)}


def simulate(durations: Sequence[float], order: Sequence[int] | None, *, workers: int) -> Makespan:
    """Mini-batch n takes durations[n] seconds; handed out by a FileQueue in `order` (None: plan order)."""
    return _Crew(durations, order, workers=workers).run()


class _Crew:
    def __init__(self, durations: Sequence[float], order: Sequence[int] | None, *, workers: int) -> None:
        self._durations = durations
        self._workers = workers
        self._queue = FileQueue(range(len(durations) + 1), RetryPolicy(), order=order)
        self._hands: list[deque[Lease]] = [deque() for _ in range(workers)]
        self._estimates = [RunEstimate() for _ in range(workers)]
        self._spare: deque[Lease] = deque()
        self._ends: list[tuple[float, int]] = []  # of what is being worked on, with the worker

    def run(self) -> Makespan:
        now, idle_from = 0.0, None
        for worker in range(self._workers):
            self._fill(worker)
            self._start(worker, now)
        while self._ends:
            now, worker = heapq.heappop(self._ends)
            lease = self._hands[worker].popleft()
            assert self._queue.committed(lease, lease.count, 0)
            self._estimates[worker].observe(int(self._durations[lease.batch] * 1e9))
            self._fill(worker)
            if not self._start(worker, now) and idle_from is None:
                idle_from = now
        assert self._queue.finished
        bound = max(sum(self._durations) / self._workers, max(self._durations))
        return Makespan(now, bound, now if idle_from is None else idle_from)

    def _fill(self, worker: int) -> None:
        hands = self._hands[worker]
        waiting = self._queue.counts.waiting + len(self._spare)
        credit = credits_for(self._estimates[worker].ns, waiting=waiting, workers=self._workers)
        if len(hands) > credit >> 1:
            return
        while self._spare and len(hands) < credit:
            hands.append(self._spare.popleft())
        if len(hands) < credit:
            hands.extend(self._queue.take(credit - len(hands)))
        if not hands:  # nothing waits: what others have not started is shared
            for other in self._hands:
                while len(other) > 1:
                    self._spare.append(other.pop())
            if self._spare:
                hands.append(self._spare.popleft())

    def _start(self, worker: int, now: float) -> bool:
        if not self._hands[worker]:
            return False
        heapq.heappush(self._ends, (now + self._durations[self._hands[worker][0].batch], worker))
        return True
