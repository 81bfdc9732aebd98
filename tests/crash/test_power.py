"""Power cuts in short; `make crash FAMILY=power` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.campaign import beside_python
from tests.crash.findings import Asked
from tests.crash.power import campaign


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fs", ["ext4,ext4-writeback", "xfs"])
def test_power_cuts_lose_nothing(fs: str, tmp_path: Path) -> None:
    found = campaign(Asked(6, 12, tmp_path, beside_python(), options={"fs": fs}))
    if found.not_run:
        pytest.skip(f"not run: {found.not_run}")
    assert found.violations == []
    assert found.counts["power_cuts"] == 6
    assert not found.counts["lost"] + found.counts["duplicated"] + found.counts["unequal"]
