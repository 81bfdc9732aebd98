"""The plan as mapped: every range of paths, and that a damaged file is refused and never read beyond its end."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchctl.guest.plan_map import HEADER, PlanDamaged, PlanMap

_spec = importlib.util.spec_from_file_location("guest_driver", Path(__file__).parents[2] / "guest" / "driver.py")
assert _spec is not None
assert _spec.loader is not None
driver = sys.modules.get("guest_driver") or importlib.util.module_from_spec(_spec)
if "guest_driver" not in sys.modules:
    sys.modules["guest_driver"] = driver
    _spec.loader.exec_module(driver)

ITEMS: dict[str, list[str | bytes]] = {
    "one": ["/a"],
    "root and folders": ["/a", "/b", "/d/a", "/d/e/a", "/d/e/b", "/d/z"],
    "folder met again": ["/d/a", "/e/b", "/d/c", "/d/d"],
    "odd names": ["/d/a b", "/d/ü", b"/d/\xff", "/ü/plain", "/d/new\nline", "/d/" + "x" * 255],
    "many": [f"/data/{n // 7}/{n}" for n in range(100)],
}


@pytest.mark.parametrize("case", ITEMS)
def test_every_range(case: str, tmp_path: Path) -> None:
    items = [os.fsdecode(item) for item in ITEMS[case]]
    plan = PlanMap(str(driver.write_plan(tmp_path / "plan", ITEMS[case], 3)))
    assert plan.items == len(items)
    for first in range(len(items)):
        for count in range(1, len(items) - first + 1):
            assert plan.paths(first, count) == items[first : first + count]
    # Backwards too: what is remembered of the last answer must not show.
    assert [plan.paths(n, 1)[0] for n in reversed(range(len(items)))] == items[::-1]
    firsts = plan.batch_firsts.tolist()
    assert firsts == [*range(0, len(items), 3), len(items)]


TWO = (("user", "sé"), [("a", "b c"), ("", b"\xff"), ("k=v", "x" * 300), ("a", "b c")])


def test_partitions(tmp_path: Path) -> None:
    plan = PlanMap(str(driver.write_plan(tmp_path / "plan", ITEMS["root and folders"][:4], 1, TWO)))
    keys, values = TWO
    assert plan.keys == keys
    for batch in (3, 0, 1, 2):
        found = plan.partition(batch)
        assert list(found) == list(keys)
        assert [os.fsencode(value) for value in found.values()] == [os.fsencode(value) for value in values[batch]]
        found.clear()
        assert plan.partition(batch)
    for batch in (-1, 4, 2**32):
        with pytest.raises(IndexError):
            plan.partition(batch)
    plan.close()


def test_without_keys_there_are_no_values(tmp_path: Path) -> None:
    plan = PlanMap(str(driver.write_plan(tmp_path / "plan", ITEMS["many"])))
    assert (plan.keys, plan.partition(0)) == ((), {})


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=6)


@given(st.lists(st.tuples(st.sampled_from(["/", "/a/", "/ä/b/"]), names), min_size=1, max_size=20), st.data())
def test_any_names(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    items = [folder + name for folder, name in pairs]
    plan = PlanMap(str(driver.write_plan(tmp_path_factory.mktemp("plan") / "plan", items)))
    for _ in range(5):
        first = data.draw(st.integers(0, len(items) - 1))
        count = data.draw(st.integers(1, len(items) - first))
        assert plan.paths(first, count) == items[first : first + count]


@pytest.mark.parametrize(("first", "count"), [(0, 101), (100, 1), (99, 2), (5000, 1)])
def test_ranges_beyond_the_plan(first: int, count: int, tmp_path: Path) -> None:
    plan = PlanMap(str(driver.write_plan(tmp_path / "plan", ITEMS["many"])))
    with pytest.raises(IndexError):
        plan.paths(first, count)


def test_each_answer_is_a_fresh_list(tmp_path: Path) -> None:
    plan = PlanMap(str(driver.write_plan(tmp_path / "plan", ["/a/x", "/a/y"])))
    plan.paths(0, 2).clear()
    assert plan.paths(0, 2) == ["/a/x", "/a/y"]


@pytest.mark.parametrize("length", [0, 1, HEADER.size - 1, HEADER.size, HEADER.size + 8, -1])
def test_cut_files(length: int, tmp_path: Path) -> None:
    path = driver.write_plan(tmp_path / "plan", ITEMS["many"])
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(PlanDamaged):
        PlanMap(str(path))


@pytest.mark.parametrize("cut", range(8, 400, 8))
def test_cut_partitions(cut: int, tmp_path: Path) -> None:
    """With the length in the header made to fit, so that the sections themselves are looked at."""
    path = driver.write_plan(tmp_path / "plan", ITEMS["root and folders"][:4], 1, TWO)
    content = bytearray(path.read_bytes()[:-cut])
    content[HEADER.size - 16 : HEADER.size - 8] = len(content).to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(PlanDamaged):
        PlanMap(str(path))


@given(st.integers(0, HEADER.size - 1), st.integers(0, 255), st.booleans())
def test_a_damaged_header_is_refused_or_stays_inside_the_file(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, partitioned: bool
) -> None:
    path = tmp_path_factory.mktemp("plan") / "plan"
    driver.write_plan(path, ITEMS["root and folders"][:4] if partitioned else ITEMS["many"], *([1, TWO] * partitioned))
    content = bytearray(path.read_bytes())
    content[at] = byte
    path.write_bytes(content)
    try:
        plan = PlanMap(str(path))
        plan.paths(0, min(plan.items, 100))
        plan.partition(0)
    except (PlanDamaged, IndexError):
        pass
