"""Steps that mostly wait, such as syncs of several files: begun on a few threads, so that their waits overlap."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

_AT_ONCE = 8  # more syncs than these share no more of one flush


def together(steps: Sequence[Callable[[], None]]) -> None:
    """Do all, in no order; all that were begun have ended on return. The first error is raised then, and some of the
    other steps may not have been begun."""
    waiting, failed = [*steps], list[BaseException]()

    def work() -> None:
        while waiting and not failed:
            try:
                step = waiting.pop()
            except IndexError:  # another thread was quicker
                return
            try:
                step()
            except BaseException as error:  # noqa: BLE001 - raised below, on the caller's thread
                failed.append(error)

    helpers = []
    with suppress(RuntimeError):  # no more threads for this user: then it takes longer
        for _ in steps[1:_AT_ONCE]:
            helper = threading.Thread(target=work, name="batchctl-sync", daemon=True)
            helper.start()
            helpers.append(helper)
    work()
    for helper in helpers:
        helper.join()
    if failed:
        raise failed[0]
