"""The race of coordinators in short; `make crash FAMILY=race N=500` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.campaign import beside_python
from tests.crash.findings import Asked
from tests.crash.lock_race import campaign


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_of_coordinators_that_start_together_exactly_one_wins(tmp_path: Path) -> None:
    found = campaign(Asked(10, 10, tmp_path, beside_python(), short=True))
    assert found.violations == [], found
    assert found.counts == {"lock_races": 10, "lost": 0, "duplicated": 0, "unequal": 0}
