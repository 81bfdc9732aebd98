"""partition_keys and partition_format: what they take, and what they go with."""

from __future__ import annotations

import pytest

from batchctl.model.job import Dialect
from batchctl.spec.draft import Draft, Rank, Value
from batchctl.spec.partitioning import check_partitioning
from tests.unit.spec.conftest import Folder

PARTITIONED: dict[str, tuple[str, tuple[str, ...], tuple[str, ...], str | None]] = {
    "a list": ('partition_keys = ["user", "se ason"]\n', (), ("user", "se ason"), None),
    "a text": ('partition_keys = "user, season"\n', (), ("user", "season"), None),
    "--set": ("", ("partition_keys=user,season",), ("user", "season"), None),
    "with a template": (
        'partition_keys = ["b", "a"]\npartition_format = "{a}/x/{c}_{b}*"\n', (), ("b", "a"), "{a}/x/{c}_{b}*",
    ),
    "none": ("partition_keys = []\nmini_batch_size = 3\n", (), (), None),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTITIONED)
def test_partition_keys(folder: Folder, name: str) -> None:
    extra, sets, keys, template = PARTITIONED[name]
    spec = folder.toml(extra, sets=sets).require()
    assert (spec.partition_keys, spec.partition_format) == (keys, template)


def test_a_template_by_flag_and_variable(folder: Folder) -> None:
    keys = 'partition_keys = ["a"]\n'
    given = folder.toml(keys, flags={"partition_format": "{a}/*"}, environ={"BATCHCTL_PARTITION_FORMAT": "x"})
    assert given.require().partition_format == "{a}/*"
    assert folder.toml(keys, environ={"BATCHCTL_PARTITION_FORMAT": "{a}"}).require().partition_format == "{a}"


REFUSED = {
    "keys and a size": (
        'mini_batch_size = 10\npartition_keys = ["a"]\n',
        "batchctl.toml:2 mini_batch_size: mini_batch_size and partition_keys (batchctl.toml:3 partition_keys) exclude",
    ),
    "keys and a size in bytes": (
        'max_batch_bytes = "64M"\npartition_keys = ["a"]\n',
        "batchctl.toml:2 max_batch_bytes: max_batch_bytes and partition_keys (batchctl.toml:3 partition_keys) exclude",
    ),
    "a template without keys": ('partition_format = "{a}/*"\n', "of no use without partition_keys"),
    "a template without the key": (
        'partition_keys = ["a", "b"]\npartition_format = "{a}/*"\n',
        'partition_format "{a}/*" has no {b}',
    ),
    "a key twice": ('partition_keys = ["a", "a"]\n', 'partition_keys: "a" is named twice. Name each key once'),
    "a key like a path": ('partition_keys = ["a/b"]\n', '"a/b" cannot be a partition key'),
    "a key like a value": ('partition_keys = ["a=b"]\npartition_format = "{a}"\n', '"a=b" cannot be a partition key'),
    "an empty key": ('partition_keys = "a,,b"\n', "holds an empty name"),
    "keys no texts": ("partition_keys = [[1]]\n", "a list where a text is expected"),
    "a date in a template": ('partition_format = "{a:yyyy/MM}/*"\n', "{a:yyyy/MM}: dates are not taken apart"),
    "a template with a brace": ('partition_format = "{a}/}"\n', "has a lone `}`. Write a path with a {key}"),
    "a template with nothing between": ('partition_format = "{a}{b}"\n', "has nothing between {a} and {b}"),
    "a template with stars": ('partition_format = "{a}**/x"\n', "`**` beside something else"),
    "a template with a key twice": ('partition_format = "{a}/{a}"\n', "names {a} more than once"),
    "a template of folders": ('partition_format = "{a}/"\n', "names no files"),
    "a template that leads up": ('partition_format = "../{a}"\n', "holds `..`"),
    "a template with no name": ('partition_format = "{ }/x"\n', "{ } names no key"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(folder: Folder, name: str) -> None:
    extra, expected = REFUSED[name]
    said = [str(problem) for problem in folder.toml(extra).problems]
    assert len(said) == 1, said
    assert expected in said[0]


def test_in_an_azure_file_the_keys_win_over_a_size() -> None:
    draft = Draft()
    draft.put("mini_batch_size", Value(20, "job.yml:4 mini_batch_size", Rank.FILE))
    draft.put("partition_keys", Value(("user",), "job.yml:5 partition_keys", Rank.FILE))
    draft.put("partition_format", Value(None, "default", Rank.DEFAULT))
    draft.put("isolate", Value(True, "default", Rank.DEFAULT))
    draft.put("max_batch_bytes", Value(None, "default", Rank.DEFAULT))
    check_partitioning(draft, Dialect.AZURE)
    assert draft.settle() == ()
    assert draft.notes == ["job.yml:4 mini_batch_size: not used: job.yml:5 partition_keys decides the mini-batches"]
    assert draft.values["mini_batch_size"].value == 10  # so that another size is no change of the run


@pytest.mark.parametrize(
    ("written", "noted"),
    [
        ('isolate = true\npartition_keys = ["user"]\n', True),
        ('isolate = false\npartition_keys = ["user"]\n', False),
        ('partition_keys = ["user"]\n', False),
        ("isolate = true\n", False),
    ],
)
def test_isolation_asked_for_beside_keys_is_noted(folder: Folder, written: str, *, noted: bool) -> None:
    note = "batchctl.toml:2 isolate: not used: a partition is never split (batchctl.toml:3 partition_keys)"
    assert (note in folder.toml(written).require().notes) is noted
