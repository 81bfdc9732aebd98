"""Files in the output folder that the script holds open between two `run`s.

What Python still buffers for them is written out first: a script that opens a log once and never flushes it has written
its lines all the same, and they belong to the mini-batch that they were written for.
"""

from __future__ import annotations

import gc
import io
import os
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Set, Tuple

    Identity = Tuple[int, int]  # device and inode
    _Open = Tuple[int, Identity]  # a descriptor and what it is open on

_BUFFERED = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)  # in this order: text flushes into a buffer


class HeldFiles:
    """One folder's. Looking through all of Python's objects is dear, so it is done once per file that is held."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._known: Dict[_Open, List[Any]] = {}  # weak references; empty where no object of Python's has it

    def look(self) -> Set[Identity]:
        """Which files below the folder this process holds open; they hold all that was written to them. OSError where
        that does not fit."""
        now = self._descriptors()
        known = {one: self._known.get(one, []) for one in now}
        stale = [one for one in now if one not in self._known or any(_is_over(ref()) for ref in known[one])]
        if stale:
            known.update(_writers(stale))
        self._known = known
        for references in known.values():
            for reference in references:
                writer = reference()
                if writer is not None and not writer.closed:
                    writer.flush()
        return {identity for _, identity in now}

    def _descriptors(self) -> List[_Open]:
        found: List[_Open] = []
        prefix = os.path.realpath(self._folder) + os.sep
        for fd in os.listdir("/proc/self/fd"):
            link = "/proc/self/fd/" + fd
            try:
                if os.readlink(link).startswith(prefix):
                    held = os.stat(link)
                    found.append((int(fd), (held.st_dev, held.st_ino)))
            except OSError:  # the descriptor that listed the folder
                continue
        return found


def _is_over(writer: Any) -> bool:
    """Another object may have the descriptor by now."""
    return writer is None or bool(writer.closed)


def _writers(wanted: List[_Open]) -> Dict[_Open, List[Any]]:
    by_fd = {fd: (fd, identity) for fd, identity in wanted}
    found: Dict[_Open, List[Any]] = {one: [] for one in wanted}
    objects = gc.get_objects()
    for kind in _BUFFERED:
        for one in objects:
            # By type, not isinstance: a lazy proxy of somebody's would wake up at the question.
            if issubclass(type(one), kind):
                try:
                    if not one.closed and one.fileno() in by_fd:
                        found[by_fd[one.fileno()]].append(weakref.ref(one))
                except (OSError, ValueError, AttributeError):  # closed, detached, or on no descriptor
                    continue
    return found
