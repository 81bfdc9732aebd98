"""build.json, as the build writes it and as damage leaves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchctl.errors import ExecutableDamagedError
from batchctl.executable.inside import read_build

GOOD: dict[str, Any] = {
    "version": "0.1.0",
    "python": "3.11.7",
    "packages": [{"name": "pandas", "version": "3"}, {"name": "numpy", "version": "2"}],
}


def test_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text(json.dumps({**GOOD, "libc": "2.30", "date": 0, "parts": ["x"]}))
    build = read_build(tmp_path / "build.json")
    assert list(build.packages.items()) == [("numpy", "2"), ("pandas", "3")]
    assert (build.version, build.python, dict(build.facts)) == ("0.1.0", "3.11.7", {"libc": "2.30", "date": "0"})
    (tmp_path / "build.json").write_text(json.dumps({**GOOD, "packages": {"pandas": "3", "numpy": "2"}}))
    assert read_build(tmp_path / "build.json").packages == build.packages


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="a list"),
        pytest.param("{", id="no JSON"),
        pytest.param(json.dumps({**GOOD, "packages": None}), id="no packages"),
        pytest.param(json.dumps({**GOOD, "packages": [{"name": "x"}]}), id="a package without a version"),
        pytest.param(json.dumps({"packages": {}}), id="no version"),
        pytest.param(None, id="gone"),
    ],
)
def test_damage_names_the_file(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "build.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ExecutableDamagedError) as refused:
        read_build(path)
    assert (refused.value.where, bool(refused.value.remedy)) == (str(path), True)
