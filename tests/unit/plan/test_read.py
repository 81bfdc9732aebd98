"""The plan file read back: damage, names, changes; and the figures of a plan."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from batchctl.errors import CorruptionError, UsageError
from batchctl.plan import encode
from batchctl.plan.display import display_name, machine_name
from batchctl.plan.encode import PlanBuilder
from batchctl.plan.inputs import InputRequest
from batchctl.plan.look import planned_ns
from batchctl.plan.read import TICK_NS, ChangeKind, Plan
from batchctl.plan.stretch import Stretch
from batchctl.plan.summary import added_files, summarise
from tests.unit.plan.trees import aged, grow, image_of, written


def test_what_is_written_is_read(tmp_path: Path) -> None:
    grow(tmp_path / "in", "a", "d/b", content=b"12345")
    os.utime(tmp_path / "in" / "a", ns=(1, -7))
    image = image_of(tmp_path, "in", size=1)
    with written(image, tmp_path / "plan") as plan:
        assert (plan.items, plan.batches, plan.folders, plan.total_bytes) == (2, 2, 2, 10)
        assert (plan.path(1), plan.size(1)) == (str(tmp_path / "in" / "d" / "b"), 5)
        assert (plan.mtime_ns(0), plan.batch_of(1), plan.bounds(1)) == (-7, 1, (1, 1))
        assert plan.crc == image.crc == plan.computed_crc()
        for bad in (-1, 2):
            for ask in (plan.path, plan.size, plan.batch_of, plan.mtime_ns, plan.bounds):
                with pytest.raises(IndexError):
                    ask(bad)
    assert image.length == (tmp_path / "plan").stat().st_size


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    grow(tmp_path / "in", "a", "d/b")
    file = tmp_path / "plan"
    written(image_of(tmp_path, "in"), file).close()
    whole = file.read_bytes()
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        with pytest.raises(CorruptionError):
            Plan.open(file)
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(CorruptionError):
            Plan.open(file)


def _resident(path: Path) -> int:
    """KiB of a mapped file that are this process's memory."""
    found, total = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            found = line.endswith(str(path))
        elif found and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


def test_an_opened_plan_is_not_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "plan"
    names = grow(tmp_path / "tree", *(f"{n // 1000}/{'x' * 90}{n:05d}" for n in range(2_000)))
    image = image_of(tmp_path, str(names), size=1)
    with written(image, file) as plan:
        assert _resident(file) < 64
        assert len(plan.paths(0, plan.items)) == plan.items  # it comes back when it is wanted
        assert _resident(file) > image.length // 1024 * 0.8


def test_no_plan(tmp_path: Path) -> None:
    with pytest.raises(CorruptionError):
        Plan.open(tmp_path / "none")


def test_changes_are_told_apart(tmp_path: Path) -> None:
    root = aged(grow(tmp_path / "in", "gone", "grown", "same", "secret", "swapped", "touched", content=b"x"))
    with written(image_of(tmp_path, "in"), tmp_path / "plan") as plan:
        assert plan.changed(0, plan.items) == []
        (root / "gone").unlink()
        (root / "grown").write_bytes(b"xy")
        (root / "swapped").unlink()
        (root / "swapped").mkdir()
        os.utime(root / "touched", ns=(5, 5))
        was = (root / "secret").stat()
        while (root / "secret").stat().st_ctime_ns <= plan.listed_ns + TICK_NS:  # the clock of files is coarse
            (root / "secret").write_bytes(b"y")
            os.utime(root / "secret", ns=(was.st_atime_ns, was.st_mtime_ns))
        found = plan.changed(0, plan.items)
        assert [(c.item, c.kind) for c in found] == [
            (0, ChangeKind.MISSING),
            (1, ChangeKind.SIZE),
            (3, ChangeKind.TOUCHED),
            (4, ChangeKind.NOT_A_FILE),
            (5, ChangeKind.MTIME),
        ]
        assert found[1].detail == "size 1 -> 2"
        assert plan.changed(2, 1) == []


def test_times_that_no_plan_can_hold_are_the_first_and_the_last(tmp_path: Path) -> None:
    assert [planned_ns(time) for time in (-(1 << 70), -7, 1 << 70)] == [-(1 << 63), -7, (1 << 63) - 1]
    root = grow(tmp_path / "in", "a", "b")
    os.utime(root / "b", (0, 330 * 31_556_952))  # in the year 2300
    for given in ("in", "@list"):
        (tmp_path / "list").write_text(f"{root}/a\n{root}/b\n")
        with written(image_of(tmp_path, given), tmp_path / "plan") as plan:
            assert plan.mtime_ns(1) == min((root / "b").stat().st_mtime_ns, (1 << 63) - 1)
            assert plan.changed(0, plan.items) == []


NAMES = {
    "/plain é": ("/plain é", "/plain é"),
    "/a\nb\t": ("/a\\nb\\t", "/a\nb\t"),
    "/\x1b[31m": ("/\\x1b[31m", "/\x1b[31m"),
    "/\udcff": ("/\\xff", "/\\xff"),
    "/a\\b": ("/a\\\\b", "/a\\b"),
    "/\u202egpj": ("/\\u202egpj", "/\u202egpj"),
    "/\U000e0001": ("/\\U000e0001", "/\U000e0001"),
}


@pytest.mark.parametrize("path", NAMES)
def test_names(path: str) -> None:
    assert (display_name(path), machine_name(path)) == NAMES[path]
    assert display_name(path).isprintable()
    json.dumps(machine_name(path), ensure_ascii=False).encode()


def test_plan_knows_both_names(tmp_path: Path) -> None:
    grow(tmp_path / "in", b"\xff\n")
    with written(image_of(tmp_path, "in"), tmp_path / "plan") as plan:
        assert plan.display(0).endswith("/\\xff\\n")
        assert plan.machine_name(0).endswith("/\\xff\n")
        assert plan.path_bytes(0).endswith(b"/\xff\n")


def stretch(*names: bytes) -> Stretch:
    return Stretch(0, b"/f", names, [0] * len(names), [0] * len(names))


def test_limits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "MAX_ITEMS", 3)
    builder = PlanBuilder()
    builder.add(stretch(b"a", b"b", b"c"))
    with pytest.raises(UsageError, match="items"):
        builder.add(stretch(b"d"))
    monkeypatch.setattr(encode, "MAX_NAMES", 4)
    with pytest.raises(UsageError, match="names"):
        PlanBuilder().add(stretch(b"abc", b"de"))


def test_a_forgotten_folder_may_be_listed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_REMEMBERED", 1)
    grow(tmp_path / "in", "a", "b/1", "c", "d/2", "e")
    image = image_of(tmp_path, "in")
    with written(image, tmp_path / "plan") as plan:
        assert [p.removeprefix(str(tmp_path)) for p in plan.paths(0, 5)] == [
            "/in/a", "/in/b/1", "/in/c", "/in/d/2", "/in/e",
        ]  # fmt: skip


def test_summary_and_added_files(tmp_path: Path) -> None:
    root = grow(tmp_path / "in", "a", "d/b")
    grow(root, "d/large", content=b"x" * 9)
    image = image_of(tmp_path, "in", size=2)
    said = summarise(image)
    assert (said.items, said.total_bytes, said.batches, said.folders) == (3, 9, 2, 2)
    assert said.largest.path.endswith("/d/large")
    with written(image, tmp_path / "plan") as plan:
        request = InputRequest(("in",), folder=tmp_path)
        assert added_files(request, plan).count == 0
        twice = InputRequest(("in", "in/d"), folder=tmp_path)
        grow(root, "d/new", "fresh/one")
        added = added_files(request, plan)
        assert added_files(twice, plan) == added
    assert added.count == 2
    assert [os.path.basename(path) for path in added.examples] == ["new", "one"]
    full = summarise(image, added=added)
    assert "2 file(s) added" in full.notes[-1]
    assert json.loads(json.dumps(full.to_dict()))["added"]["count"] == 2
