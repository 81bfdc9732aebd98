"""Looking at the files of one folder: size and modification time, links followed, one stat each.

Measured (200,000 files, warm ext4): a stat is 2.1 us, 1.5 of them in the kernel. The quick look accepts no surprise;
what it turns down is looked at again, name by name, by whoever knows what a missing file means there.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable
from operator import itemgetter
from stat import S_ISREG

from batchctl.named_tuple import NamedTuple

CHUNK = 512  # names looked at together: about 300 KB of stat results, 1 ms
LONGEST = 4095  # PATH_MAX less its NUL: `run()` gets absolute paths and could not open longer ones
_MODE = itemgetter(0)
SIZE = itemgetter(6)
_MOST_NS = (1 << 63) - 1


class Part(NamedTuple):
    """Neighbouring names of one folder, in plan order, not looked at yet; at most CHUNK, at least one."""

    folder: bytes  # absolute, no trailing slash except the root itself
    names: list[bytes]


Seen = tuple["array[int]", "array[int]"]  # sizes (Q, bytes), modification times (q, ns)


def quick_look(part: Part) -> Seen | None:
    """Sizes and times when every name is a regular file, or a link to one, that can be opened; else None."""
    folder, names = part
    if len(folder) + 1 + max(map(len, names)) > LONGEST:
        return None
    stat = os.stat
    try:
        handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = [stat(name, dir_fd=handle) for name in names]
        finally:
            os.close(handle)
    except OSError:
        return None
    if not all(map(S_ISREG, map(_MODE, found))):
        return None
    return array("Q", map(SIZE, found)), mtimes_of(found)


def mtimes_of(found: Iterable[os.stat_result]) -> array[int]:
    """In ns, as a plan holds them: file systems know times before 1677 and after 2262, which are the first and last."""
    times = [one.st_mtime_ns for one in found]
    try:
        return array("q", times)
    except OverflowError:
        return array("q", map(planned_ns, times))


def planned_ns(time_ns: int) -> int:
    """A modification time as a plan holds it."""
    return max(-_MOST_NS - 1, min(time_ns, _MOST_NS))
