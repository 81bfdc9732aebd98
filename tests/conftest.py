"""Shared by all tests: what could not run here is counted and named at the end, never silently green."""

from __future__ import annotations

import collections
import signal
from typing import TYPE_CHECKING

import hypothesis

if TYPE_CHECKING:
    import pytest

# A shell without job control starts what it puts in the background with SIGINT ignored, and every child inherits that:
# tests of Ctrl-C would then wait for nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something about the machine's other work, nothing about the code.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a slow test come first: two workers take a file at a time, and the last one should not be long."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add `not run: 3 (2x no strace here, 1x not root)`, or nothing when everything ran."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = collections.Counter(_reason(report) for report in skipped)
    if reasons:
        named = ", ".join(f"{count}x {reason}" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"not run: {len(skipped)} ({named})")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    # A skip's longrepr is (file, line, "Skipped: why").
    why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return why.removeprefix("Skipped: ").strip() or "no reason given"
