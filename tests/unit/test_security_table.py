"""docs/security.md names the test that shows each of its claims: there is such a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs/security.md").read_text())))


def test_there_are_claims() -> None:
    assert len(NAMED) > 20


@pytest.mark.parametrize(("path", "function"), NAMED)
def test_what_the_table_names_is_there(path: str, function: str) -> None:
    text = (ROOT / path).read_text()
    assert not function or f"\ndef {function}(" in text
