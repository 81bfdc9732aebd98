"""Writing back a part of what is dirty, from outside: what a power cut then takes is a part of a file, or its bytes and
not its size, or the log and not the rows."""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Callable
from pathlib import Path

from tests.crash.checks import RESULT, STATE

_PAGE = 4096
_WRITE, _WAIT_AFTER = 2, 4  # SYNC_FILE_RANGE_*


def stir(out: Path, dice: random.Random) -> list[str]:
    """Some of what can be written back is; the names of what was, in order. What is not there is left out."""
    chosen = [name for name in _WAYS if dice.random() < 0.35]
    dice.shuffle(chosen)
    done = []
    for name in chosen:
        try:
            _WAYS[name](out, dice)
        except FileNotFoundError:
            continue
        done.append(name)
    return done


def _datasync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(handle)
    finally:
        os.close(handle)


def _some_pages(path: Path, dice: random.Random) -> None:
    """Pages among the last few of the file; its size does not follow by itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        last = os.fstat(handle).st_size // _PAGE
        first = max(0, last - dice.randrange(4))
        pages = dice.randrange(1, 4)
        call = ctypes.CDLL(None, use_errno=True).sync_file_range
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
        if call(handle, first * _PAGE, pages * _PAGE, _WRITE | _WAIT_AFTER) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    finally:
        os.close(handle)


def _journal(out: Path) -> None:
    """Names and sizes of all files, by a sync of another file: of data it takes what the file system makes it take."""
    beside = out.parent / "stirred"
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, b"-")
        os.fsync(handle)
    finally:
        os.close(handle)


_WAYS: dict[str, Callable[[Path, random.Random], None]] = {
    "rows": lambda out, dice: _datasync(out / (RESULT + ".partial")),
    "pages of rows": lambda out, dice: _some_pages(out / (RESULT + ".partial"), dice),
    "log": lambda out, dice: _datasync(out / STATE / "checkpoint.log"),
    "pages of log": lambda out, dice: _some_pages(out / STATE / "checkpoint.log", dice),
    "journal": lambda out, dice: _journal(out),
}
