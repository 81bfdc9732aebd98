"""An error of the block device in short; `make crash FAMILY=block` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.block import campaign
from tests.crash.campaign import beside_python
from tests.crash.findings import Asked


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_error_of_the_disk_stops_the_run_and_a_fresh_one_recovers(tmp_path: Path) -> None:
    found = campaign(Asked(1, 2, tmp_path, beside_python(), short=True))
    if found.not_run:
        pytest.skip(f"not run: {found.not_run}")
    assert found.violations == []
    assert found.counts == {"block_errors": 1, "lost": 0, "duplicated": 0, "unequal": 0}
