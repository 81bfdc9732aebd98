"""The fork server as the pool sees it: one process in the user's interpreter that makes workers for us.

It is started from the coordinator's main thread and dies with it (parent-death signal). Requests and answers are wire
frames over one socket pair; three descriptors ride along with each request for a worker. Its death is known by its
reaping (we are its parent), never by the end of the stream.
"""

from __future__ import annotations

import _socket as socket  # all that is needed of it; what socket.py adds is 4 ms before the interpreter is started
import array
import contextlib
import os
import select
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from batchctl import processes
from batchctl.errors import UsageError
from batchctl.guest import wire

_HELLO_LIMIT_S = 60.0
_ANSWER_LIMIT_S = 150.0  # once it is known to be ours; the guest itself gives up after 120 s and says so
_READ = 1 << 16


class ForkServer:
    """One fork server process: `python *arguments guest`. `pid` is 0 once it is gone.

    With a preload another process, below it, acts as the server: `acting` is who must not stand still, `pid` stays the
    one to kill and to reap, which takes that one with it.

    `environment` is the script's. Workers are forked, not started: what an interpreter, or the loader of its
    libraries, reads only at its start (PYTHONHASHSEED, LD_LIBRARY_PATH, TZ) works for them when it works here.
    """

    def __init__(
        self,
        python: str,
        guest: Path,
        *,
        run_id: str,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._argv = [python, *arguments, str(guest)]
        self._run_id = run_id
        self._decoder = wire.Decoder()
        self._early: list[wire.Frame] = []
        self._said_hello = False
        self._preloading = False
        self._heard_ns = time.monotonic_ns()
        self._acting = 0
        self.pid = 0
        self.status = 0  # how it ended, where `wait_for` saw it
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.channel = ours
        try:
            self.errors, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:  # too many are open: whoever tidies up after this needs one
            ours.close()
            theirs.close()
            raise
        os.set_blocking(write_end, True)
        env = processes.child_environment({**environment, processes.RUN_ID_VARIABLE: run_id})
        argv = [*self._argv, "serve", str(theirs.fileno()), str(os.getpid())]
        try:
            self.pid = processes.spawn(argv, env, pass_fds=(theirs.fileno(),), stderr=write_end)
        except OSError as error:
            self.close()
            raise UsageError(f"cannot start the interpreter: {error.strerror}", where=python) from error
        finally:
            theirs.close()
            os.close(write_end)

    def send(self, kind: int, fields: Mapping[str, Any], *, fds: Sequence[int] = (), incarnation: int = 0) -> None:
        """One request; a failure to carry it out names `incarnation`. A server that has died meanwhile is not an error
        here: its death will be reported."""
        data = wire.encode_json(kind, 0, incarnation, dict(fields))
        if kind == wire.JOB:
            self._preloading = bool(fields.get("preload"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if fds:
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
                sent = self.channel.sendmsg([data], ancillary)
                data = data[sent:]
            if data:
                self.channel.sendall(data)

    def receive(self) -> list[wire.Frame]:
        """Frames that have arrived; never blocks. Raises wire.ProtocolError."""
        found: list[wire.Frame] = []
        while True:
            try:
                data = self.channel.recv(_READ, socket.MSG_DONTWAIT)
            except (BlockingIOError, ConnectionResetError):
                break
            if not data:
                break
            found.extend(self._decoder.feed(data))
        for frame in found:
            self._take_note(frame)
        found = self._early + [frame for frame in found if frame.kind != wire.HELLO]
        self._early = []
        return found

    def _take_note(self, frame: wire.Frame) -> None:
        """It lives; and who it is now."""
        self._heard_ns = time.monotonic_ns()
        configured = False
        if frame.kind == wire.HELLO:
            said = frame.json()
            pid = said.get("pid")
            self._acting = pid if type(pid) is int and pid > 0 else 0  # else it is the one that we started
            configured, self._said_hello = bool(said.get("configured")), True
        if configured or frame.kind == wire.SERVER_FAILED:
            self._preloading = False

    @property
    def acting(self) -> int:
        """The process that serves; 0 once it is gone."""
        return self._acting if self._acting and self.pid else self.pid

    @property
    def heard_ns(self) -> int:
        """When it spoke last (CLOCK_MONOTONIC). Now, while it preloads: it looks at that time itself."""
        return time.monotonic_ns() if self._preloading else self._heard_ns

    def wait_for(self, kind: int, *, seconds: float = _HELLO_LIMIT_S) -> dict[str, Any]:
        """Wait for an answer of this kind; other frames are kept for `receive`. Raises UsageError when none comes."""
        deadline = time.monotonic() + seconds
        known = False
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        while True:
            frames = self._understood()
            if self._said_hello and not known:
                known, deadline = True, time.monotonic() + max(seconds, _ANSWER_LIMIT_S)
            for index, frame in enumerate(frames):
                if frame.kind == kind:
                    self._early = frames[:index] + frames[index + 1 :]
                    return self._said(frame)
                if frame.kind == wire.SERVER_FAILED:
                    raise UsageError(
                        f"the interpreter could not do it: {self._said(frame).get('message')}", where=self._argv[0]
                    )
            self._early = frames
            left = deadline - time.monotonic()
            if left <= 0 or (self._ended() and not self.channel_has_data(poll)):
                raise UsageError(
                    self._why_silent(), where=self._argv[0], remedy="give another interpreter with --python"
                )
            poll.poll(min(left, 0.2) * 1000)

    def has_answered(self, kind: int) -> bool:
        """Whether `wait_for` would not wait: for the answer is there, or there will be none. Raises UsageError."""
        self._early = self._understood()
        return any(frame.kind in (kind, wire.SERVER_FAILED) for frame in self._early) or self._ended()

    def _understood(self) -> list[wire.Frame]:
        try:
            return self.receive()
        except wire.ProtocolError as error:
            raise self.nonsense() from error

    def _said(self, frame: wire.Frame) -> dict[str, Any]:
        try:
            return frame.json()
        except wire.ProtocolError as error:
            raise self.nonsense() from error

    def nonsense(self) -> UsageError:
        """What to raise for an answer that makes no sense."""
        what = "the interpreter answered nonsense"
        return UsageError(what, where=self._argv[0], remedy="give another interpreter with --python")

    def channel_has_data(self, poll: select.poll) -> bool:
        """Is there anything left to read?"""
        for _fd, bits in poll.poll(0):
            if bits & select.POLLIN:
                try:
                    return bool(self.channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
                except OSError:
                    return False
        return False

    def read_errors(self) -> bytes:
        """What the server itself printed since the last call; never blocks."""
        try:
            return os.read(self.errors, _READ)
        except OSError:
            return b""

    def _ended(self) -> bool:
        if self.pid:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.pid, self.status = 0, status
        return not self.pid

    def _why_silent(self) -> str:
        said = self.read_errors().decode(errors="replace").strip()
        what = "the interpreter did not answer" if self.pid else "the interpreter ended at once"
        return f"{what}: {said[-2000:]}" if said else what

    def close(self) -> None:
        """Kill the server if it lives and close the channel; workers die with it. May be called twice."""
        if self.pid:
            processes.kill_process(self.pid, 9)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self.pid = 0
        self.channel.close()
        if self.errors >= 0:
            os.close(self.errors)
            self.errors = -1
