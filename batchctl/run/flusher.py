"""The thread on which commit groups become durable: dispatch never waits for a sync.

One group at a time. The thread touches nothing but the committer, which nobody else touches meanwhile.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

from batchctl.errors import NodeTooSmallError

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


class Flusher(Generic[TaskT, ResultT]):
    """Runs `work(task)` on a thread of its own. `done` is called on that thread after each task (it wakes the loop)."""

    def __init__(self, work: Callable[[TaskT], ResultT], *, done: Callable[[], None]) -> None:
        self._work = work
        self._done = done
        self._tasks: SimpleQueue[TaskT | None] = SimpleQueue()
        self._results: SimpleQueue[ResultT | BaseException] = SimpleQueue()
        self.busy = False
        self._thread = threading.Thread(target=self._loop, name="batchctl-flusher", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # of a limit on processes; the system's own words are not passed on
            raise NodeTooSmallError(
                f"no thread can be started: {os.strerror(errno.EAGAIN)}",
                remedy="raise the limit on processes (ulimit -u; TasksMax= of a unit) or ask for fewer --workers",
            ) from error

    def submit(self, task: TaskT) -> None:
        """Begin; only when not `busy`."""
        if self.busy:
            raise AssertionError("one group at a time")
        self.busy = True
        self._tasks.put(task)

    def collect(self) -> ResultT | None:
        """The result of the task, once; None while it is under way. Raises what the work raised."""
        if not self.busy or self._results.empty():
            return None
        result = self._results.get()
        self.busy = False
        if isinstance(result, BaseException):
            raise result
        return result

    def close(self) -> None:
        """Wait for the task under way, if any, and end the thread."""
        self._tasks.put(None)
        self._thread.join()

    def _loop(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                result: ResultT | BaseException = self._work(task)
            except BaseException as error:  # noqa: BLE001 - handed to the loop's thread, which raises it
                result = error
            self._results.put(result)
            self._done()
