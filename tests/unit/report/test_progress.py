from __future__ import annotations

import io

import pytest

from batchctl.model.progress import RunState
from batchctl.report.progress import (
    Level,
    PlainReporter,
    QuietReporter,
    Reporter,
    choose_reporter,
    progress_line,
)

from .records import PROGRESS, SUMMARY, progress, summary


class Clock:
    """Time, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Vanished(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "running 1,234/10,000 (12.3%) 456/s eta 1m23s, 2 workers, 3 failed"),
        ({"eta_s": None, "rate": 0.0, "items_failed": 0}, "running 1,234/10,000 (12.3%) -/s, 2 workers"),
        ({"state": RunState.LISTING, "items": 0, "workers": (), "items_failed": 0}, "listing"),
        (
            {"state": RunState.PAUSED, "message": "disk full\x1b"},
            "paused 1,234/10,000 (12.3%), 2 workers, 3 failed: disk full\\x1b",
        ),
    ],
)
def test_a_moment_on_one_line(changes: dict[str, object], line: str) -> None:
    assert progress_line(progress(**changes)) == line


def test_plain_says_a_line_at_once_then_every_ten_seconds() -> None:
    clock, stream = Clock(), io.StringIO()
    reporter = PlainReporter(stream, clock=clock)
    lines = []
    for tenth in range(251):
        clock.now = tenth / 10
        before = len(stream.getvalue())
        if reporter.progress_due():
            reporter.progress(PROGRESS)
        if len(stream.getvalue()) > before:
            lines.append(clock.now)
    assert lines == [0.0, 10.0, 20.0]
    assert stream.getvalue().startswith("batchctl: running 1,234/10,000")


def test_plain_says_a_change_of_state_within_a_second() -> None:
    clock, stream = Clock(), io.StringIO()
    reporter = PlainReporter(stream, clock=clock)
    reporter.progress(PROGRESS)
    clock.now = 1.0
    assert reporter.progress_due()
    reporter.progress(progress(state=RunState.DRAINING))
    assert "draining" in stream.getvalue()
    assert not reporter.progress_due()


@pytest.mark.parametrize(
    ("level", "quiet", "plain", "verbose"),
    [
        ("debug", "", "", "batchctl: a\\x1bb\n  c\n"),
        ("info", "", "batchctl: a\\x1bb\n  c\n", "batchctl: a\\x1bb\n  c\n"),
        ("warning", "", "batchctl: warning: a\\x1bb\n  c\n", "batchctl: warning: a\\x1bb\n  c\n"),
        ("error", *["batchctl: error: a\\x1bb\n  c\n"] * 3),
    ],
)
def test_notes_by_level(level: Level, quiet: str, plain: str, verbose: str) -> None:
    for quietly, aloud, said in ((True, False, quiet), (False, False, plain), (False, True, verbose)):
        stream = io.StringIO()
        with choose_reporter(stream, clock=Clock(), quiet=quietly, verbose=aloud) as reporter:
            reporter.note("a\x1bb\nc\n", level=level)
        assert stream.getvalue() == said


def test_the_end_is_told_once() -> None:
    stream = io.StringIO()
    with choose_reporter(stream, clock=Clock(), quiet=False, verbose=False) as reporter:
        reporter.finished(SUMMARY)
        reporter.finished(SUMMARY)
    assert stream.getvalue().count("digits: finished") == 1
    assert "sizing" not in stream.getvalue()


def test_quiet_is_silent_while_all_is_well_and_speaks_where_it_is_not() -> None:
    stream = io.StringIO()
    reporter = QuietReporter(stream, verbose=False)
    assert not reporter.progress_due()
    reporter.progress(PROGRESS)
    reporter.finished(SUMMARY)
    assert stream.getvalue() == ""
    QuietReporter(stream, verbose=False).finished(summary(exit_code=3, state=RunState.FAILED))
    assert stream.getvalue() == "batchctl: digits: failed, exit code 3: 3 of 10,000 items failed\n"


def test_a_reader_that_left_does_not_end_a_run() -> None:
    reporter: Reporter
    for reporter in (PlainReporter(Vanished(), clock=Clock()), QuietReporter(Vanished(), verbose=False)):
        with reporter:
            reporter.note("hello", level="error")
            reporter.progress(PROGRESS)
            reporter.finished(summary(exit_code=3))


def test_no_stream_at_all_hears_nothing() -> None:
    with choose_reporter(None, clock=Clock(), quiet=False, verbose=True) as reporter:
        reporter.note("hello", level="error")
        reporter.finished(SUMMARY)


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    with choose_reporter(stream, clock=Clock(), quiet=False, verbose=False) as reporter:
        assert isinstance(reporter, PlainReporter)
        reporter.note("hello")
