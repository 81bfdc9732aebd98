"""The scale bench in its short form: it runs, nothing is lost or scored twice, and memory does not follow the items."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench import scale
from tests.bench.scale import measure, pss_mb
from tests.bench.scale_inputs import Shape
from tests.bench.scale_report import JSON, PAGE, PLOT, page, plot

BATCHCTL = str(Path(sys.executable).parent / "batchctl")
AT_REST_MB, PER_MILLION_MB = 40.0, 40.0  # the project's bounds


def measured(shape: Shape, tmp_path: Path, *, hold: bool = False) -> dict[str, Any]:
    return measure(BATCHCTL, shape, data=tmp_path / "data", scratch=tmp_path, hold=hold)


@pytest.fixture
def readable() -> None:
    if not pss_mb(1) and not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("not run: no smaps_rollup here")


@pytest.mark.usefixtures("readable")
def test_memory_of_the_coordinator(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows = [measured(Shape("", count), tmp_path) for count in (1_000, 10_000)]
    for row in rows:
        peaks = [row["run_pss_mb"], row["plan_sized_pss_mb"], row["resume_finished_pss_mb"]]
        assert max(peaks) <= AT_REST_MB + PER_MILLION_MB * row["items"] / 1e6, row
    # What is held per item would show ten times: 10 MB for 9,000 items are 1 KB for each.
    assert rows[1]["run_pss_mb"] - rows[0]["run_pss_mb"] < 10, rows


@pytest.mark.usefixtures("readable")
@pytest.mark.parametrize(
    "shape",
    [
        Shape("one by one", 3_000, mini_batch=1),
        Shape("deep and long", 2_000, per_folder=20, name_length=255, nested=True),
    ],
    ids=lambda shape: shape.name,
)
def test_other_shapes_are_crashed_and_resumed(shape: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "CRASH_AT", 0.001)  # as soon as there is a row
    (tmp_path / "data").mkdir()
    row = measured(shape, tmp_path, hold=True)
    assert row["mini_batches"] == shape.batches
    assert 0.0 < row["done_at_crash"] <= 1.0


def test_the_page_and_the_plot_are_made_of_the_figures() -> None:
    found = json.loads(JSON.read_text(encoding="utf-8"))
    assert found["rows"]
    text = PAGE.read_text(encoding="utf-8")
    assert page(text, found) == text
    assert PLOT.read_text(encoding="utf-8") == plot(found)
