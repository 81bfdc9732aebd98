"""Stops in short; `make crash FAMILY=stops` is the long form. tests/e2e has drains that are bounded, cut short or
interrupted, and each way for a script to die."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.campaign import beside_python
from tests.crash.findings import Asked
from tests.crash.stops import campaign

CASES = (
    "mischief",
    "drain",
    "retry drained",
    "hang-up",
    "worker stopped",
    "fork server stopped",
    "coordinator stopped for a while",
    "all stopped for a while",
    "clock set",
)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES)
def test_whoever_stops_costs_nobody_a_row(case: str, tmp_path: Path) -> None:
    found = campaign(Asked(1, 3, tmp_path, beside_python(), short=True, options={"case": case}))
    if found.not_run:
        pytest.skip(f"not run: {found.not_run}")
    assert found.violations == [], found
    assert found.counts["stops"] >= 1
    assert [found.counts[name] for name in ("lost", "duplicated", "unequal")] == [0, 0, 0]
