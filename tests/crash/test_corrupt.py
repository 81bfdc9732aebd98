"""The corruptions in short; `make crash FAMILY=corrupt N=0` is the long form: every byte of every log, and more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.campaign import beside_python
from tests.crash.corrupt.family import campaign
from tests.crash.findings import Asked


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_thousand_corruptions_are_named_or_change_nothing(tmp_path: Path) -> None:
    found = campaign(Asked(1000, 9, tmp_path, beside_python(), options={"real": "6"}))
    assert found.violations == [], found.detail
    assert found.counts == {"corruptions": 1000}
    assert found.detail["before the real commands"] == 6
