"""Ask a question in a forked child, so that whatever answering it imports or starts never touches the fork server."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from typing import Any, Callable, Dict, List, Optional

from . import limits

_PATIENCE_S = 120.0


class ChildFailed(Exception):
    """The child raised, died or took too long; the message says which."""


def ask_child(question: Callable[[], Dict[str, Any]], tell: Callable[[Dict[str, Any]], None]) -> None:
    """`tell` the answer of `question()`, which ran in a child of this process, and only then end that: 1 ms. Raises
    ChildFailed. The caller waits."""
    read_fd, write_fd = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    asker = os.getpid()
    pid = limits.fork()
    if pid == 0:
        limits.die_with(asker)
        _answer(question, write_fd)
    os.close(write_fd)
    status = 0
    try:
        text = _read_all(read_fd)
        found = _parsed(text)
        if found is not None and "answer" in found:
            tell(found["answer"])
    finally:
        os.close(read_fd)
        try:
            os.kill(pid, signal.SIGKILL)  # it has answered, or it will not
        except ProcessLookupError:
            pass
        _pid, status = os.waitpid(pid, 0)
    if found is None:
        raise ChildFailed("it ended without an answer (wait status %d)" % status)
    if "failed" in found:
        raise ChildFailed("%(error)s: %(message)s\n%(traceback)s" % found["failed"])


def _parsed(text: bytes) -> Optional[Dict[str, Any]]:
    try:
        found: Dict[str, Any] = json.loads(text.decode("ascii"))
    except ValueError:
        return None
    return found


def _answer(question: Callable[[], Dict[str, Any]], write_fd: int) -> None:
    try:
        signal.set_wakeup_fd(-1)
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):  # importing may print
            os.dup2(nothing, fd)
        path = list(sys.path)
        try:
            reply = {"answer": question()}
        except BaseException as error:
            sys.path[:] = path  # the question may have put the user's folders there
            from .failure import describe  # with its tracebacks 2 ms, that hardly any start needs

            reply = {"failed": describe(error)}
        with open(write_fd, "wb") as sink:
            sink.write(json.dumps(reply).encode("ascii"))
    finally:
        os._exit(0)


def _read_all(fd: int) -> bytes:
    pieces: List[bytes] = []
    deadline = time.monotonic() + _PATIENCE_S
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLHUP)
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        piece = os.read(fd, 1 << 16)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
    raise ChildFailed("it gave no answer within %d s" % _PATIENCE_S)
