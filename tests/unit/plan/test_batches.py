"""Mini-batch bounds, and the reference's enumeration cases E1-E6 on real files."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest

from batchctl.errors import UsageError
from batchctl.model.job import Grouping
from batchctl.plan.batches import batch_firsts
from batchctl.plan.encode import build_plan
from batchctl.plan.inputs import InputRequest
from tests.unit.plan.trees import DIRECTORY, PATH, grow, image_of, written

CASES = {
    "exact": ([0, 100], 10, PATH, list(range(0, 101, 10))),
    "short last": ([0, 25], 10, PATH, [0, 10, 20, 25]),
    "one item": ([0, 1], 10, PATH, [0, 1]),
    "runs do not matter in path grouping": ([0, 7, 13], 5, PATH, [0, 5, 10, 13]),
    "runs close mini-batches in directory grouping": ([0, 7, 13], 5, DIRECTORY, [0, 5, 7, 12, 13]),
    "size one": ([0, 2, 3], 1, DIRECTORY, [0, 1, 2, 3]),
    "larger than all": ([0, 2, 3], 100, DIRECTORY, [0, 2, 3]),
    "no items": ([0], 10, PATH, [0]),
}


@pytest.mark.parametrize("case", CASES)
def test_bounds(case: str) -> None:
    runs, size, grouping, expected = CASES[case]
    assert batch_firsts(array("I", runs), size=size, grouping=grouping).tolist() == expected


# name: run firsts, sizes, mini-batch size, most bytes, grouping -> bounds
BY_BYTES = {
    "the size is not reached": ([0, 5], [1] * 5, 2, 100, PATH, [0, 2, 4, 5]),
    "closed before it is passed": ([0, 5], [4, 4, 3, 4, 8], 10, 8, PATH, [0, 2, 4, 5]),
    "exactly full": ([0, 4], [4, 4, 4, 4], 10, 8, PATH, [0, 2, 4]),
    "a larger item is one by itself": ([0, 5], [1, 1, 9, 1, 1], 10, 8, PATH, [0, 2, 3, 5]),
    "larger ones follow each other": ([0, 3], [9, 9, 9], 10, 8, PATH, [0, 1, 2, 3]),
    "empty items cost nothing": ([0, 4], [0, 8, 0, 1], 10, 8, PATH, [0, 3, 4]),
    "the count still bounds": ([0, 5], [1, 1, 1, 9, 1], 2, 8, PATH, [0, 2, 3, 4, 5]),
    "runs do not matter in path grouping": ([0, 2, 4], [3, 3, 2, 3], 10, 8, PATH, [0, 3, 4]),
    "runs close in directory grouping": ([0, 2, 4], [3, 3, 2, 3], 10, 8, DIRECTORY, [0, 2, 4]),
    "bytes and runs": ([0, 3, 4], [5, 5, 1, 1], 10, 8, DIRECTORY, [0, 1, 3, 4]),
    "no bytes at all": ([0, 3], [0, 1, 0], 10, 0, PATH, [0, 1, 2, 3]),
    "no items": ([0], [], 10, 8, PATH, [0]),
}


@pytest.mark.parametrize("case", BY_BYTES)
def test_bounds_by_bytes(case: str) -> None:
    runs, sizes, size, most, grouping, expected = BY_BYTES[case]
    found = batch_firsts(array("I", runs), size=size, grouping=grouping, sizes=array("Q", sizes), max_bytes=most)
    assert found.tolist() == expected


def test_bytes_without_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="sizes of 1 items: there are 2"):
        batch_firsts([0, 2], size=1, grouping=PATH, sizes=[1], max_bytes=8)


@pytest.mark.parametrize("grouping", list(Grouping))
def test_bytes_of_real_files(tmp_path: Path, grouping: Grouping) -> None:
    for name, size in (("a/1", 3), ("a/2", 6), ("b/1", 2), ("b/2", 20), ("b/3", 1)):
        grow(tmp_path / "in", name, content=b"x" * size)
    asked = InputRequest(("in",), folder=tmp_path, grouping=grouping)
    with written(build_plan(asked, mini_batch_size=10, max_batch_bytes=8), tmp_path / "plan") as plan:
        names = [[path[-3:] for path in plan.paths(*plan.bounds(batch))] for batch in range(plan.batches)]
    together = [["a/2", "b/1"]] if grouping is PATH else [["a/2"], ["b/1"]]
    assert names == [["a/1"], *together, ["b/2"], ["b/3"]]


def test_size_zero_is_refused(tmp_path: Path) -> None:
    grow(tmp_path, "in/a")
    with pytest.raises(ValueError, match="1 or more"):
        batch_firsts([0, 1], size=0, grouping=PATH)
    with pytest.raises(UsageError):
        image_of(tmp_path, "in", size=0)


ENUMERATION = {  # reference, section 10
    "E1": ([f"{i:03}" for i in range(100)], 10, PATH, [10] * 10),
    "E2": ([f"{i:03}" for i in range(25)], 10, PATH, [10, 10, 5]),
    "E3 directory": ([f"a/{i}" for i in range(7)] + [f"b/{i}" for i in range(6)], 5, DIRECTORY, [5, 2, 5, 1]),
    "E3 path": ([f"a/{i}" for i in range(7)] + [f"b/{i}" for i in range(6)], 5, PATH, [5, 5, 3]),
    "E3 files around a folder": (["a", "z", "m/1", "m/2"], 10, DIRECTORY, [2, 2]),
    "E4": ([".hid", "_SUCCESS", "d/ünï", "with space"], 10, PATH, [4]),
}


@pytest.mark.parametrize("case", ENUMERATION)
def test_enumeration(tmp_path: Path, case: str) -> None:
    names, size, grouping, expected = ENUMERATION[case]
    grow(tmp_path / "in", *names)
    with written(image_of(tmp_path, "in", size=size, grouping=grouping), tmp_path / "plan") as plan:
        assert [plan.bounds(batch)[1] for batch in range(plan.batches)] == expected
        seen = [path for batch in range(plan.batches) for path in plan.paths(*plan.bounds(batch))]
    assert sorted(seen) == sorted(str(tmp_path / "in" / name) for name in names)
    assert all(type(path) is str and path.startswith("/") for path in seen)


@pytest.mark.parametrize("grouping", list(Grouping))
def test_e5_one_file(tmp_path: Path, grouping: Grouping) -> None:
    grow(tmp_path, "only.csv")
    with written(image_of(tmp_path, "only.csv", grouping=grouping), tmp_path / "plan") as plan:
        assert [plan.paths(*plan.bounds(0))] == [[str(tmp_path / "only.csv")]]
        assert plan.batches == 1


def test_e6_empty_folder(tmp_path: Path) -> None:
    grow(tmp_path, "in/")
    with pytest.raises(UsageError) as caught:
        image_of(tmp_path, "in")
    assert caught.value.exit_code == 2
