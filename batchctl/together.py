"""Steps that mostly wait or need no interpreter (syncs, reading, digests), done on threads, so that they overlap.

`threading`, and `queue`, which needs it, are loaded when a thread is: 4 ms before the user's interpreter is started.
"""

from __future__ import annotations

import _thread
from _queue import SimpleQueue
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    import threading
    from queue import Queue

    Waiting = Queue[Callable[[], None] | SimpleQueue[None] | None]

T = TypeVar("T")
_WAITING = 8  # steps hold what they work on
_AT_ONCE = 8  # more syncs than these share no more of one flush


def together(steps: Sequence[Callable[[], None]]) -> None:
    """Do all, in no order; all that were begun have ended on return. The first error is raised then, and some of the
    other steps may not have been begun.

    It waits for steps, not for threads: `threading` would wait for each to start and to end, and on a busy machine that
    takes a scheduler's turn each time, 4 ms, by when the caller has done it all.
    """
    waiting, failed, ended = [*steps], list[BaseException](), SimpleQueue[None]()

    def work() -> None:
        while True:
            try:
                step = waiting.pop()
            except IndexError:
                return
            try:
                if not failed:
                    step()
            except BaseException as error:  # noqa: BLE001 - raised below, on the caller's thread
                failed.append(error)
            finally:
                ended.put(None)

    with suppress(RuntimeError):  # no more threads for this user: then it takes longer
        for _ in steps[1:_AT_ONCE]:
            _thread.start_new_thread(work, ())
    work()
    for _ in steps:
        ended.get()
    if failed:
        raise failed[0]


class Aside:
    """A context manager; what it is given is done while the caller goes on, one step after the other, in order.

    At its end all has been done, or the first error is raised: no step is begun after that, nor after an error of the
    caller's, which a step's error explains where there are both.
    """

    def __init__(self) -> None:
        self._waiting: Waiting | None = None
        self._failed: BaseException | None = None
        self._over = self._told = False
        self._helper: threading.Thread | None = None

    def do(self, step: Callable[[], None]) -> None:
        """Begin it when those before have ended; waits while many are. Where no thread can be had it is done on
        return, or raises."""
        if self._waiting is None:
            step()
        else:
            self._waiting.put(step)

    def wait(self) -> None:
        """All that was given so far is done on return, or the first error is raised, and not again at the end."""
        if self._waiting is not None:
            reached = SimpleQueue[None]()
            self._waiting.put(reached)
            reached.get()
        if self._failed is not None:
            self._told = True
            raise self._failed

    def _work(self, waiting: Waiting) -> None:
        while (step := waiting.get()) is not None:
            if isinstance(step, SimpleQueue):
                step.put(None)
                continue
            if self._over or self._failed is not None:
                continue
            try:
                step()
            except BaseException as error:  # noqa: BLE001 - raised below, on the caller's thread
                self._failed = error

    def __enter__(self) -> Self:
        import threading
        from queue import Queue

        waiting: Waiting = Queue(_WAITING)
        helper = threading.Thread(target=self._work, args=(waiting,), name="batchctl-aside", daemon=True)
        with suppress(RuntimeError):  # no more threads for this user: then it takes longer
            helper.start()
            self._waiting, self._helper = waiting, helper
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = error is not None
        if self._waiting is not None and self._helper is not None:
            self._waiting.put(None)
            self._helper.join()
        if self._failed is not None and not self._told and (error is None or isinstance(error, Exception)):
            raise self._failed from error


def ahead(aside: Aside, things: Iterator[T]) -> Iterator[T]:
    """The same, each made aside while the caller works with the one before; there is never more than one ahead. Raises
    what making one has raised, in its place or, without a thread, one place before."""
    made: list[T] = []

    def make() -> None:
        made.extend(islice(things, 1))

    aside.do(make)
    while True:
        aside.wait()
        if not made:
            return
        thing = made.pop()
        aside.do(make)
        yield thing
