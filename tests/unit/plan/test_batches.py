"""Mini-batch bounds, and the reference's enumeration cases E1-E6 on real files."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest

from batchctl.errors import UsageError
from batchctl.model.job import Grouping
from batchctl.plan.batches import batch_firsts
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
