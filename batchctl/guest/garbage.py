"""Python's search for garbage, held back while modules are imported: what they make, they keep."""

from __future__ import annotations

import contextlib
import gc
import os
from typing import Iterator

_RARELY = 500_000  # objects made since the last collection, instead of 700 (2,000 from Python 3.13 on); pandas: 110,000
_MUCH = 512 << 20  # bytes that an import takes: what is garbage among that may be worth a search; torch: 150 MB


@contextlib.contextmanager
def collecting_rarely() -> Iterator[None]:
    """For imports: to look through what they make again and again takes 30 of pandas' 400 ms, and to do so at the end
    and until it counts as old another 80. It is not switched off: a script may do its work at its import. What it sets
    by itself stands."""
    before, size = gc.get_threshold(), _own_memory()
    rarely = (max(before[0], _RARELY), *before[1:])
    if before[0]:
        gc.set_threshold(*rarely)
    try:
        yield
    finally:
        if before[0] and gc.get_threshold() == rarely:
            if _own_memory() - size < _MUCH:
                _count_as_old()
            elif gc.isenabled():
                gc.collect()
            gc.set_threshold(*before)


def _count_as_old() -> None:
    """All there is counts as what has outlived collections; the next search through the old ones finds what is garbage
    of it. Not where more is frozen than is new: that is shared with the fork server, and a search would copy it."""
    if gc.get_freeze_count() < gc.get_count()[0]:
        gc.freeze()
        gc.unfreeze()


def _own_memory() -> int:
    """Bytes of this process that no file backs, resident; 0 where the kernel does not say."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            _size, resident, shared, *_ = map(int, statm.read().split())
    except (OSError, ValueError):  # no /proc: then the size decides nothing
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
