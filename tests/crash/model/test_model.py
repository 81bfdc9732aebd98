"""The store against a disk that remembers what was synced: >= 50,000 crash states."""

from __future__ import annotations

import pytest

from tests.crash.model.campaign import Outcome
from tests.crash.model.checker import Checker

STATES = 50_000
SEED = 20261122


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_crash_breaks_a_promise(capsys: pytest.CaptureFixture[str]) -> None:
    findings = Checker(seed=SEED, states=STATES).run()
    with capsys.disabled():
        print("\n" + "\n".join(Outcome(SEED, STATES, findings, ()).table()))
    assert findings.violations == []
    assert findings.states >= STATES
    assert min(findings.by_depth[depth] for depth in (1, 2, 3, 4)) >= 1000
    assert min(findings.later_faults[kind] for kind in ("full", "sync")) >= 500


def test_the_same_seed_makes_the_same_exploration() -> None:
    one, two = (Checker(seed=7, states=400).run() for _ in range(2))
    assert (one.states, one.by_kind, one.by_depth) == (two.states, two.by_kind, two.by_depth)
