"""SIGTERM, SIGINT and SIGHUP, counted, for the conductor's loop to act on.

The first asks for a drain, the second for an end. SIGHUP counts with a terminal only: without one (nohup, cron) it is
ignored.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from batchctl.errors import StoppedError


class StopSignals:
    """Installed while in use (`with`); from the main thread only. `wake` is called from the handler."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._before: dict[int, Any] = {}
        self.count = 0
        self.first: signal.Signals | None = None

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._note)
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, _of_hang_up(self._note))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.first is None:
            self.first = signal.Signals(number)
        self._wake()


def _of_hang_up(handler: Callable[[int, FrameType | None], None]) -> Any:
    has_terminal = sys.stdin is not None and sys.stdin.isatty()
    return handler if has_terminal else signal.SIG_IGN


@contextmanager
def term_raises() -> Iterator[None]:
    """Where nothing is being scored (listing, finishing), SIGTERM is a StoppedError wherever it strikes: every step of
    ours may be cut off anywhere and begun again. So is SIGHUP where it counts. `StopSignals` takes its place while the
    conductor's loop runs."""

    def stop(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        raise StoppedError(f"stopped by {name}", remedy="run the same command again: it goes on from here")

    before = [
        (number, signal.signal(number, handler))
        for number, handler in ((signal.SIGTERM, stop), (signal.SIGHUP, _of_hang_up(stop)))
    ]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
