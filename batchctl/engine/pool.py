"""The pool of slots on one machine: a fork server, the workers it made, and one loop that hears them all.

    conductor -> Pool.send -> channel -> worker
    conductor <- events    <- Pool.poll <- channel | log pipe | shared page | fork server's reports

One component: `engine/local` drives it in the coordinator's own process. Everything that a worker says is fenced by
(epoch, incarnation, serial). Death is the fork server's report or, where that died itself, its own reaping.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from batchctl import processes
from batchctl.engine.base import EngineJob
from batchctl.engine.deadlines import Deadlines
from batchctl.engine.deaths import describe_status, shortage_of, was_sigkill
from batchctl.engine.fork_server import ForkServer
from batchctl.engine.job_frame import job_head
from batchctl.engine.standstill import Standstill
from batchctl.engine.worker import Phase, Worker
from batchctl.errors import UsageError
from batchctl.guest import page, wire
from batchctl.model.events import EngineLost, Event, GuestWarned, InitFailed, WorkerForked, WorkerGone
from batchctl.model.lease import Lease
from batchctl.model.node import Slot
from batchctl.model.outcome import Failure, FailureKind, Shortage
from batchctl.model.progress import WorkerView

_TICK_S = 0.1  # deadlines are looked at this often
_TICK_NS = int(_TICK_S * 1e9)
_KILL_S = 2.0  # what the kernel may take to end a killed process
_OOM_SCORE = 500  # above our own: the kernel is to take a worker, never the coordinator


class Pool:
    """Workers by slot. Not thread-safe, except `wake`. `server` is the pool's from here on, `start_server` makes one
    in its place."""

    def __init__(self, server: ForkServer, start_server: Callable[[], ForkServer]) -> None:
        self._start_server = start_server
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._workers: dict[int, Worker] = {}  # by slot
        self._by_fd: dict[int, Worker] = {}
        self._events: list[Event] = []  # found outside of poll
        self._incarnation = 0
        self._next_tick = 0
        self._server_fault = ""  # why we killed it, if we did
        self._job: EngineJob | None = None
        self._question: tuple[int, dict[str, Any]] = (0, {})
        self._deadlines = Deadlines(0, 0)
        self._standstill = Standstill()
        self.server = self._adopt(server)

    def _adopt(self, server: ForkServer) -> ForkServer:
        for fd in (server.channel.fileno(), server.errors):
            self._epoll.register(fd, select.EPOLLIN)
        return server

    def configure(self, job: EngineJob) -> None:
        """What every worker will be told."""
        self._job = job
        self._deadlines = Deadlines(job.timeout, job.init_timeout, job.start_timeout)
        self.server.send(wire.JOB, job_head(job))

    def start_worker(self, slot: Slot) -> int:
        """See Engine.start_worker."""
        job = self._job
        if job is None or slot.index in self._workers:
            raise AssertionError(f"slot {slot.index} is not free to start a worker")
        self._incarnation += 1
        sink = job.log_sink(slot.index, self._incarnation)
        worker = Worker(slot, job.epoch, self._incarnation, log_sink=sink, started_ns=page.now_ns())
        fields = {
            "slot": slot.index,
            "incarnation": worker.incarnation,
            "epoch": job.epoch,
            "cpus": list(slot.cpus),
            "threads": slot.threads,
            "gpu": slot.gpu,
            "oom_score_adj": _OOM_SCORE,
            "home": str(Path(job.stage) / f"worker-{slot.index}.{self._incarnation}"),
        }
        self.server.send(wire.FORK, fields, fds=worker.ends.fds(), incarnation=worker.incarnation)
        worker.ends.close()
        self._workers[slot.index] = worker
        for fd in (worker.channel.fileno(), worker.log):
            self._by_fd[fd] = worker
            self._epoll.register(fd, select.EPOLLIN)
        return worker.incarnation

    def send(self, slot: int, leases: Sequence[Lease]) -> None:
        """See Engine.send."""
        worker = self._workers[slot]
        try:
            worker.send(leases)
        except wire.ProtocolError as error:
            self._condemn(worker, error)

    def take_back(self, slot: int) -> tuple[Lease, ...]:
        """See Engine.take_back."""
        worker = self._workers.get(slot)
        return worker.take_back() if worker else ()

    def in_hand(self, slot: int) -> int:
        """See Engine.in_hand."""
        worker = self._workers.get(slot)
        return len(worker.outstanding) if worker else 0

    def stop_worker(self, slot: int) -> None:
        """See Engine.stop_worker."""
        worker = self._workers.get(slot)
        if worker is None:
            return
        if worker.phase in (Phase.READY, Phase.LATE):
            try:
                worker.tell_to_stop()
            except wire.ProtocolError as error:
                self._condemn(worker, error)
        elif worker.phase is Phase.STARTING:  # nothing to finish, and init() may take an hour
            self.kill_worker(slot)

    def kill_worker(self, slot: int) -> None:
        """See Engine.kill_worker."""
        worker = self._workers.get(slot)
        if worker is not None:
            worker.phase = Phase.KILLED
            worker.kill(signal.SIGKILL)

    def ask(self, kind: int, fields: dict[str, Any]) -> None:
        """Put a question to the fork server, for `answer` to wait for; meanwhile the caller may do something else."""
        self._question = (kind, fields)
        self.server.send(kind, fields)

    def answer(self, kind: int) -> dict[str, Any]:
        """Its answer; where it was killed meanwhile a new one is asked, once. Raises UsageError."""
        try:
            return self.server.wait_for(kind)
        except UsageError:
            if os.WIFSIGNALED(self.server.status):
                self._replace_server(describe_status(self.server.status, shortage=Shortage.SUSPECTED), self._events)
            elif not self.server.pid:
                raise  # it ended by itself: this interpreter cannot do it
        self.server.send(*self._question)
        return self.server.wait_for(kind)

    def wake(self) -> None:
        """See Engine.wake."""
        with contextlib.suppress(OSError):
            os.eventfd_write(self._wake, 1)

    def poll(self, timeout: float) -> list[Event]:
        """See Engine.poll."""
        events, self._events = self._events, []
        now = page.now_ns()
        tick_due = max(0.0, (self._next_tick - now) / 1e9)
        wait = 0.0 if events else min(timeout, tick_due)
        server_spoke = False
        for fd, _bits in self._epoll.poll(wait):
            worker = self._by_fd.get(fd)
            if worker is not None:
                if fd == worker.log:
                    self._read_log(worker)
                else:
                    self._read_channel(worker, events)
            elif fd == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            elif fd == self.server.errors:
                self._read_server_errors(events)
            else:
                server_spoke = True
        if server_spoke:  # after the channels: what a worker sent before it died counts
            self._read_server(events)
        now = page.now_ns()
        if now >= self._next_tick:
            self._next_tick = now + _TICK_NS
            self._tick(now, events)
        return events

    def _read_log(self, worker: Worker) -> None:
        if not worker.read_log():
            with contextlib.suppress(OSError):  # closed by everybody over there: no more to hear
                self._epoll.unregister(worker.log)

    def _read_channel(self, worker: Worker, events: list[Event]) -> None:
        try:
            alive = worker.read_channel(events)
        except wire.ProtocolError as error:
            events.append(GuestWarned(worker.slot.index, worker.incarnation, f"the worker broke the protocol: {error}"))
            self._condemn(worker, error)
            alive = False
        if not alive:  # its death will be reported; until then the closed channel must not spin us
            with contextlib.suppress(OSError):
                self._epoll.unregister(worker.channel.fileno())

    def _condemn(self, worker: Worker, error: wire.ProtocolError) -> None:
        """It is not to be trusted any more, nor listened to."""
        worker.fault = f"it broke the protocol: {error}"
        worker.kill(signal.SIGKILL)

    def _read_server_errors(self, events: list[Event]) -> None:
        said = self.server.read_errors()
        if said:
            events.append(GuestWarned(-1, 0, said.decode(errors="replace").strip()))
        else:
            with contextlib.suppress(OSError):
                self._epoll.unregister(self.server.errors)

    def _read_server(self, events: list[Event]) -> None:
        try:
            frames = self.server.receive()
        except wire.ProtocolError:  # its death, and with it EngineLost, is found by reaping
            processes.kill_process(self.server.pid, signal.SIGKILL)
            frames = []
        if not frames:
            self._tick_server(events)
        for frame in frames:
            said = frame.json()
            if frame.kind == wire.FORKED:
                worker = self._workers.get(said["slot"])
                if worker is not None and worker.incarnation == said["incarnation"]:
                    worker.pid = said["pid"]
                    worker.started_ns = page.now_ns()  # what the server did before (preload) is not init()
                    events.append(WorkerForked(worker.slot.index, worker.incarnation, worker.pid))
                    if worker.phase is Phase.KILLED or worker.fault:  # the order came before we knew whom to kill
                        worker.kill(signal.SIGKILL)
            elif frame.kind == wire.EXITED:
                worker = self._workers.get(said["slot"])
                if worker is not None and worker.incarnation == said["incarnation"]:
                    self._bury(worker, said["status"], events)
            elif frame.kind == wire.PRELOAD_REFUSED:
                what = f"preload of {said.get('module')} refused: {said.get('reason')}"
                events.append(GuestWarned(-1, 0, f"{what}; each worker imports it for itself"))
            elif frame.kind == wire.SERVER_FAILED:
                self._take_refusal(frame.incarnation, said, events)

    def _take_refusal(self, incarnation: int, said: dict[str, Any], events: list[Event]) -> None:
        """The server could not do what it was asked: if that was a worker, there will be none."""
        what = f"{said.get('error')}: {said.get('message')}"
        worker = next((one for one in self._workers.values() if one.incarnation == incarnation), None)
        if worker is None:
            events.append(GuestWarned(-1, 0, f"fork server: {what}"))
            return
        error, message, traceback = (str(said.get(name, "")) for name in ("error", "message", "traceback"))
        self._remove(worker)
        failure = Failure(FailureKind.FAILED, error, message, traceback)
        events.append(InitFailed(worker.slot.index, worker.incarnation, failure))
        events.append(WorkerGone(worker.slot.index, worker.incarnation, False, f"it could not be forked: {what}"))

    def _bury(self, worker: Worker, status: int, events: list[Event]) -> None:
        # Its group is dead: the server killed it before it gave the number free, which another may have by now.
        ours = worker.late_because if worker.phase is Phase.LATE else worker.fault
        if worker.phase is Phase.KILLED:
            ours = "on the coordinator's order"
        shortage = Shortage.NONE
        if not ours and self._job is not None and was_sigkill(status):
            shortage = shortage_of(self._job.was_starved(worker.pid))
        cause = ours if worker.phase is Phase.LATE else describe_status(status, ours=ours, shortage=shortage)
        expected = worker.phase in (Phase.STOPPING, Phase.KILLED)
        worker.conclude(events, cause=cause, charge=worker.phase is not Phase.KILLED, shortage=shortage)
        self._remove(worker)
        events.append(WorkerGone(worker.slot.index, worker.incarnation, expected, cause, shortage))

    def _remove(self, worker: Worker) -> None:
        self._deadlines.forget(worker)
        del self._workers[worker.slot.index]
        for fd in (worker.channel.fileno(), worker.log):
            self._by_fd.pop(fd, None)
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)
        worker.close()

    def _tick(self, now: int, events: list[Event]) -> None:
        self._deadlines.tick(now)
        for worker in list(self._workers.values()):
            self._deadlines.check(worker, now)
            if self._deadlines.is_stuck(worker, now, heard_ns=self.server.heard_ns):
                self._end_server("it no longer reported which workers had begun or ended")
            elif self._deadlines.is_held(worker, now):  # its EXITED will come when nobody waits for it any more
                self._bury(worker, signal.SIGKILL, events)
                continue
            if self._standstill.lasts(worker.pid, matters=worker.owes):
                worker.fault = "it was stopped, and nobody made it go on"
                worker.kill(signal.SIGKILL)
        if self._standstill.lasts(self.server.acting):
            self._end_server("it was stopped, and nobody made it go on")
        self._tick_server(events)

    def _end_server(self, fault: str) -> None:
        if self.server.pid:  # its reaping brings a new one
            self._server_fault = fault
            processes.kill_process(self.server.pid, signal.SIGKILL)

    def _tick_server(self, events: list[Event]) -> None:
        for pid, status in processes.reap_children():
            if pid == self.server.pid:
                self.server.pid, self.server.status = 0, status
        if not self.server.pid:  # it was reaped here, or when its answer to a question was looked for
            cause = describe_status(self.server.status, ours=self._server_fault, shortage=Shortage.SUSPECTED)
            self._replace_server(cause, events)
            self._server_fault = ""

    def _replace_server(self, cause: str, events: list[Event]) -> None:
        """Its workers have died with it (parent-death signal); nobody is charged but those whose deadline had passed
        before. A new one stands ready on return."""
        for worker in list(self._workers.values()):
            worker.kill(signal.SIGKILL)
        for worker in list(self._workers.values()):
            expected = worker.phase in (Phase.STOPPING, Phase.KILLED)
            late = worker.phase is Phase.LATE
            if not late:
                worker.phase = Phase.KILLED
            worker.conclude(events, cause=worker.late_because if late else cause, charge=late)
            self._remove(worker)
            events.append(WorkerGone(worker.slot.index, worker.incarnation, expected, f"the fork server {cause}"))
        for fd in (self.server.channel.fileno(), self.server.errors):
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)
        self.server.close()
        self.server = self._adopt(self._start_server())
        if self._job is not None:
            self.server.send(wire.JOB, job_head(self._job))
        events.append(EngineLost(f"the fork server {cause}"))

    def workers(self) -> tuple[WorkerView, ...]:
        """See Engine.workers."""
        return tuple(worker.view(page.now_ns()) for worker in self._workers.values())

    def close(self) -> None:
        """Kill and give back everything. May be called twice."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.kill(signal.SIGKILL)
        self.server.close()
        processes.await_end([worker.pid for worker in workers if worker.pid], seconds=_KILL_S)
        processes.reap_children()
        for worker in workers:
            self._remove(worker)
        if not self._epoll.closed:
            self._epoll.close()
            os.close(self._wake)
