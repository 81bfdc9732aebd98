"""The live line on a real terminal: a child process on a pseudo-terminal, and a small screen that obeys."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from batchctl.model.progress import RunState
from batchctl.report.terminal import fitted, parts

from .records import PROGRESS, progress

ROOT = Path(__file__).parents[3]
PREAMBLE = """
import sys, time, signal, os
sys.path[:0] = [{root!r}, {here!r}]
from records import PROGRESS, SUMMARY, progress, summary
from batchctl.model.progress import RunState
from batchctl.report.progress import choose_reporter
clock = iter(range(10_000)).__next__
reporter = choose_reporter(sys.stderr, clock=clock, quiet=False, verbose=False)
"""
_SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


@dataclass
class Screen:
    """What a person sees, wide enough for `width` cells; wraps as terminals do, and remembers that it had to."""

    width: int
    lines: list[list[str]] = field(default_factory=lambda: [[]])
    column: int = 0
    wrapped: bool = False
    cursor_shown: bool = True
    styles: set[str] = field(default_factory=set)

    def feed(self, text: str) -> None:
        while text:
            if match := _SEQUENCE.match(text):
                self._obey(match[1], match[2])
                text = text[match.end() :]
                continue
            self._put(text[0])
            text = text[1:]

    def _obey(self, arguments: str, letter: str) -> None:
        if letter == "K":
            del self.lines[-1][self.column :]
        elif letter == "m":
            self.styles.add(arguments)
        elif arguments == "?25":
            self.cursor_shown = letter == "h"
        else:
            raise AssertionError(f"a sequence that this screen does not know: {arguments}{letter}")

    def _put(self, char: str) -> None:
        if char == "\n":
            self.lines.append([])
        elif char == "\r":
            self.column = 0
        else:
            if self.column >= self.width:
                self.lines.append([])
                self.column, self.wrapped = 0, True
            line = self.lines[-1]
            line.extend(" " * (self.column + 1 - len(line)))
            line[self.column] = char
            self.column += 2 if unicodedata.east_asian_width(char) in "WF" else 1
            self.wrapped |= self.column > self.width

    @property
    def text(self) -> list[str]:
        return ["".join(line).rstrip() for line in self.lines]


def on_terminal(
    code: str, *, width: int = 100, term: str = "xterm-256color", until: str = "", send: int = 0, **env: str
) -> tuple[Screen, int, str]:
    """Run `code` on a terminal of its own. With `until`, `send` is sent to it once that text was seen."""
    script = PREAMBLE.format(root=str(ROOT), here=str(Path(__file__).parent)) + code
    environment = {"PATH": os.environ["PATH"], "TERM": term, "LC_ALL": "C.UTF-8", **env}
    pid, terminal = pty.fork()
    if not pid:
        os.execve(sys.executable, [sys.executable, "-c", "input()\n" + script], environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    before = termios.tcgetattr(terminal)
    os.write(terminal, b"\n")  # the window has its size now
    seen = b""
    sent = not until
    while True:
        if not select.select([terminal], [], [], 30)[0]:
            os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"nothing for 30 s after {seen!r}")
        try:
            data = os.read(terminal, 65536)
        except OSError:  # EIO: the child has left
            data = b""
        if not data:
            break
        seen += data
        if not sent and until.encode() in seen:
            sent = True
            if send == signal.SIGINT:
                os.write(terminal, b"\x03")
            else:
                os.kill(pid, send)
    after = before
    try:
        after = termios.tcgetattr(terminal)
    except termios.error:
        pass  # the other end is closed
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert after == before
    screen = Screen(width)
    text = seen.decode()
    screen.feed(text.removeprefix("\r\n"))
    return screen, status, text


def test_one_line_notes_above_it_and_nothing_left_of_it() -> None:
    code = """
for done in range(0, 10_001, 500):
    reporter.progress(progress(items_done=done))
    if done == 5000:
        reporter.note("half\\x1b[2J way")
reporter.finished(SUMMARY)
"""
    screen, status, text = on_terminal(code)
    assert status == 0
    assert text.count("\r\x1b[K") > 20
    assert screen.text[0] == "batchctl: half\\x1b[2J way"
    assert screen.text[1] == "digits: finished in 20s"
    assert screen.cursor_shown
    assert not screen.wrapped


def test_what_the_line_says() -> None:
    screen, _, _ = on_terminal("reporter.progress(PROGRESS); os._exit(0)")
    assert screen.text == [
        "running ━━╸                      1,234/10,000  12.3%  456/s  eta 1m23s  2 workers  3 failed"
    ]
    assert screen.column == 0
    assert screen.cursor_shown


@pytest.mark.parametrize("width", [1, 2, 10, 20, 30, 40, 60, 80, 83, 84, 200])
def test_it_never_wraps(width: int) -> None:
    code = 'reporter.progress(progress(message="日本" * 80)); reporter.progress(PROGRESS); os._exit(0)'
    screen, status, _ = on_terminal(code, width=width)
    assert status == 0
    assert not screen.wrapped
    assert len(screen.text) == 1


def test_ctrl_c_leaves_a_clean_terminal() -> None:
    code = """
try:
    with reporter:
        reporter.progress(PROGRESS)
        time.sleep(30)
except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
"""
    screen, status, _ = on_terminal(code, until="3 failed", send=signal.SIGINT)
    assert status == 0
    assert screen.text[-2:] == ["interrupted", ""]
    assert screen.cursor_shown


def test_after_kill_9_the_cursor_is_there_and_the_next_prompt_overwrites_the_line() -> None:
    screen, status, _ = on_terminal(
        "reporter.progress(PROGRESS); time.sleep(30)", until="3 failed", send=signal.SIGKILL
    )
    assert status == -signal.SIGKILL
    assert screen.cursor_shown
    assert screen.column == 0


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=["colours", "NO_COLOR"])
def test_no_color_is_respected(env: dict[str, str], coloured: bool) -> None:
    screen, _, _ = on_terminal("reporter.progress(PROGRESS); os._exit(0)", **env)
    colours = {style for style in screen.styles if re.search(r"(^|;)(3\d|9\d)", style)}
    assert bool(colours) is coloured


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines() -> None:
    screen, _, text = on_terminal("reporter.progress(PROGRESS); reporter.finished(SUMMARY)", term="dumb")
    assert "\x1b" not in text
    assert screen.text[0].startswith("batchctl: running 1,234/10,000")


def test_an_ascii_terminal_gets_an_ascii_bar() -> None:
    screen, _, _ = on_terminal("reporter.progress(PROGRESS); os._exit(0)", PYTHONIOENCODING="ascii")
    assert screen.text[0].startswith("running ==>  ")


def test_a_terminal_that_goes_away_does_not_end_a_run() -> None:
    code = """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
reporter.progress(PROGRESS)
os.close(2)
reporter.progress(PROGRESS)
reporter.note("nobody hears this")
reporter.finished(SUMMARY)
os._exit(42)
"""
    assert on_terminal(code)[1] == 42


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (
            1000,
            "running ==>                      1,234/10,000  12.3%  456/s  eta 1m23s  2 workers  3 failed  slow disk",
        ),
        (100, "running 1,234/10,000  12.3%  456/s  eta 1m23s  2 workers  3 failed  slow disk"),
        (70, "running 1,234/10,000  12.3%  456/s  eta 1m23s  3 failed  slow disk"),
        (60, "running 1,234/10,000  12.3%  456/s  eta 1m23s  3 failed"),
        (45, "running 1,234/10,000  eta 1m23s  3 failed"),
        (30, "running 1,234/10,000  3 failed"),
        (14, "1,234/10,000"),
        (3, "1,234/10,000"),
    ],
)
def test_what_matters_least_goes_first(width: int, line: str) -> None:
    found = fitted(parts(progress(message="slow disk"), bar="=> "), width)
    assert "".join(part.text for part in found) == line


@pytest.mark.parametrize("done", [0, 1, 5000, 9999, 10_000, 12_000])
def test_the_bar_has_one_length(done: int) -> None:
    bar = next(part for part in parts(progress(items_done=done), bar="=> ") if part.rank == 7)
    assert len(bar.text) == 25


def test_before_anything_is_known() -> None:
    found = parts(progress(state=RunState.LISTING, items=0, workers=(), items_failed=0, eta_s=None), bar="=> ")
    assert "".join(part.text for part in found) == "listing "
    assert PROGRESS.items
