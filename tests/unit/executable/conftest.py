from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.executable.pretend import Pretend


@pytest.fixture
def pretend(tmp_path: Path) -> Pretend:
    return Pretend(tmp_path)
