"""Taking a lock that a coordinator may have left a moment ago.

A coordinator that is killed while it starts a process leaves it a copy of every descriptor for as long as that process
has not become another program: some milliseconds, more on a busy machine, in which the dead one's lock is still held.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from batchctl.errors import RunLockedError
from batchctl.store.lock import Holder, this_process

_PATIENCE_S, _PAUSE_S = 3.0, 0.02


def take(held: ExitStack, lock: Callable[[], AbstractContextManager[None]], *, is_left: Callable[[], bool]) -> None:
    """Enter `lock()` into `held`. Where it is refused it is tried again for a while, as long as `is_left` says that
    nobody living has it; RunLockedError then, or at once."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            held.enter_context(lock())
            return
        except RunLockedError:
            if not is_left() or time.monotonic() >= until:
                raise
        time.sleep(_PAUSE_S)


def is_dead(holder: Holder | None) -> bool:
    """Was that a process of this machine, since it was started, that is no more? Of others nothing is known."""
    here = this_process()
    if holder is None or (holder.host, holder.boot_id) != (here.host, here.boot_id) or holder.pid <= 0:
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass  # it exists and is somebody else's, or is no pid
    return False
