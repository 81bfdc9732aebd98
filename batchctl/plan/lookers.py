"""Looking at many files with all cpus: forked children take a share of the stats, results come in plan order.

    parts of a listing -> tasks (about CHUNK names) -+-> a child with room for it -> answer -+-> stretches, in order
                                                     +-> nobody has room: looked at here ----+

A request is a number and the names, an answer the number, sizes and times. The parent never waits for a child: it looks
at the next task itself, and what a child still owes when it is wanted is looked at here and its answer dropped. So a
child that dies, stops or answers nonsense costs time, never a wrong plan and never a hang. Children only ever say
"all regular files, here they are"; everything else is found again by the parent, with its findings and its errors.
"""

from __future__ import annotations

import gc
import socket
import struct
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from batchctl import processes
from batchctl.errors import UsageError
from batchctl.plan.look import CHUNK, Part, Seen, quick_look
from batchctl.plan.stretch import Stretch

SMALL = 5000  # names that are looked at before children are made (about 1 ms each): small jobs do without
MOST = 3  # children; beyond that the parent, who lists and encodes, is what takes time
_OWED = 2  # tasks that a child may hold, one of them waiting, so that it is never idle for a round trip
_AHEAD = 32  # tasks between what is listed and what is handed on: about 1 MB of names
_TEXT = 1 << 16  # bytes of names that fill a task
_SENT = 160_000  # bytes of names that a child is sent; a socket's buffer has about 200 KB
_REQUEST_ROOM = 1 << 18
_ANSWER_ROOM = 1 << 15  # of 2 * CHUNK names
_ASKED = struct.Struct("<Q")  # task number; then, per part, NUL-joined: number of names, folder, names
_ANSWER = struct.Struct("<QI")  # task number, number of names (0: not all are regular files); sizes u64, mtimes i64


class _Task:
    """Parts that are looked at together. `seen` has an entry per part once `done`; None is one to look at again."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.parts: list[Part] = []
        self.seen: list[Seen | None] = []
        self.names = self.text = 0

    def add(self, part: Part) -> None:
        self.parts.append(part)
        self.names += len(part.names)
        self.text += sum(map(len, part.names)) + len(part.folder)

    @property
    def full(self) -> bool:
        return self.names >= CHUNK or self.text >= _TEXT

    @property
    def done(self) -> bool:
        return len(self.seen) == len(self.parts)

    def look(self) -> None:
        self.seen = list(map(quick_look, self.parts))

    def request(self) -> bytes:
        fields = [b"\0".join((b"%d" % len(names), folder, *names)) for folder, names in self.parts]
        return _ASKED.pack(self.number) + b"\0".join(fields)

    def answered(self, answer: bytes) -> bool:
        """Take a child's answer; False when it is none."""
        if len(answer) < _ANSWER.size:
            return False
        number, count = _ANSWER.unpack_from(answer)
        if number != self.number or count not in (0, self.names) or len(answer) != _ANSWER.size + 16 * count:
            return False
        if count == 0:
            self.seen = [None] * len(self.parts)
            return True
        sizes, mtimes = array("Q"), array("q")
        middle = _ANSWER.size + 8 * count
        sizes.frombytes(answer[_ANSWER.size : middle])
        mtimes.frombytes(answer[middle:])
        at, seen = 0, list[Seen | None]()
        for part in self.parts:
            end = at + len(part.names)
            seen.append((sizes[at:end], mtimes[at:end]))
            at = end
        self.seen = seen
        return True


def serve(channel: socket.socket) -> None:
    """What a child does until the parent closes the channel."""
    gc.disable()  # nothing here makes cycles, and a collection would copy the parent's pages
    while request := channel.recv(_REQUEST_ROOM):
        channel.send(_answer(request))


def _answer(request: bytes) -> bytes:
    (number,) = _ASKED.unpack_from(request)
    fields = request[_ASKED.size :].split(b"\0")
    sizes, mtimes = array("Q"), array("q")
    at = 0
    while at < len(fields):
        first = at + 2
        end = first + int(fields[at])
        seen = quick_look(Part(fields[at + 1], fields[first:end]))
        if seen is None:
            return _ANSWER.pack(number, 0)
        sizes += seen[0]
        mtimes += seen[1]
        at = end
    return _ANSWER.pack(number, len(sizes)) + sizes.tobytes() + mtimes.tobytes()


class _Child:
    """One child and the tasks that it owes, oldest first. Nothing here blocks."""

    def __init__(self, helper: processes.Helper) -> None:
        self.helper = helper
        self._owed: deque[_Task] = deque()

    def takes(self, task: _Task) -> bool:
        """Hand it the task, if it has room. Raises OSError when it is gone."""
        if len(self._owed) >= _OWED or task.text > _SENT:
            return False
        try:
            self.helper.channel.send(task.request(), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        self._owed.append(task)
        return True

    def collect(self) -> None:
        """Take the answers that have arrived. Raises OSError when it is gone or answers nonsense."""
        while self._owed:
            try:
                answer = self.helper.channel.recv(_ANSWER_ROOM, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            task = self._owed.popleft()
            if not task.answered(answer):
                raise ConnectionError("no answer")


class Lookers:
    """This process and its children, made when there is enough to look at. Whoever makes one calls `close`.

    `children` is how many at most (None: one per further usable cpu, three at most).
    """

    def __init__(self, *, children: int | None = None) -> None:
        self._wanted = min(MOST, processes.usable_cpus() - 1) if children is None else children
        self._children: list[_Child] = []
        self._looked_at = 0
        self._number = 0

    def close(self) -> None:
        self._wanted = 0
        for child in self._children:
            child.helper.end()
        self._children.clear()

    def stretches(self, parts: Iterable[Part], again: Callable[[Part], Stretch], *, source: int) -> Iterator[Stretch]:
        """The parts, looked at, in their order. `again` looks at those with a surprise, when it is their turn.

        A refusal by `parts` (UsageError) is raised behind the stretches that came before it, as if nobody ran ahead.
        """
        pending: deque[_Task] = deque()
        coming = iter(parts)
        refusal: UsageError | None = None
        more = True
        while more:
            task = self._new_task()
            try:
                more = self._fill(task, coming)
            except UsageError as error:
                refusal, more = error, False
            if task.parts:
                pending.append(task)
                self._give(task)
            while pending and (pending[0].done or len(pending) > _AHEAD):
                yield from self._handed_on(pending.popleft(), again, source=source)
        # From the end, because the children are at the beginning.
        for task in reversed(pending):
            self._collect()
            if not task.done:
                task.look()
        while pending:
            yield from self._handed_on(pending.popleft(), again, source=source)
        if refusal is not None:
            raise refusal

    def _new_task(self) -> _Task:
        self._number += 1
        return _Task(self._number)

    @staticmethod
    def _fill(task: _Task, coming: Iterator[Part]) -> bool:
        """False when nothing more comes."""
        while not task.full:
            part = next(coming, None)
            if part is None:
                return False
            task.add(part)
        return True

    @staticmethod
    def _handed_on(task: _Task, again: Callable[[Part], Stretch], *, source: int) -> Iterator[Stretch]:
        if not task.done:
            task.look()
        for part, seen in zip(task.parts, task.seen, strict=True):
            yield again(part) if seen is None else Stretch(source, part.folder, part.names, *seen)

    def _give(self, task: _Task) -> None:
        """To a child that has room, else look at it here."""
        self._collect()
        for child in self._children[:]:
            try:
                if child.takes(task):
                    return
            except OSError:
                self._without(child)
        task.look()
        self._looked_at += task.names
        if self._looked_at >= SMALL and self._wanted > 0:
            self._start()

    def _start(self) -> None:
        for _ in range(self._wanted):
            helper = processes.fork_helper(serve)
            if helper is not None:
                self._children.append(_Child(helper))
        self._wanted = 0  # those that cannot be had, or die, are not replaced

    def _collect(self) -> None:
        for child in self._children[:]:
            try:
                child.collect()
            except OSError:
                self._without(child)

    def _without(self, child: _Child) -> None:
        self._children.remove(child)
        child.helper.end()
