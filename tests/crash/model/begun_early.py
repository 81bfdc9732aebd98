"""An early finish on a modelled disk, where all happens on one thread: what its own thread does comes in two places.

At its beginning a file lies where a table is to be, cut off as by a life that was killed; the rest is done when the
finish waits for it. What readers and writers at the same time come to is left to runs of the real command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

from batchctl.store import early
from batchctl.store.commit import Committer
from batchctl.store.early import EarlyFinish
from tests.crash.model.workload import Scenario
from tests.doubles.disk import MemoryDisk


class _Later:
    """A thread that works when it is waited for."""

    def __init__(self, *, target: Callable[..., None], args: tuple[Any, ...], name: str, daemon: bool) -> None:
        self._work: Callable[[], None] | None = lambda: target(*args)

    def start(self) -> None:
        pass

    def join(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            work()


def begin_early(disk: MemoryDisk, scenario: Scenario, *, committer: Committer) -> EarlyFinish:
    """Of this run, by rows that are committed so far."""
    layout = scenario.layout
    if scenario.table:
        disk.remove(layout.sorting)
        begun = disk.open_append(layout.sorting, create=True)
        begun.append(b"PAR1")
        begun.close()
    with mock.patch.object(early.threading, "Thread", _Later):
        return EarlyFinish(disk, layout, committer=committer, order=scenario.order, table=scenario.table)
