"""The kill campaign in short; `make crash` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.campaign import beside_python, campaign, render


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_thirty_random_kills_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    found = campaign(kills=30, seed=30, workers=2, batchctl=beside_python(), work=tmp_path)
    assert found["violations"] == [], render(found)
    assert found["kills"] == 30
