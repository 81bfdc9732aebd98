"""A job of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.driver import Job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Empty inputs, no script yet."""
    return Job(tmp_path / "job")
