"""Full disks in short; `make crash FAMILY=full` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.campaign import beside_python
from tests.crash.findings import Asked
from tests.crash.full import campaign


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_full_disk_costs_nobody_anything(tmp_path: Path) -> None:
    found = campaign(
        Asked(
            6,
            1,
            tmp_path,
            beside_python(),
            short=True,
            options={"case": "rows-stay,rows-term,start,sorting,files-stay,inodes"},
        )
    )
    if found.not_run:
        pytest.skip(f"not run: {found.not_run}")
    assert found.violations == []
    assert found.counts == {"full_disks": 6, "lost": 0, "duplicated": 0, "unequal": 0}
