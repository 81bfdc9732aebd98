"""SIGTERM, SIGINT and SIGHUP, counted, for the conductor's loop to act on.

The first asks for a drain, the second for an end. SIGHUP counts with a terminal only: without one (nohup, cron) it is
ignored.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self


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
        has_terminal = sys.stdin is not None and sys.stdin.isatty()
        handler = self._note if has_terminal else signal.SIG_IGN
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, handler)
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
