"""Deadlines and how a late worker is ended: its stacks are dumped, its group is asked to go, then killed.

    late -> DUMP_SIGNAL to the worker (the dump goes to its log) -> SIGTERM to its group -> 1 s -> SIGKILL

A stopped process handles nothing, so it is killed at once. Judged by the shared page, on the monotonic clock, which
goes on while a job is suspended (SIGSTOP to all of it, a frozen container): such a time does not count.
"""

from __future__ import annotations

import signal
from collections import deque

from batchctl import processes
from batchctl.engine.worker import Phase, Worker
from batchctl.guest import page, wire

_DUMP_NS = 50_000_000  # what a stack dump may take before the group is asked to go
_TERM_NS = 1_000_000_000
_STUCK_NS = 5_000_000_000  # a death that the fork server does not report for so long: it is stuck itself
_FORK_NS = 120_000_000_000  # an interpreter on a cold network disk, on a machine that swaps, takes a minute to start
_HELD_NS = 5_000_000_000  # what the kernel may take to end who was killed, before its slot goes on without it
_GAP_NS = 2_000_000_000
_SHUTDOWN_NS = 30_000_000_000  # a worker that is replaced in the middle of a run must not hold its slot for ever


class Deadlines:
    """Watches the workers of a pool; `check` is called at least every 100 ms. Timeouts in seconds, 0 for none.

    `start_timeout` is for what comes before import and init(): a worker waits there for room on a full disk, which is
    not the script's fault.
    """

    def __init__(self, timeout: float, init_timeout: float, start_timeout: float = 0.0) -> None:
        self._timeout_ns = int(timeout * 1e9)
        self._init_timeout_ns = int(init_timeout * 1e9)
        self._start_timeout_ns = int(start_timeout * 1e9)
        self._ticked_ns = 0
        self._gaps: deque[tuple[int, int]] = deque(maxlen=100)  # (end, length) of times in which nobody looked
        self._dumped: dict[int, int] = {}  # incarnation -> when its stacks were asked for
        self._termed: dict[int, int] = {}
        self._ended: dict[int, int] = {}  # incarnation -> when it was found dead, its end not being reported yet

    def tick(self, now_ns: int) -> None:
        """A round of checks begins. Where the last one was long ago we were stopped, and the workers with us, maybe:
        they get that time back."""
        if self._ticked_ns and now_ns - self._ticked_ns > _GAP_NS:
            self._gaps.append((now_ns, now_ns - self._ticked_ns))
        self._ticked_ns = now_ns

    def check(self, worker: Worker, now_ns: int) -> None:
        """Take the next step against this worker if one is due."""
        if worker.incarnation in self._dumped:
            self._go_on(worker, now_ns)
        elif (
            worker.pid
            and worker.phase in (Phase.STARTING, Phase.READY, Phase.STOPPING)
            and (why := self._lateness(worker, now_ns))
        ):
            worker.mark_late(why)
            self._dumped[worker.incarnation] = now_ns
            if processes.is_stopped(worker.pid):
                worker.kill(signal.SIGKILL)
                self._termed[worker.incarnation] = now_ns
            else:
                processes.kill_process(worker.pid, wire.DUMP_SIGNAL)

    def is_stuck(self, worker: Worker, now_ns: int, *, heard_ns: int) -> bool:
        """Is it the fork server's fault that nothing becomes of it: was it asked for, and neither that nor anything
        else was answered for far too long (the last at `heard_ns`)? Or has it been killed for being late, and is it
        dead, and that was not reported?"""
        if not worker.pid:
            return self._spent(max(worker.started_ns, heard_ns), now_ns) >= _FORK_NS
        if worker.incarnation not in self._termed or not processes.has_ended(worker.pid):
            return False
        return self._spent(self._ended.setdefault(worker.incarnation, now_ns), now_ns) >= _STUCK_NS

    def is_held(self, worker: Worker, now_ns: int) -> bool:
        """Has it been killed for being late, and does the kernel hold it for far too long (it sleeps uninterruptibly,
        or has tens of gigabytes to give back)? That is no fault of the fork server's, nor of other workers."""
        termed = self._termed.get(worker.incarnation)
        if termed is None or self._spent(termed, now_ns) < _TERM_NS + _HELD_NS:
            return False
        return not processes.has_ended(worker.pid)

    def forget(self, worker: Worker) -> None:
        """The worker is gone."""
        self._dumped.pop(worker.incarnation, None)
        self._termed.pop(worker.incarnation, None)
        self._ended.pop(worker.incarnation, None)

    def _lateness(self, worker: Worker, now_ns: int) -> str:
        """Why it is late, in words; "" where it is not. One look at the page: what it says is what is told."""
        picture = worker.page.look()
        state, since = picture.state, picture.start_ns
        if not worker.ready:
            # IDLE too, where READY does not come: nothing else would find it.
            limit, what = self._init_timeout_ns, "init() took longer than init_timeout (%g s)"
            if state == page.STARTING:
                limit, since = self._start_timeout_ns, worker.started_ns
                what = "it did not come to import the script within %g s"
        elif state == page.SHUTDOWN:
            limit, what = _SHUTDOWN_NS, "shutdown() took longer than %g s"
        elif state == page.IDLE and worker.told_ns and not worker.outstanding:
            limit, what = _SHUTDOWN_NS, "it did not leave within %g s of being told to"
            since = max(worker.told_ns, since)
        elif state == page.RUN:
            limit, what = self._timeout_ns, "run() took longer than timeout (%g s)"
        else:
            return ""
        return what % (limit / 1e9) if limit and self._spent(since, now_ns) > limit else ""

    def _spent(self, start_ns: int, now_ns: int) -> int:
        return now_ns - start_ns - sum(min(length, end - start_ns) for end, length in self._gaps if end > start_ns)

    def _go_on(self, worker: Worker, now_ns: int) -> None:
        termed = self._termed.get(worker.incarnation)
        if termed is None and not self._lateness(worker, now_ns):
            worker.forgive()
            self.forget(worker)
        elif termed is None:
            if now_ns - self._dumped[worker.incarnation] >= _DUMP_NS:
                self._termed[worker.incarnation] = now_ns
                worker.kill(signal.SIGTERM)
        elif self._spent(termed, now_ns) >= _TERM_NS:
            worker.kill(signal.SIGKILL)
