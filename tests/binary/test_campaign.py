"""kill -9 of real runs of the packaged file at random moments.

The long form: `python -m tests.crash kill -n 500 --batchctl dist/batchctl --set python=`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.binary.packaged import Packaged, count
from tests.crash.campaign import campaign, render


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("python", [pytest.param("", id="embedded")])
def test_kills_of_the_packaged_file_lose_nothing(
    warm: Packaged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    monkeypatch.setenv("BATCHCTL_CACHE", str(warm.cache))
    kills = count(short=8, full=25)
    found = campaign(kills=kills, seed=25, workers=2, batchctl=str(warm.path), python=python, work=tmp_path)
    assert found["violations"] == [], render(found)
    assert found["kills"] == kills
