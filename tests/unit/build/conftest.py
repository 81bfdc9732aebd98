"""The scripts of build/ are no package: they find each other beside themselves, and so do their tests."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.unit.build.scene import BUILD, Scene

sys.path.insert(0, str(BUILD))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A small build to ask about."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here, whose libraries are in the launcher")
    return Scene(tmp_path)
