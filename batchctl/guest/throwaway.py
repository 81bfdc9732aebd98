"""Ask a question in a forked child, so that whatever answering it imports or starts never touches the fork server."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time

from . import limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional

_PATIENCE_S = 120.0
_BEGUN = b"\n"  # what JSON may begin with


class ChildFailed(Exception):
    """The child raised, died or took too long; the message says which."""


class Asked:
    """A question that a child of this process, forked for it, is finding the answer to. `end` has to be called.

    The child itself does `tell` with the answer, and nothing that goes wrong here meanwhile keeps it from that: only
    our own death does.
    """

    def __init__(self, question: Callable[[], Dict[str, Any]], tell: Callable[[Dict[str, Any]], None]) -> None:
        self._read_fd, write_fd = os.pipe()
        self._deadline = time.monotonic() + _PATIENCE_S
        sys.stdout.flush()
        sys.stderr.flush()
        asker = os.getpid()
        self._pid = limits.fork()
        if self._pid == 0:
            limits.die_with(asker)
            _answer(question, tell, write_fd)
        os.close(write_fd)

    def end(self) -> None:
        """Wait until it has told the answer. Raises ChildFailed where it has not begun to, SystemExit where it ended
        midway: then nobody can be told anything any more, but by our end."""
        status = 0
        try:
            text = self._read_all()
        finally:
            try:
                os.kill(self._pid, signal.SIGKILL)  # it has answered, or it will not
            except ProcessLookupError:
                pass
            _pid, status = os.waitpid(self._pid, 0)
            os.close(self._read_fd)
        said = _parsed(text)
        if said is None and text:
            raise SystemExit("batchctl: a process that looked at the script ended midway (wait status %d)" % status)
        if said is None:
            raise ChildFailed("it ended without an answer (wait status %d)" % status)
        if "failed" in said:
            raise ChildFailed("%(error)s: %(message)s\n%(traceback)s" % said["failed"])

    def _read_all(self) -> bytes:
        pieces: List[bytes] = []
        poll = select.poll()
        poll.register(self._read_fd, select.POLLIN | select.POLLHUP)
        # Once it has begun it is let finish: whoever it tells may be stopped, and cut off nobody would understand it.
        while poll.poll(None if pieces else max(0.0, self._deadline - time.monotonic()) * 1000):
            piece = os.read(self._read_fd, 1 << 16)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
        raise ChildFailed("it gave no answer within %d s" % _PATIENCE_S)


def _parsed(text: bytes) -> Optional[Dict[str, Any]]:
    try:
        found: Dict[str, Any] = json.loads(text.decode("ascii"))
    except ValueError:
        return None
    return found


def _answer(question: Callable[[], Dict[str, Any]], tell: Callable[[Dict[str, Any]], None], write_fd: int) -> None:
    try:
        signal.set_wakeup_fd(-1)
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):  # importing may print
            os.dup2(nothing, fd)
        path = list(sys.path)
        try:
            answer = question()
            os.write(write_fd, _BEGUN)
            tell(answer)
            reply: Dict[str, Any] = {"told": True}
        except BaseException as error:
            sys.path[:] = path  # the question may have put the user's folders there
            from .failure import describe  # with its tracebacks 2 ms, that hardly any start needs

            reply = {"failed": describe(error)}
        with open(write_fd, "wb") as sink:
            sink.write(json.dumps(reply).encode("ascii"))
    finally:
        os._exit(0)
