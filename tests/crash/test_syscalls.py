"""The families `syscall` and `error` in short: the coordinator dies or meets an error at calls drawn by seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.campaign import beside_python
from tests.crash.findings import Asked, Findings
from tests.crash.syscalls import error, kill


def _held(found: Findings, count: str, wanted: int) -> None:
    if found.not_run:
        pytest.skip(f"not run: {found.not_run}")
    assert found.violations == [], found.detail
    not_met = found.counts.pop("points_not_met")  # others took their place
    assert found.counts == {count: wanted, "lost": 0, "duplicated": 0, "unequal": 0}, not_met


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sixty_kills_at_a_system_call_lose_nothing(tmp_path: Path) -> None:
    asked = Asked(60, 6, tmp_path, beside_python(), options={"starts": "1"})
    _held(kill.campaign(asked), "syscall_points", 60)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_forty_errors_of_a_system_call_are_told_and_mended_by_the_same_command(tmp_path: Path) -> None:
    asked = Asked(40, 40, tmp_path, beside_python(), options={"starts": "1"})
    _held(error.campaign(asked), "error_points", 40)
