"""Did the input files hold still while run() read them? A look at each before run(), and one after.

A look is a stat, 2 to 3 us on a local disk. Beside a run() of microseconds that would be most of the time, so looks are
paid for: with `auto` they may take a 64th of the time that run() takes. A run() of 0.3 ms a file or more is then always
looked at, shorter ones now and then, and all where the plan is small. What is not looked at is not noticed.

A file is what size, modification time and change time (which nobody can set back) say. Not its inode: whatever takes a
file's place has another change time, and some file systems in user space number a file anew each time they are asked.
Both looks ask the same file system, so no clocks are compared.
"""

from __future__ import annotations

import operator
import os
import time

from .failure import InputChanged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

    Seen = Tuple[int, int, int]  # bytes, mtime_ns, ctime_ns

ALWAYS, AUTO, NEVER = "always", "auto", "never"
SMALL = 5000  # items of a plan that are all looked at: 30 ms altogether
SHARE = 6  # one part in 2 ** 6 of the time in run()
_FIRST_NS = 2000000  # what a worker may spend before it has earned any
_NO_END = 1 << 62

_seen = operator.attrgetter("st_size", "st_mtime_ns", "st_ctime_ns")
_stat = os.stat  # a script may replace it


def look(items: List[str]) -> List[Optional[Seen]]:
    """What each file (links followed) is now; None for one that is not there or cannot be asked."""
    try:
        return list(map(_seen, map(_stat, items)))
    except (OSError, ValueError):
        return list(map(_look_at, items))


def _look_at(path: str) -> Optional[Seen]:
    try:
        found: Seen = _seen(_stat(path))
    except (OSError, ValueError):
        return None
    return found


class InputCheck:
    """The looks of one worker. `credit`: nanoseconds that may still go into looks; the loop adds what run() earns, and
    looks only while there is some."""

    __slots__ = ("credit",)

    def __init__(self, rule: str, items: int) -> None:
        if rule == NEVER:
            self.credit = -_NO_END
        else:
            self.credit = _NO_END if rule == ALWAYS or items <= SMALL else _FIRST_NS

    def before(self, items: List[str]) -> List[Optional[Seen]]:
        """The look before run(), to be given to `after`."""
        began = time.monotonic_ns()
        found = look(items)
        self.credit -= time.monotonic_ns() - began
        return found

    def after(self, items: List[str], held: List[Optional[Seen]]) -> None:
        """Raises InputChanged where a file is not what it was. One that is gone is no change: a script may delete what
        it has read. Nor is one that was not there before: run() has made of that what it made."""
        began = time.monotonic_ns()
        found = look(items)
        self.credit -= time.monotonic_ns() - began
        if found == held:
            return
        changed = [
            (path, was, now)
            for path, was, now in zip(items, held, found)
            if was is not None and now is not None and was != now
        ]
        if changed:
            path, was, now = changed[0]
            raise InputChanged(path, _told(was, now), others=len(changed) - 1)


def _told(was: Seen, now: Seen) -> str:
    for name, old, new in zip(("size", "mtime_ns"), was, now):
        if old != new:
            return "%s %d -> %d" % (name, old, new)
    return "ctime_ns %d -> %d, though size and mtime are as before" % (was[2], now[2])
