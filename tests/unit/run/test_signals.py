"""SIGTERM, SIGINT and SIGHUP are counted while in use, and put back as they were."""

from __future__ import annotations

import os
import pty
import signal
import sys

import pytest

from batchctl.errors import StoppedError
from batchctl.run.signals import StopSignals, term_raises

WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def test_they_are_counted_and_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in WATCHED]
    woken: list[int] = []
    with StopSignals(lambda: woken.append(1)) as signals:
        assert (signals.count, signals.first) == (0, None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
        assert (signals.count, signals.first, len(woken)) == (2, signal.SIGTERM, 2)
    assert [signal.getsignal(number) for number in WATCHED] == before


@pytest.mark.parametrize("terminal", [True, False])
def test_hangups_count_with_a_terminal_only(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    ends = pty.openpty() if terminal else os.pipe()
    with os.fdopen(ends[1 if terminal else 0], closefd=False) as standard_input:
        monkeypatch.setattr(sys, "stdin", standard_input)
        with StopSignals(lambda: None) as signals:
            signal.raise_signal(signal.SIGHUP)
            assert signals.count == int(terminal)
            assert signals.first == (signal.SIGHUP if terminal else None)
    for end in ends:
        os.close(end)


def test_without_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with StopSignals(lambda: None) as signals:
        signal.raise_signal(signal.SIGHUP)
        assert signals.count == 0


def test_a_term_outside_the_loop_is_an_error_that_says_it_can_go_on() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedError) as caught, term_raises():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    assert caught.value.exit_code == 75
    assert caught.value.remedy
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("terminal", [True, False])
def test_a_hangup_outside_the_loop_counts_with_a_terminal_only(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    before = signal.getsignal(signal.SIGHUP)
    ends = pty.openpty() if terminal else os.pipe()
    with os.fdopen(ends[1 if terminal else 0], closefd=False) as standard_input:
        monkeypatch.setattr(sys, "stdin", standard_input)
        stopped = ""
        try:
            with term_raises():
                signal.raise_signal(signal.SIGHUP)
        except StoppedError as error:
            stopped = error.message
    assert stopped == ("stopped by SIGHUP" if terminal else "")
    assert signal.getsignal(signal.SIGHUP) is before
    for end in ends:
        os.close(end)
