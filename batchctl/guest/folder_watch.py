"""Is a folder still as it was? Asked through a descriptor, which is less than half of what its path costs.

The answer is never a wrong yes. A folder that something was created in or removed from has another modification time
than the mark that it was given. One that is no longer at its path was removed (no links) or moved, which is a change of
the folder itself: its change time is another, provided that the clock of the file system has gone on since. So a folder
is watched from a tenth of a second after its last change on.
"""

from __future__ import annotations

import os
import time

from .limits import move_high

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional, Tuple

SETTLED_NS = 100_000_000  # coarser than the clock of any file system that tells more than whole seconds of a change


class FolderWatch:
    """Watches one folder, once it is told to. A script may close the descriptor or use its number for something else:
    then the watch is given up, and everybody asks the path again."""

    __slots__ = ("_clock", "_fd", "_over", "_seen")

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._fd = -1
        self._seen: Optional[Tuple[int, ...]] = None  # while it is watched
        self._over = False

    def is_unchanged(self) -> bool:
        """Whether it is certainly as it was when `begin` found it; False: ask the path."""
        if self._seen is None:
            return False
        try:
            found = os.fstat(self._fd)
        except OSError:
            self._seen = None
            return False
        if (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns) == self._seen and found.st_nlink:
            return True
        self._seen = None
        return False

    def begin(self, path: str, found: os.stat_result) -> None:
        """The folder at `path` is as it should be, and `found` what it looked like: watch it, if it has settled."""
        if self._over or self._clock() - found.st_ctime_ns < SETTLED_NS:
            return
        try:
            if self._fd < 0:
                self._fd = move_high(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
            seen = _looks(os.fstat(self._fd))
        except OSError:
            seen = ()
        if seen[:2] == _looks(found)[:2]:
            self._seen = _looks(found)
        else:  # another folder, or no longer our descriptor: it is not closed, for it may be somebody's
            self._over = True


def _looks(found: os.stat_result) -> Tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
