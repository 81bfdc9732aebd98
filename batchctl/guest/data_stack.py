"""Room for the frames of everything that runs in this process, taken once.

CPython keeps the frames of a thread's Python functions in chunks of 16 KiB (3.11 and later; Python/pystate.c). A loop
whose calls cross the end of one has the next chunk mapped, filled with a first frame and unmapped again at each call:
imports, which go deep, do so thousands of times (`python -m tests.bench.data_stack`). A chunk is as large as its first
frame wants it: so everything is called from a frame that asks for so large a stack that as much again is left over.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, TypeVar

    _T = TypeVar("_T")

# In words of 8 bytes. Half a MiB and a little makes a chunk of 1 MiB, and leaves frames of some 200 bytes room for the
# default limit of recursion twice over. Memory is taken where frames are, only. Not more: huge pages have 2 MiB.
_STACK = 64 << 10


def call_with_room(function: Callable[[], _T]) -> _T:
    """What `function` returns. In this thread only: those that a script starts have chunks of their own."""
    return function()


if sys.implementation.name == "cpython" and sys.version_info >= (3, 11):
    try:
        call_with_room.__code__ = call_with_room.__code__.replace(co_stacksize=_STACK)
    except (OverflowError, ValueError):  # a later Python that has a limit: it is as it was
        pass
