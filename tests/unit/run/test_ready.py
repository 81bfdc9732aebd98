"""What of a spec reaches sizing."""

from __future__ import annotations

from pathlib import Path

from batchctl.model.job import Dialect, JobSpec, Pin
from batchctl.model.node import Footprint, NodeReport
from batchctl.run.ready import size_slots

MIB, GIB = 1 << 20, 1 << 30
REPORT = NodeReport("h", tuple(range(8)), None, (tuple(range(8)),), 16 * GIB, 16 * GIB, 10 * GIB)


def spec(tmp_path: Path) -> JobSpec:
    script = tmp_path / "score.py"
    return JobSpec(Dialect.SCRIPT, script, "score", script, tmp_path, ("in",), None, hide_gpus=True)


def test_pin_reserve_and_threads_are_obeyed(tmp_path: Path) -> None:
    wished = spec(tmp_path)._replace(pin=Pin.NONE, mem_reserve=7 * GIB, threads=2)
    sizing = size_slots(wished, REPORT, footprint=None)
    assert [(slot.cpus, slot.threads) for slot in sizing.slots] == [((), 2)] * 4
    assert sizing.first == 1
    assert any("3.0 GiB of memory" in reason for reason in sizing.reasons)


def test_a_model_on_disk_counts_twice(tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "deep").mkdir(parents=True)
    for name in ("a", "deep/b"):
        with (model / name).open("wb") as file:
            file.truncate(GIB)
    (model / "loop").symlink_to(model)
    (model / "dangling").symlink_to(tmp_path / "none")
    sizing = size_slots(spec(tmp_path)._replace(model=model), REPORT, footprint=None)
    assert any("9.2 GiB of memory / 4 x 4.0 GiB assumed" in reason for reason in sizing.reasons)
    assert (len(sizing.slots), sizing.first) == (8, 1)
    one = size_slots(spec(tmp_path)._replace(model=model / "a"), REPORT, footprint=None)
    assert any("4 x 2.0 GiB assumed" in reason for reason in one.reasons)
    remembered = size_slots(spec(tmp_path), REPORT, footprint=Footprint(4 * GIB, source="remembered"))
    assert (len(remembered.slots), remembered.first) == (2, 2)


def test_a_model_that_is_not_there_weighs_nothing(tmp_path: Path) -> None:
    sizing = size_slots(spec(tmp_path)._replace(model=tmp_path / "none"), REPORT, footprint=None)
    assert len(sizing.slots) == 8
