"""One mini-batch per partition: the rules that find values in paths, on real files, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batchctl.errors import UsageError
from batchctl.plan.encode import PlanImage, build_plan
from batchctl.plan.inputs import InputRequest
from batchctl.plan.partitions import Partitions
from batchctl.plan.read import Plan
from tests.unit.plan.trees import DIRECTORY, PATH, aged, grow, written

Found = list[tuple[tuple[str, ...], list[str]]]  # (values, names below the tree) of each mini-batch


def image_of(
    folder: Path, *inputs: str, keys: tuple[str, ...], template: str | None = None, **request: object
) -> PlanImage:
    asked = InputRequest(inputs, folder=folder, **request)  # type: ignore[arg-type]
    return build_plan(asked, mini_batch_size=10, partitions=Partitions(keys, template))


def told(plan: Plan, root: Path) -> Found:
    found = []
    for batch in range(plan.batches):
        names = [os.path.relpath(path, root) for path in plan.paths(*plan.bounds(batch))]
        values = plan.partition(batch)
        assert tuple(values) == plan.partition_keys
        found.append((tuple(values.values()), names))
    return found


def planned(tmp_path: Path, *inputs: str, **given: object) -> Found:
    image = image_of(tmp_path, *inputs, **given)  # type: ignore[arg-type]
    with written(image, tmp_path / "plan") as plan:
        return told(plan, tmp_path)


RULES: dict[str, tuple[list[str | bytes], tuple[str, ...], str | None, Found]] = {
    "by place": (
        ["a/x/1", "a/x/2", "a/y/1", "b/x/1"], ("user", "season"), None,
        [(("a", "x"), ["in/a/x/1", "in/a/x/2"]), (("a", "y"), ["in/a/y/1"]), (("b", "x"), ["in/b/x/1"])],
    ),
    "by place, deeper folders belong to it": (
        ["a/1", "a/x/1", "a/x/y/2", "b/1"], ("user",), None,
        [(("a",), ["in/a/1", "in/a/x/1", "in/a/x/y/2"]), (("b",), ["in/b/1"])],
    ),
    "by place, odd names": (
        ["a b/1", "k=v/1", "ü/1", b"\xff/1"], ("k2",), None,
        [(("a b",), ["in/a b/1"]), (("k=v",), ["in/k=v/1"]), (("ü",), ["in/ü/1"]), (("\udcff",), ["in/\udcff/1"])],
    ),
    "hive": (
        ["user=a/season=x/1", "user=a/season=y/1", "user=b/season=x/1"], ("season", "user"), None,
        [(("x", "a"), ["in/user=a/season=x/1"]), (("y", "a"), ["in/user=a/season=y/1"]),
         (("x", "b"), ["in/user=b/season=x/1"])],
    ),
    "hive, folders between and brought together": (
        ["p/user=a/1", "p/user=b/1", "q/other=1/user=a/1", "q/user=b/2"], ("user",), None,
        [(("a",), ["in/p/user=a/1", "in/q/other=1/user=a/1"]), (("b",), ["in/p/user=b/1", "in/q/user=b/2"])],
    ),
    "hive, values as written": (
        ["k=a=b/1", "k=c%20d/1", b"k=\xfe/1", "k= /1"], ("k",), None,
        [((" ",), ["in/k= /1"]), (("a=b",), ["in/k=a=b/1"]), (("c%20d",), ["in/k=c%20d/1"]),
         (("\udcfe",), ["in/k=\udcfe/1"])],
    ),
    "template of folders": (
        ["a/x/1.csv", "a/y/1.csv", "b/x/1.csv"], ("season",), "{user}/{season}/*.csv",
        [(("x",), ["in/a/x/1.csv", "in/b/x/1.csv"]), (("y",), ["in/a/y/1.csv"])],
    ),
    "template of names": (
        ["d/a_1.csv", "d/a_2.csv", "d/b_1.csv", "d/b_2.csv"], ("day",), "d/*_{day}.csv",
        [(("1",), ["in/d/a_1.csv", "in/d/b_1.csv"]), (("2",), ["in/d/a_2.csv", "in/d/b_2.csv"])],
    ),
    "template of both": (
        ["a/1-x.csv", "a/2-x.csv", "b/1-y.csv"], ("day", "user"), "/{user}/{day}-*.csv",
        [(("1", "a"), ["in/a/1-x.csv"]), (("2", "a"), ["in/a/2-x.csv"]), (("1", "b"), ["in/b/1-y.csv"])],
    ),
    "template: keys short, stars long": (
        ["al_2020_x_y.csv", "al_2020_z.csv", "bo_2020_x.csv"], ("user", "year"), "{user}_{year}_*.csv",
        [(("al", "2020"), ["in/al_2020_x_y.csv", "in/al_2020_z.csv"]), (("bo", "2020"), ["in/bo_2020_x.csv"])],
    ),
    "template: any folders": (
        ["a/1", "p/a/1", "p/q/b/1"], ("user",), "**/{user}/*",
        [(("a",), ["in/a/1", "in/p/a/1"]), (("b",), ["in/p/q/b/1"])],
    ),
    "template: everything below": (
        ["a/1", "a/p/q/1", "b/1"], ("user",), "{user}/**",
        [(("a",), ["in/a/1", "in/a/p/q/1"]), (("b",), ["in/b/1"])],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RULES)
def test_rules(tmp_path: Path, case: str) -> None:
    names, keys, template, expected = RULES[case]
    grow(tmp_path / "in", *names)
    assert planned(tmp_path, "in", keys=keys, template=template) == expected


def test_literal_parts_of_a_template_are_literal(tmp_path: Path) -> None:
    grow(tmp_path / "in", "a.b+(c)/[1]x.csv")
    expected = [(("b",), ["in/a.b+(c)/[1]x.csv"])]
    assert planned(tmp_path, "in", keys=("k",), template="a.{k}+(c)/[1]*") == expected
    with pytest.raises(UsageError, match="does not fit"):
        planned(tmp_path, "in", keys=("k",), template="a.{k}+(c)/[0-9]*")


def test_what_lies_above_the_input_counts_for_nothing(tmp_path: Path) -> None:
    grow(tmp_path / "user=z" / "in", "a/1", "b/1")
    found = planned(tmp_path / "user=z", "in", keys=("user",))
    assert [values for values, _ in found] == [("a",), ("b",)]


def test_several_inputs_share_partitions(tmp_path: Path) -> None:
    grow(tmp_path / "p", "a/1", "b/1")
    grow(tmp_path / "q", "b/2", "c/1", "a/2")
    found = planned(tmp_path, "p", "q", "p/a", keys=("user",), template="**/{user}/*")
    assert found == [(("a",), ["p/a/1", "q/a/2"]), (("b",), ["p/b/1", "q/b/2"]), (("c",), ["q/c/1"])]


def test_a_glob_counts_from_the_folder_before_its_wildcard(tmp_path: Path) -> None:
    grow(tmp_path / "in", "2020/a/1", "2021/a/1", "other/a/1")
    found = planned(tmp_path, "in/20*", keys=("year", "user"))
    assert found == [(("2020", "a"), ["in/2020/a/1"]), (("2021", "a"), ["in/2021/a/1"])]


def test_lists_and_files(tmp_path: Path) -> None:
    grow(tmp_path / "in", "user=a/x/1", "user=b/x/1", "user=a/x/2")
    listed = b"in/user=b/x/1\nin/user=a/x/1\nin/user=a/x/2\n"
    by_b = [(("b",), ["in/user=b/x/1"]), (("a",), ["in/user=a/x/1", "in/user=a/x/2"])]
    assert planned(tmp_path, "-", keys=("user",), piped={"-": listed}) == by_b
    ends = planned(tmp_path, "-", keys=("n", "of"), template="{of}/{n}", piped={"-": listed})
    assert [values for values, _ in ends] == [("1", "x"), ("2", "x")]
    assert planned(tmp_path, "in/user=b/x/1", keys=("user",)) == by_b[:1]


@pytest.mark.parametrize("grouping", [PATH, DIRECTORY])
def test_sizes_follow_their_items(tmp_path: Path, grouping: object) -> None:
    for number, name in enumerate(("a1", "b1", "a2", "b2", "s/a3")):
        grow(tmp_path / "in", name, content=b"." * number)
    aged(tmp_path / "in")
    image = image_of(tmp_path, "in", keys=("k",), template="**/*{k}", grouping=grouping)
    with written(image, tmp_path / "plan") as plan:
        for item in range(plan.items):
            assert plan.size(item) == os.path.getsize(plan.path(item))
            assert plan.mtime_ns(item) == os.stat(plan.path(item)).st_mtime_ns
        assert plan.changed(0, plan.items) == []
        assert [values for values, _ in told(plan, tmp_path)] == [("1",), ("2",), ("3",)]


def test_the_largest_is_the_first_of_those_with_most_items(tmp_path: Path) -> None:
    grow(tmp_path / "in", "a/1", "b\x1b/1", "b\x1b/2", "c/1", "c/2")
    largest = image_of(tmp_path, "in", keys=("user",)).largest_partition
    assert largest is not None
    assert (largest.label, largest.items) == ("user=b\\x1b", 2)


REFUSED: dict[str, tuple[list[str], tuple[str, ...], str | None, tuple[str, str]]] = {
    "no folder": (["a/x/1", "a/2"], ("user", "season"), None, ("in/a/2", "has no value for season")),
    "no folder at all": (["0", "a/1"], ("user",), None, ("in/0", "has no value for user")),
    "hive lacks one": (["k=a/1", "x/1"], ("k",), None, ("in/x/1", "no folder `k=...`")),
    "hive after others": (["a/1", "k=a/1"], ("k",), None, ("in/k=a/1", "but")),
    "hive names some": (["k=a/b/1"], ("k", "l"), None, ("in/k=a/b/1", "not l")),
    "hive by other letters": (["User=a/1"], ("user",), None, ("in/User=a/1", "User=a is not `user=...`: case counts")),
    "below the input": (["k=a/b/1"], ("k", "l"), None, ("in/k=a/b/1", "its folders below the INPUT name k")),
    "hive twice": (["k=a/k=b/1"], ("k",), None, ("in/k=a/k=b/1", "two of its folders")),
    "hive empty": (["k=/1"], ("k",), None, ("in/k=/1", "gives no value")),
    "template, folder": (["a/1", "a/b/2"], ("k",), "{k}/*", ("in/a/b/2", "does not fit partition_format {k}/*")),
    "template, name": (["a/1.csv", "a/2.txt"], ("k",), "{k}/*.csv", ("in/a/2.txt", "does not fit")),
    "template, empty value": (["a/_1.csv"], ("k",), "a/{k}_*", ("in/a/_1.csv", "does not fit")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    names, keys, template, (where, what) = REFUSED[case]
    grow(tmp_path / "in", *names)
    with pytest.raises(UsageError) as caught:
        image_of(tmp_path, "in", keys=keys, template=template)
    assert caught.value.exit_code == 2
    assert caught.value.where == str(tmp_path / where)
    assert what in caught.value.message
    assert (
        "--exclude" in caught.value.remedy
        or "partition_format" in caught.value.remedy
        or case in ("hive twice", "hive by other letters")
    )


def test_a_list_has_no_places(tmp_path: Path) -> None:
    grow(tmp_path / "in", "a/1")
    with pytest.raises(UsageError) as caught:
        image_of(tmp_path, "-", keys=("user",), piped={"-": b"in/a/1\n"})
    assert "outright or in a list" in caught.value.message
    assert "folder as INPUT" in caught.value.remedy
