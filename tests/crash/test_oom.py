"""OOM kills in short (tests/e2e/test_memory.py has more); `make crash FAMILY=oom N=50` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.campaign import beside_python
from tests.crash.findings import Asked
from tests.crash.oom import campaign


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["coordinator", "server"])
def test_what_the_kernel_kills_costs_the_file_that_is_too_large_alone(kind: str, tmp_path: Path) -> None:
    found = campaign(Asked(1, 7, tmp_path, beside_python(), short=True, options={"kind": kind}))
    if found.not_run:
        pytest.skip(f"not run: {found.not_run}")
    assert found.violations == [], found
    assert found.counts["oom_kills"] >= 1
    assert {name: found.counts[name] for name in ("lost", "duplicated", "unequal")} == {
        "lost": 0,
        "duplicated": 0,
        "unequal": 0,
    }
