"""Every deliberately broken variant of the protocol is caught by the model checker."""

from __future__ import annotations

import pytest

from tests.crash.model.campaign import hunt
from tests.crash.model.mutants import MUTANTS
from tests.crash.model.test_model import SEED


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_protocol_is_caught(name: str) -> None:
    assert hunt(name, seed=SEED).states is not None


def test_there_are_enough_of_them() -> None:
    assert len(MUTANTS) >= 20
