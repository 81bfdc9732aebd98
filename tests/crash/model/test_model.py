"""The store against a disk that remembers what was synced: >= 50,000 crash states, and every mutant caught."""

from __future__ import annotations

import pytest

from tests.crash.model.campaign import Outcome, hunt
from tests.crash.model.checker import Checker
from tests.crash.model.mutants import MUTANTS

STATES = 50_000
SEED = 20261122


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_crash_breaks_a_promise_and_every_mutant_does(capsys: pytest.CaptureFixture[str]) -> None:
    findings = Checker(seed=SEED, states=STATES).run()
    outcome = Outcome(SEED, STATES, findings, tuple(hunt(name, seed=SEED) for name in MUTANTS))
    with capsys.disabled():
        print("\n" + "\n".join(outcome.table()))
    assert findings.violations == []
    assert findings.states >= STATES
    assert min(findings.by_depth[depth] for depth in (1, 2, 3, 4)) >= 1000
    assert min(findings.later_faults[kind] for kind in ("full", "sync")) >= 500
    assert [one.name for one in outcome.caught if one.states is None] == []
    assert len(outcome.caught) >= 20


def test_the_same_seed_makes_the_same_exploration() -> None:
    one, two = (Checker(seed=7, states=200).run() for _ in range(2))
    assert (one.states, one.by_kind, one.by_depth) == (two.states, two.by_kind, two.by_depth)
