"""What the tests of the commands share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scoring script in the current folder, with no switch set in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("JSON", "QUIET", "VERBOSE"):
        monkeypatch.delenv(f"BATCHCTL_{name}", raising=False)
    path = tmp_path / "score.py"
    path.write_text("def init(): pass\ndef run(batch): return batch\n")
    return path
