"""Listing the folders of a tree with all cpus: forked children list some of those that come next.

    folders that come, in plan order -+-> a child with room for it -> answer -+-> their content, when it is asked for
                                      +-> listed here while none is ready ----+

A request is a number and a folder, an answer the number and the names. The parent never waits for a child: while the
answer that it wants is not there it lists another folder ahead, and at last that one itself. So a child that dies,
stops or answers nonsense costs time, never a wrong plan and never a hang. Children, and what is listed ahead, only ever
say "files and folders, these": everything else is met again by the parent, with its findings and its errors.
"""

from __future__ import annotations

import gc
import os
import socket
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

from batchctl import processes
from batchctl.named_tuple import NamedTuple
from batchctl.plan.lookers import MOST
from batchctl.plan.patterns import Chooser

FEW = 8  # folders that have to come, or nobody is asked
WORTH_NS = 5_000_000  # what listing has to have taken before children are made (about 1 ms each)
WORTH_EACH_NS = 50_000  # and each folder of that; a round trip takes 20 us
_OWED = 2  # folders that a child may hold, one of them waiting, so that it is never idle for a round trip
_AHEAD = 40  # how far into the folders of one folder anybody looks
_LEVELS = 4  # and of how many folders that are under way
_HELD = 4 << 20  # bytes of answers that are held
_OWN_AHEAD = 8  # folders that are listed here before they are asked for
_VAIN = 16  # answers in a row that are of no use, after which children are sent away
_TEXT = 160_000  # bytes of names in an answer; a socket's buffer has about 200 KB. Larger folders are the parent's own
_NAMES = 20_000
_ROOM = 1 << 18
_HEAD = struct.Struct("<QIII")  # request number, CRC of what follows, sub-folders, files turned away by filters
_AGAIN = 0xFFFFFFFF  # instead of how many sub-folders: to be met again


class Content(NamedTuple):
    """What lies in a folder: names of files, sorted, and of sub-folders, in no order."""

    names: list[bytes]
    folders: list[bytes]
    filtered: int  # files that filters turned away


def quick_list(folder: bytes, relative: str, choosers: Sequence[Chooser]) -> Content | None:
    """The content of a folder of files and folders that is not too large to be told in one answer; else None.
    `relative`: the folder as filters see it, with a slash at its end, or ""."""
    try:
        with os.scandir(folder) as entries:
            found = list(islice(entries, _NAMES + 1))
            names = [entry.name for entry in found if entry.is_file()]
            folders = [entry.name for entry in found if entry.is_dir()] if len(names) < len(found) else []
    except OSError:
        return None
    if len(names) + len(folders) < len(found) or len(found) > _NAMES:
        return None
    filtered = 0
    for chooser in choosers:
        chosen = chooser.choose(relative, names)
        if chooser.counted:
            filtered += len(names) - len(chosen)
        names = list(chosen)
    names.sort()
    return Content(names, folders, filtered)


def _answer(number: int, content: Content | None) -> bytes:
    """An answer; that it is to be met again, where the names do not fit."""
    if content is not None:
        text = b"\0".join((*content.folders, *content.names))
        if len(text) <= _TEXT:
            return _HEAD.pack(number, zlib.crc32(text), len(content.folders), content.filtered) + text
    return _HEAD.pack(number, 0, _AGAIN, 0)


def _content_of(answer: bytes) -> Content | None:
    _, _, count, filtered = _HEAD.unpack_from(answer)
    if count == _AGAIN:
        return None
    text = answer[_HEAD.size :]
    names = text.split(b"\0") if text else []
    return Content(names[count:], names[:count], filtered)


class _Child:
    """One child and the folders that it owes, oldest first. Nothing here blocks."""

    def __init__(self, helper: processes.Helper) -> None:
        self.helper = helper
        self._owed: deque[tuple[int, bytes]] = deque()
        self._number = 0

    @property
    def has_room(self) -> bool:
        return len(self._owed) < _OWED

    def takes(self, folder: bytes) -> bool:
        """Hand it the folder, if it has room. Raises OSError when it is gone."""
        try:
            self.helper.channel.send(b"%d\0%s" % (self._number, folder), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        self._owed.append((self._number, folder))
        self._number += 1
        return True

    def answers(self) -> Iterator[tuple[bytes, bytes]]:
        """Those that have arrived. Raises OSError when it is gone or answers nonsense."""
        while self._owed:
            try:
                answer = self.helper.channel.recv(_ROOM, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            number, folder = self._owed.popleft()
            if len(answer) < _HEAD.size or _HEAD.unpack_from(answer)[:2] != (number, zlib.crc32(answer[_HEAD.size :])):
                raise ConnectionError("no answer")
            yield folder, answer

    @property
    def owed(self) -> list[bytes]:
        return [folder for _, folder in self._owed]


class _Coming:
    """Sub-folders of one folder, of which the first `at` have had their turn. Paths are made when they are wanted:
    there may be a million."""

    def __init__(self, above: bytes, names: Sequence[bytes]) -> None:
        self._above, self._names = above, names
        self._at = 0

    def __len__(self) -> int:
        return len(self._names) - self._at

    def first(self) -> Iterator[bytes]:
        """The next ones."""
        return (self._above + name for name in self._names[self._at : self._at + _AHEAD])

    def passed(self, folder: bytes) -> None:
        if len(self) and self._above + self._names[self._at] == folder:
            self._at += 1


class Listers:
    """This process and its children, made when there is enough to list. Whoever makes one calls `close`.

    `relative_of` tells a folder as filters see it. `children` is how many at most (None: one per further usable cpu,
    three at most).
    """

    def __init__(
        self, choosers: Sequence[Chooser], *, relative_of: Callable[[bytes], str], children: int | None = None
    ) -> None:
        self._choosers = choosers
        self._relative_of = relative_of
        self._wanted = min(MOST, processes.usable_cpus() - 1) if children is None else children
        self._children: list[_Child] = []
        self._coming: list[_Coming] = []  # the last one's first comes next
        self._asked: set[bytes] = set()  # of a child
        self._answers: dict[bytes, bytes] = {}  # as they came, which takes a third of the memory
        self._own: dict[bytes, Content | None] = {}
        self._listed = self._took_ns = self._held = self._vain = 0

    def close(self) -> None:
        self._wanted = 0
        for child in self._children:
            child.helper.end()
        self._children.clear()

    def offer(self, above: bytes, names: Sequence[bytes]) -> None:
        """These in `above`, which ends with a slash, will be asked for next, in this order, and then what was offered
        before."""
        if names and (self._wanted or self._children):
            self._coming.append(_Coming(above, names))

    def passed(self, folder: bytes) -> None:
        """Its turn has come; it will not be asked for any more."""
        while self._coming and not self._coming[-1]:
            self._coming.pop()
        if self._coming:
            self._coming[-1].passed(folder)
        self._asked.discard(folder)
        self._held -= len(self._answers.pop(folder, b""))
        self._own.pop(folder, None)

    def content(self, folder: bytes) -> Content | None:
        """What is known of a folder whose turn has come; None where whoever asks is to list it."""
        self._collect()
        self._give(but=folder)
        while folder in self._asked and self._list_ahead():
            self._collect()
            self._give(but=folder)
        answer = self._answers.get(folder)
        found = self._own.get(folder) if answer is None else _content_of(answer)
        self.passed(folder)
        return found

    def took(self, ns: int) -> None:
        """The caller has listed a folder itself, in so much time."""
        self._took_ns += ns
        self._listed += 1
        worth = self._wanted and self._took_ns >= max(WORTH_NS, WORTH_EACH_NS * self._listed)
        if worth and sum(map(len, self._coming[-_LEVELS:])) >= FEW:  # of a deep chain there are thousands
            self._start()

    def _start(self) -> None:
        ours = partial(serve, choosers=self._choosers, relative_of=self._relative_of)
        for _ in range(self._wanted):
            helper = processes.fork_helper(ours)
            if helper is not None:
                self._children.append(_Child(helper))
        self._wanted = 0  # those that cannot be had, or die, are not replaced

    def _next(self, but: bytes = b"", *, levels: int = _LEVELS) -> bytes | None:
        """The next folder that nobody lists or has listed."""
        for coming in islice(filter(None, reversed(self._coming)), levels):
            for folder in coming.first():
                if not (folder == but or folder in self._asked or folder in self._answers or folder in self._own):
                    return folder
        return None

    def _give(self, *, but: bytes) -> None:
        """To children that have room; `but`: the caller is about to list it."""
        for child in self._children[:]:
            try:
                while child.has_room and self._held < _HELD:
                    folder = self._next(but)
                    if folder is None or not child.takes(folder):
                        return
                    self._asked.add(folder)
            except OSError:
                self._without(child)

    def _list_ahead(self) -> bool:
        """List another folder beside the one that is wanted; False where there is none, or enough is held."""
        folder = self._next(levels=1) if len(self._own) < _OWN_AHEAD else None
        if folder is None:
            return False
        self._own[folder] = quick_list(folder, self._relative_of(folder), self._choosers)
        return True

    def _collect(self) -> None:
        for child in self._children[:]:
            try:
                for folder, answer in child.answers():
                    self._vain = self._vain + 1 if _HEAD.unpack_from(answer)[2] == _AGAIN else 0
                    if folder in self._asked:  # else its turn is over
                        self._asked.discard(folder)
                        self._answers[folder] = answer
                        self._held += len(answer)
            except OSError:
                self._without(child)
        if self._vain >= _VAIN:
            for child in self._children[:]:
                self._without(child)

    def _without(self, child: _Child) -> None:
        self._children.remove(child)
        self._asked.difference_update(child.owed)
        child.helper.end()


def serve(channel: socket.socket, *, choosers: Sequence[Chooser], relative_of: Callable[[bytes], str]) -> None:
    """What a child does until the parent closes the channel."""
    gc.disable()  # nothing here makes cycles, and a collection would copy the parent's pages
    while request := channel.recv(_ROOM):
        number, _, folder = request.partition(b"\0")
        channel.send(_answer(int(number), quick_list(folder, relative_of(folder), choosers)))
