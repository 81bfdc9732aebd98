"""The fork server: one single-threaded process per run that holds our code (and what `preload` names) and forks
workers.

    PYTHON guest.pyz serve CONTROL_FD PARENT_PID

The control socket carries wire frames both ways; the three descriptors of a FORK (channel, page, log) come by
SCM_RIGHTS with the bytes of that frame, first in first out. Requests are answered in order:

    JOB      nothing; must come before the first FORK. Again: replaces the configuration. Where it asks for a preload,
             HELLO with `configured`: another process may go on as the server (preload.py). Then PRELOAD_REFUSED
    FORK     FORKED, and EXITED when that worker has ended
    FACTS    FACTS_FOUND
    QUIT     kills what is left, reports it, and leaves with 0
    any      SERVER_FAILED where the request could not be carried out; the server goes on

Every worker leads its own process group. When it ends, whatever it left in that group is killed before the report,
while the zombie still keeps the group's number from being used again. When the control socket closes, the server kills
every group and leaves: no worker outlives its pool. SIGINT and SIGHUP are ignored: the coordinator decides.
"""

from __future__ import annotations

import _socket as socket  # what socket.py adds to it, workers have in time: 2.5 ms before the facts
import array
import gc
import os
import select
import signal
import sys
from collections import deque

from . import limits, wire
from .config import SCRIPT, Job, fork_of, job_of
from .named_tuple import NamedTuple
from .throwaway import Asked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Dict, List, Optional, Tuple

    from .preload import Preloaded

_FDS_PER_FORK = 3
_READ = 256 << 10
# More than the coordinator's, less than the workers': while the memory of a dead worker is being freed the kernel may
# look for another victim. We can be started anew.
_OOM_SCORE = 250


class _Worker(NamedTuple):
    slot: int
    incarnation: int
    epoch: int


class Server:
    """Serves one control socket until QUIT or end of file."""

    def __init__(self, control: socket.socket, *, collecting: bool) -> None:
        self._control = control
        self._decoder = wire.Decoder()
        self._fds: Deque[int] = deque()
        self._job: Optional[Job] = None
        self._workers: Dict[int, _Worker] = {}
        self._quitting = False
        self._collecting = collecting
        self._preloaded: Optional[Preloaded] = None  # until what workers need is imported
        # Wakes poll() when a child has ended; non-blocking at both ends, as set_wakeup_fd demands.
        self._wake, waker = socket.socketpair()
        self._wake.setblocking(False)
        waker.setblocking(False)
        self._waker = waker
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)

    def serve(self) -> int:
        """The exit code."""
        limits.prefer_for_oom(_OOM_SCORE)
        self._say_hello(configured=False)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while not self._quitting:
            for fd, _events in poll.poll():
                if fd == self._wake.fileno():
                    self._drain_wake()
                elif not self._receive():
                    self._kill_all()
                    return 0
            self._reap()
        self._kill_all()
        while self._workers:
            self._reap(block=True)
        return 0

    def _receive(self) -> bool:
        room = socket.CMSG_SPACE(64 * _FDS_PER_FORK * array.array("i").itemsize)
        try:
            data, ancillary, _flags, _address = self._control.recvmsg(_READ, room, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # closed over there, with something of ours unread
            return False
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
                self._fds.extend(fds)
        if not data:
            return False
        for frame in self._decoder.feed(data):
            try:
                self._answer(frame)
            except wire.ProtocolError:
                raise
            except Exception as error:
                from .failure import describe

                self._say(wire.SERVER_FAILED, dict(describe(error), request=frame.kind), frame)
        return True

    def _answer(self, frame: wire.Frame) -> None:
        if frame.kind == wire.JOB:
            self._job = job_of(frame)
            refused = self._prepare().bring(self._job, busy=bool(self._workers))
            if self._job.preload:
                self._say_hello(configured=True)
            for name, reason in refused:
                self._say(wire.PRELOAD_REFUSED, {"module": name, "reason": reason})
            # What exists now is shared with every worker; a collection in a worker must not touch (and so copy) it.
            gc.collect()  # through what is not frozen yet: data that modules in `preload` have made
            gc.freeze()
        elif frame.kind == wire.FORK:
            self._fork(frame)
        elif frame.kind == wire.FACTS:
            asked = frame.json()
            script, code, scorer = str(asked["script"]), str(asked["code"]), str(asked.get("scorer", SCRIPT))
            child = Asked(lambda: _facts(script, code, scorer), lambda found: self._say(wire.FACTS_FOUND, found))
            try:
                self._prepare()  # what only workers need: while the child looks, on another core
            finally:
                child.end()
        elif frame.kind == wire.QUIT:
            self._quitting = True
        else:
            raise wire.ProtocolError("the fork server does not expect frames of kind %d" % frame.kind)

    def _prepare(self) -> Preloaded:
        """Import what only workers need, after all that the coordinator waits for at each start. It is shared with
        every worker."""
        if self._preloaded is None:
            from .preload import Preloaded
            from .worker import live  # noqa: F401 - and with it all the rest

            self._preloaded = Preloaded()
            gc.freeze()  # none of it is garbage: not to be looked through now, nor copied for it by a worker
            if self._collecting:
                gc.enable()
        return self._preloaded

    def _fork(self, frame: wire.Frame) -> None:
        if len(self._fds) < _FDS_PER_FORK:
            raise wire.ProtocolError("FORK came without its descriptors")
        fds = [self._fds.popleft() for _ in range(_FDS_PER_FORK)]  # first of all: else the next FORK would get them
        try:
            fork = fork_of(frame)
            if self._job is None:
                raise wire.ProtocolError("FORK before JOB")
            preloaded = self._prepare()
            from .worker import Descriptors, live

            server = os.getpid()
            pid = limits.fork()
            if pid == 0:
                live(self._job, fork, Descriptors(*fds), server=server, preloaded=preloaded)
        finally:
            for fd in fds:
                os.close(fd)
        try:
            os.setpgid(pid, pid)  # here too: whoever comes first, the group exists before anybody is told of it
        except OSError:  # it has exited, or it did so itself
            pass
        self._workers[pid] = _Worker(fork.slot, fork.incarnation, fork.epoch)
        self._say(wire.FORKED, {"slot": fork.slot, "incarnation": fork.incarnation, "pid": pid}, fork)

    def _reap(self, *, block: bool = False) -> None:
        """Report every child that has ended."""
        while self._workers:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | (0 if block else os.WNOHANG))
            if found is None:
                return
            pid = found.si_pid
            worker = self._workers.pop(pid, None)
            if worker is not None:
                _kill_group(pid)
            _pid, status = os.waitpid(pid, 0)
            if worker is not None:
                exited = {"slot": worker.slot, "incarnation": worker.incarnation, "pid": pid, "status": status}
                self._say(wire.EXITED, exited, worker)

    def _kill_all(self) -> None:
        for pid in self._workers:
            _kill_group(pid)

    def _drain_wake(self) -> None:
        try:
            while self._wake.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _say_hello(self, *, configured: bool) -> None:
        told = {"pid": os.getpid(), "python": sys.version.split()[0], "executable": sys.executable}
        self._say(wire.HELLO, dict(told, configured=configured))

    def _say(self, kind: int, fields: Dict[str, Any], about: Any = None) -> None:
        # The header names the worker that it is about, and echoes the request's where that failed.
        epoch, incarnation = (about.epoch, about.incarnation) if about is not None else (0, 0)
        try:
            self._control.sendall(wire.encode_json(kind, epoch, incarnation, fields))
        except BrokenPipeError:  # end of file follows on the next read
            pass


def _facts(script: str, code: str, scorer: str) -> Dict[str, Any]:
    from .facts import find_facts  # in the child alone, which takes its time beside us

    return find_facts(script, code, scorer)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # empty, or what is left in it has changed its user
        pass


def main(arguments: List[str], *, collecting: bool) -> int:
    """`serve CONTROL_FD PARENT_PID`; the exit code. `collecting`: garbage is to be collected, once all is imported."""
    try:
        command, control_fd, parent = arguments
        fds: Tuple[int, int] = int(control_fd), int(parent)
        if command != "serve":
            raise ValueError(command)
    except ValueError:
        sys.stderr.write("usage: guest.pyz serve CONTROL_FD PARENT_PID (batchctl starts it; it is no use by hand)\n")
        return 2
    limits.own_group()
    limits.die_with(fds[1])
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=fds[0])
    control.setblocking(True)
    os.set_inheritable(fds[0], False)
    return Server(control, collecting=collecting).serve()
