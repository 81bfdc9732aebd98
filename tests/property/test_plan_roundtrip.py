"""Any tree of any names: the plan is the sorted list of relative paths, and the file gives it back."""

from __future__ import annotations

import os
import tempfile
from array import array
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from batchctl.model.job import Grouping
from batchctl.plan.batches import batch_firsts
from batchctl.plan.encode import build_plan
from batchctl.plan.inputs import InputRequest
from batchctl.plan.names import NameSorter
from batchctl.plan.partitions import Partitions
from tests.unit.plan.trees import image_of, planned, written

NAME = st.binary(min_size=1, max_size=12).map(
    lambda raw: raw.replace(b"/", b".").replace(b"\0", b"\x01")
).filter(lambda name: name not in (b".", b".."))  # fmt: skip
# Few letters around the slash (0x2f), so that prefixes and neighbours collide.
CLOSE = st.text(alphabet="a.-0", min_size=1, max_size=3).map(str.encode).filter(lambda n: n not in (b".", b".."))
TREE = st.sets(st.lists(NAME | CLOSE, min_size=1, max_size=4).map(b"/".join), min_size=1, max_size=25)


def plant(root: bytes, paths: set[bytes]) -> list[bytes]:
    """Make what can be made (a name cannot be a file and a folder); returns the files' relative paths."""
    made = []
    for path in sorted(paths):
        try:
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "xb") as file:
                file.write(path)
            made.append(path)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
    return made


@settings(max_examples=60, deadline=None)
@given(paths=TREE, size=st.integers(1, 5))
def test_path_order_is_the_order_of_bytes(paths: set[bytes], size: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = os.fsencode(scratch) + b"/in"
        os.mkdir(root)
        made = plant(root, paths)
        expected = sorted(made)
        image = image_of(Path(scratch), "in", size=size)
        with written(image, Path(scratch) / "plan") as plan:
            found = [plan.path_bytes(item).removeprefix(root + b"/") for item in range(plan.items)]
            assert found == expected
            assert [os.fsencode(p).removeprefix(root + b"/") for p in plan.paths(0, plan.items)] == expected
            assert [plan.size(item) for item in range(plan.items)] == [len(path) for path in expected]
            assert plan.batches == -(-len(expected) // size)
            assert plan.changed(0, plan.items) == []
            for batch in range(plan.batches):
                first, count = plan.bounds(batch)
                assert {plan.batch_of(item) for item in range(first, first + count)} == {batch}


@settings(max_examples=40, deadline=None)
@given(paths=TREE, size=st.integers(1, 5))
def test_directory_grouping_counts_by_directory(paths: set[bytes], size: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = os.fsencode(scratch) + b"/in"
        os.mkdir(root)
        made = plant(root, paths)
        image = image_of(Path(scratch), "in", size=size, grouping=Grouping.DIRECTORY)
        counts: dict[bytes, int] = {}
        for path in made:
            counts[os.path.dirname(path)] = counts.get(os.path.dirname(path), 0) + 1
        assert image.batches == sum(-(-count // size) for count in counts.values())
        with written(image, Path(scratch) / "plan") as plan:
            found = []
            for batch in range(plan.batches):
                inside = [os.fsencode(p) for p in plan.paths(*plan.bounds(batch))]
                assert len({os.path.dirname(path) for path in inside}) == 1
                found += [path.removeprefix(root + b"/") for path in inside]
            assert sorted(found) == sorted(made)


@settings(max_examples=60, deadline=None)
@given(paths=TREE, rounds=st.integers(1, 3))
def test_a_partition_is_one_mini_batch_of_all_its_files(paths: set[bytes], rounds: int) -> None:
    """Partitioned by the first character of the base name, which neighbours seldom share."""
    with tempfile.TemporaryDirectory() as scratch:
        roots = [os.fsencode(scratch) + b"/in%d" % n for n in range(rounds)]
        expected: dict[str, list[tuple[bytes, int]]] = {}
        for number, root in enumerate(roots):
            os.mkdir(root)
            for path in sorted(plant(root, {bytes([number + 97]) + path for path in paths} if number else paths)):
                key = os.fsdecode(os.path.basename(path))[0]
                expected.setdefault(key, []).append((root + b"/" + path, os.path.getsize(root + b"/" + path)))
        request = InputRequest(tuple(map(os.fsdecode, roots)), folder=Path(scratch))
        image = build_plan(request, mini_batch_size=1, partitions=Partitions(["first"], "**/{first}*"))
        assert image.largest_partition is not None
        assert image.largest_partition.items == max(map(len, expected.values()))
        with written(image, Path(scratch) / "plan") as plan:
            found: dict[str, list[tuple[bytes, int]]] = {}
            for batch in range(plan.batches):
                first, count = plan.bounds(batch)
                items = [(plan.path_bytes(item), plan.size(item)) for item in range(first, first + count)]
                found[plan.partition(batch)["first"]] = items
                assert [path for path, _ in items] == list(map(os.fsencode, plan.paths(first, count)))
            assert list(found.items()) == list(expected.items())


@settings(max_examples=30, deadline=None)
@given(paths=TREE, data=st.data())
def test_several_inputs_give_each_file_once(paths: set[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = os.fsencode(scratch) + b"/in"
        os.mkdir(root)
        made = [root + b"/" + path for path in plant(root, paths)]
        picked = data.draw(st.lists(st.sampled_from(made), max_size=6))
        listed = data.draw(st.lists(st.sampled_from(made), max_size=6))
        inputs = [*map(os.fsdecode, picked), "-", "in"]
        found = planned(
            Path(scratch), *inputs, file=Path(scratch) / "plan", piped={"-": b"".join(p + b"\0" for p in listed)}
        )
        assert found == list(dict.fromkeys(picked + listed + sorted(made)))


@settings(max_examples=100, deadline=None)
@given(names=st.sets(NAME, max_size=200), part=st.integers(1, 50), block=st.integers(1, 30))
def test_sorting_in_parts_is_sorting(names: set[bytes], part: int, block: int) -> None:
    sorter, given_names = NameSorter(part=part), list(names)
    for at in range(0, len(given_names), block):
        sorter.add(given_names[at : at + block])
    assert [name for piece in sorter.parts() for name in piece] == sorted(names)


@given(runs=st.lists(st.integers(1, 40), max_size=20), size=st.integers(1, 15))
def test_batches_cover_every_item_once(runs: list[int], size: int) -> None:
    firsts = array("I", [0])
    for count in runs:
        firsts.append(firsts[-1] + count)
    for grouping in Grouping:
        bounds = batch_firsts(firsts, size=size, grouping=grouping)
        steps = [high - low for low, high in pairwise(bounds)]
        assert sum(steps) == sum(runs)
        assert all(1 <= step <= size for step in steps)
