"""Python's search for garbage, spared what importing modules makes: they keep it."""

from __future__ import annotations

import contextlib
import gc
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Optional

# Objects made since the last collection, instead of 700 (2,000 from Python 3.13 on): pandas makes 100,000, scikit-learn
# with it 230,000, torch and sentence_transformers 740,000.
_RARELY = 1_000_000
# Bytes that modules take: those four 480 to 610 for each object that is searched for garbage. Beyond that it is data.
_EACH, _SLACK = 600, 24 << 20


@contextlib.contextmanager
def collecting_rarely() -> Iterator[None]:
    """For imports: to look through what they make again and again takes 30 of pandas' 400 ms, and to do so at the end
    and until it counts as old another 70. So that is frozen instead. Where data was made as well all is looked through
    as ever: garbage among it may be large, or it may become garbage. It is not switched off meanwhile: a script may do
    its work at its import. What it sets by itself stands."""
    before, made, size = gc.get_threshold(), gc.get_count()[0], _own_memory()
    rarely = (max(before[0], _RARELY), *before[1:])
    if before[0]:
        gc.set_threshold(*rarely)
    try:
        yield
    finally:
        if before[0] and gc.get_threshold() == rarely:
            if gc.isenabled() and _is_code(gc.get_count()[0] - made, before=size, now=_own_memory()):
                gc.freeze()
            gc.set_threshold(*before)


def _is_code(made: int, *, before: Optional[int], now: Optional[int]) -> bool:
    """Is what so many objects take no more than modules would? After a collection there are too few to say so."""
    return before is not None and now is not None and now - before <= _SLACK + _EACH * made


def _own_memory() -> Optional[int]:
    """Bytes of this process that no file backs, resident; None where nobody says."""
    try:
        statm = os.open("/proc/self/statm", os.O_RDONLY)
        try:
            _size, resident, shared, *_ = map(int, os.read(statm, 200).split())
        finally:
            os.close(statm)
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
    except Exception:  # no /proc; and a script may have put anything in the place of these functions
        return None
