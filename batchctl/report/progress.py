"""What a person sees while a run goes on: one interface, three voices, all of them on standard error.

A reporter never ends a run: when its terminal or pipe goes away it falls silent. It must be left through `close()`
(or `with`), which puts the terminal back as it was.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Protocol, Self, TextIO

from batchctl.model.progress import Progress, RunState, Summary
from batchctl.report.summary import summary_text
from batchctl.report.terminal import LiveLine
from batchctl.report.wording import count_text, duration_text, percent_text, printable, printable_block, rate_text

Level = Literal["debug", "info", "warning", "error"]

PLAIN_INTERVAL_S = 10.0
LOOK_INTERVAL_S = 1.0
LIVE_INTERVAL_S = 0.1

Clock = Callable[[], float]  # monotonic seconds


class Reporter(Protocol):
    """Where a run tells how it goes. Called from one thread; cheap enough to be called on every turn of the loop."""

    def note(self, text: str, *, level: Level = "info") -> None:
        """Something worth a line of its own. `debug` is shown with -v only."""

    def progress(self, progress: Progress) -> None:
        """A moment of the run; shown at the reporter's own rate."""

    def progress_due(self) -> bool:
        """Would `progress` show anything now? Spares building a Progress that nobody sees."""

    def finished(self, summary: Summary) -> None:
        """The end; a second call says nothing. Not called when the run ends with an error; `close` is, always."""

    def close(self) -> None:
        """Leave the terminal as it was found. May be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class _Voice:
    """What the three have in common: levels, a stream that may vanish, and the way out."""

    def __init__(self, stream: TextIO, *, verbose: bool) -> None:
        self._stream = stream
        self._verbose = verbose
        self._gone = False
        self._told = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing to put back."""

    def finished(self, summary: Summary) -> None:
        if not self._told:
            self._told = True
            self.close()
            self._line(self._ending(summary))

    def _ending(self, summary: Summary) -> str:
        return summary_text(summary, verbose=self._verbose)

    def _line(self, text: str) -> None:
        if self._gone or not text:
            return
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._gone = True  # whoever read this has left; the run goes on

    def _noted(self, text: str, level: Level) -> str | None:
        if level == "debug" and not self._verbose:
            return None
        label = f"{level}: " if level in ("warning", "error") else ""
        first, *rest = text.rstrip("\n").split("\n")
        lines = [f"batchctl: {label}{printable(first)}"]
        if rest:
            lines.append(printable_block("\n".join(rest), indent="  "))
        return "\n".join(lines)


class QuietReporter(_Voice):
    """-q: nothing while all is well; errors, and one line where the exit code is not 0 (as cron likes it)."""

    def note(self, text: str, *, level: Level = "info") -> None:
        if level == "error" and (line := self._noted(text, level)):
            self._line(line)

    def progress(self, progress: Progress) -> None:
        """Nothing."""

    def progress_due(self) -> bool:
        return False

    def _ending(self, summary: Summary) -> str:
        if not summary.exit_code:
            return ""
        return (
            f"batchctl: {printable(summary.name)}: {summary.state.value}, exit code {summary.exit_code}: "
            f"{count_text(summary.items_failed)} of {count_text(summary.items)} items failed"
        )


class PlainReporter(_Voice):
    """A line at once, one every 10 s, one when the state changes: for logs and pipes."""

    def __init__(self, stream: TextIO, *, clock: Clock, verbose: bool = False) -> None:
        super().__init__(stream, verbose=verbose)
        self._clock = clock
        self._next: float | None = None
        self._look: float | None = None
        self._state: RunState | None = None

    def note(self, text: str, *, level: Level = "info") -> None:
        if line := self._noted(text, level):
            self._line(line)

    def progress_due(self) -> bool:
        return self._look is None or self._clock() >= self._look

    def progress(self, progress: Progress) -> None:
        now = self._clock()
        # A change of state is shown at once, and nobody knows of one before a Progress is built: look each second.
        self._look = now + LOOK_INTERVAL_S
        if self._next is not None and now < self._next and progress.state is self._state:
            return
        self._next, self._state = now + PLAIN_INTERVAL_S, progress.state
        self._line("batchctl: " + progress_line(progress))


class TerminalReporter(_Voice):
    """One live line at the bottom, notes above it; gone without a trace at the end, on errors and on Ctrl-C."""

    def __init__(self, stream: TextIO, *, clock: Clock, live: LiveLine, verbose: bool = False) -> None:
        super().__init__(stream, verbose=verbose)
        self._clock = clock
        self._live = live
        self._next: float | None = None
        self._state: RunState | None = None

    def note(self, text: str, *, level: Level = "info") -> None:
        if (line := self._noted(text, level)) and not self._gone:
            self._draw(lambda: self._live.above(line, level))

    def progress_due(self) -> bool:
        return not self._gone and (self._next is None or self._clock() >= self._next)

    def progress(self, progress: Progress) -> None:
        now = self._clock()
        if self._gone or (self._next is not None and now < self._next and progress.state is self._state):
            return
        self._next, self._state = now + LIVE_INTERVAL_S, progress.state
        self._draw(lambda: self._live.show(progress))

    def close(self) -> None:
        self._draw(self._live.clear)

    def _draw(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (OSError, ValueError):
            self._gone = True


def progress_line(progress: Progress) -> str:
    """A moment of a run on one plain line: `running 1,234/10,000 (12.3%) 456/s eta 1m23s, 4 workers, 3 failed`."""
    words = [progress.state.value]
    if progress.items:
        words.append(f"{count_text(progress.items_done)}/{count_text(progress.items)}")
        words.append(f"({percent_text(progress.items_done, progress.items)})")
    if progress.state is RunState.RUNNING:
        words.append(rate_text(progress.rate))
        if progress.eta_s is not None:
            words.append(f"eta {duration_text(progress.eta_s)}")
    line = " ".join(words)
    if progress.workers:
        line += f", {len(progress.workers)} worker{'' if len(progress.workers) == 1 else 's'}"
    if progress.items_failed:
        line += f", {count_text(progress.items_failed)} failed"
    return line + (f": {printable(progress.message)}" if progress.message else "")


def choose_reporter(stream: TextIO | None, *, clock: Clock, quiet: bool, verbose: bool) -> Reporter:
    """The voice for `stream` (standard error): quiet if asked, a live line on a terminal that can move its cursor.

    None, which is what Python makes of a standard error that was closed before it started, hears nothing.
    """
    if stream is None:
        return QuietReporter(io.StringIO(), verbose=False)
    if quiet:
        return QuietReporter(stream, verbose=False)
    try:
        on_terminal = stream.isatty()
    except ValueError:  # closed
        on_terminal = False
    if on_terminal:
        live = LiveLine.on(stream)
        if live is not None:
            return TerminalReporter(stream, clock=clock, live=live, verbose=verbose)
    return PlainReporter(stream, clock=clock, verbose=verbose)
