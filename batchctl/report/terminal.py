"""The live line: rich, imported only where there is a terminal to draw on.

rich's console knows width, colours (NO_COLOR, TERM) and resizing; the line is ours, fitted by dropping what matters
least.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TextIO

from batchctl.model.progress import Progress, RunState
from batchctl.named_tuple import NamedTuple
from batchctl.report.wording import count_text, duration_text, percent_text, printable, rate_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

BAR_CELLS = 24
_STATE_STYLE = {
    RunState.PAUSED: "bold yellow",
    RunState.DRAINING: "yellow",
    RunState.FAILED: "bold red",
    RunState.STOPPED: "yellow",
}
_NOTE_STYLE = {"warning": "yellow", "error": "bold red", "debug": "dim"}


class Part(NamedTuple):
    """A piece of the line: what it says, its style, and its rank (the highest is dropped first when it is narrow)."""

    text: str
    style: str
    rank: int


class LiveLine:
    """One line at the cursor that is redrawn in place. Raises OSError or ValueError when the terminal is gone.

    The cursor stays visible and is always left at the start of the live line, so that whatever ends the program,
    kill -9 included, leaves a terminal that works: the next output overwrites the line.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = ""

    @classmethod
    def on(cls, stream: TextIO) -> Self | None:
        """A live line on `stream`, or None where the terminal cannot redraw one (TERM=dumb)."""
        from rich.console import Console

        console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False)
        return None if console.is_dumb_terminal or not console.is_terminal else cls(console)

    def show(self, progress: Progress) -> None:
        from rich.text import Text

        line = Text(no_wrap=True, overflow="crop", end="")
        width = self._console.width - 1  # the last cell stays free: filling it makes some terminals wrap
        for part in fitted(parts(progress, bar=self._bar()), width):
            line.append(part.text, part.style)
        line.truncate(width, overflow="crop")  # rich counts cells, which are not characters in a name
        self._redraw(line)

    def above(self, text: str, level: str) -> None:
        """Print `text` (already printable) above the line."""
        from rich.text import Text

        kept = self._shown
        self.clear()
        self._console.print(Text(text, style=_NOTE_STYLE.get(level, "")), soft_wrap=True)
        if kept:
            self._write(kept)

    def clear(self) -> None:
        if self._shown:
            self._write("")

    def _redraw(self, line: Text) -> None:
        with self._console.capture() as captured:
            self._console.print(line, crop=True, end="")
        self._write(captured.get())

    def _write(self, line: str) -> None:
        # One write: carriage return, erase to the end, the line, carriage return. A torn frame cannot be seen.
        self._shown = line
        stream = self._console.file
        stream.write(f"\r\x1b[K{line}\r" if line else "\r\x1b[K")
        stream.flush()

    def _bar(self) -> str:
        encoding = (self._console.encoding or "").lower().replace("-", "")
        return "━╸ " if encoding.startswith("utf8") else "=> "


def parts(progress: Progress, *, bar: str) -> list[Part]:
    """The line's pieces in order. `bar` holds its three characters: done, edge, to do."""
    state = progress.state
    found = [Part(f"{state.value} ", _STATE_STYLE.get(state, "bold"), 1)]
    if progress.items:
        share = min(1.0, progress.items_done / progress.items)
        full = int(share * BAR_CELLS)
        edge = bar[1] if full < BAR_CELLS else ""
        found.append(Part(f"{bar[0] * full}{edge}".ljust(BAR_CELLS, bar[2]) + " ", "cyan", 7))
        found.append(Part(f"{count_text(progress.items_done)}/{count_text(progress.items)}", "", 0))
        found.append(Part(f"  {percent_text(progress.items_done, progress.items)}", "", 3))
    if state in (RunState.RUNNING, RunState.DRAINING):
        found.append(Part(f"  {rate_text(progress.rate)}", "", 4))
    if progress.eta_s is not None and state is RunState.RUNNING:
        found.append(Part(f"  eta {duration_text(progress.eta_s)}", "", 2))
    if progress.workers:
        found.append(Part(f"  {len(progress.workers)} worker{'' if len(progress.workers) == 1 else 's'}", "", 6))
    if progress.items_failed:
        found.append(Part(f"  {count_text(progress.items_failed)} failed", "red", 1))
    if progress.message:
        found.append(Part(f"  {printable(progress.message)}", "yellow", 5))
    return found


def fitted(line: list[Part], width: int) -> list[Part]:
    """`line` without its least important pieces until it fits `width` cells (the last one may still be cut)."""
    kept = list(line)
    while len(kept) > 1 and sum(len(part.text) for part in kept) > width:
        kept.remove(max(kept, key=lambda part: part.rank))
    return kept
