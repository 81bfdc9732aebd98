"""Is there no room on the disk of the run? Then what failed there is not the script's fault, whatever it raised."""

from __future__ import annotations

import errno
import os
import time

from .failure import FileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, List, Optional

_FULL = (errno.ENOSPC, errno.EDQUOT)
_PIECE = 64 << 10
_SCARCE = 64 << 20  # with less than this left, what was full a moment ago may be so no more: others tidied up
_DEPTH = 20
_AGAIN_S = 1.0


def make_folders(paths: Iterable[str], note: Callable[[str, str], None]) -> None:
    """A worker's folders, missing parents too; on a full disk it waits until they can be made."""
    for path in paths:
        while True:
            try:
                os.makedirs(path, 0o700, exist_ok=True)
                break
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                note("room", "a worker waits for room for its folders: %s" % error)
            time.sleep(_AGAIN_S)


def no_room(error: BaseException, *folders: str) -> Optional[int]:
    """The errno of a full disk where one of the folders lies on it; ask before the failed attempt's files are deleted.

    ENOSPC alone says little: the script may have met it in /dev/shm, or asked for more than any disk has. And libraries
    raise errors of their own for it, so that where there is no room at all every error passes for that.
    """
    number = next((found for found in map(_try, folders) if found is not None), None)
    if number is None:
        number = next((found for found in _numbers(error) if found in _FULL), None)
        if number is not None and not any(map(_is_scarce, folders)):
            return None
    return number


def _numbers(error: BaseException) -> List[int]:
    """The errno of the error, and of those that it came from."""
    found: List[int] = []
    at: Optional[BaseException] = error
    for _ in range(_DEPTH):
        if isinstance(at, OSError) and at.errno is not None:
            found.append(at.errno)
        if isinstance(at, FileError):
            at = at.cause
        elif at is not None:
            at = at.__cause__ or at.__context__
    return found


def _is_scarce(folder: str) -> bool:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _SCARCE or (disk.f_files > 0 and not disk.f_favail)


def _try(folder: str) -> Optional[int]:
    """Write a little; why that was not possible, None where it was or where something else was the matter."""
    path = os.path.join(folder, ".room.%d" % os.getpid())
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            left = _PIECE
            while left:
                left -= os.write(fd, bytes(left))
        finally:
            os.close(fd)
            os.unlink(path)
    except OSError as error:
        return error.errno if error.errno in _FULL else None
    return None
