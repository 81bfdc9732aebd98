"""Columns and types of a run: what the first rows fix, what is told of others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchctl.model.column_types import Columns as Types
from batchctl.model.column_types import parse_columns
from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored
from batchctl.run.columns import Columns, ColumnTypes


def header(*kinds: dict[str, Any]) -> bytes:
    return json.dumps([[[name, kind] for name, kind in columns.items()] for columns in kinds]).encode()


def types(**columns: Any) -> Types:
    return parse_columns(json.dumps([[name, kind] for name, kind in columns.items()]))


def test_the_first_rows_fix_what_they_know_and_later_ones_the_rest() -> None:
    told: list[Types] = []
    found = ColumnTypes((), fix=told.append)
    assert not found.concern(1)
    for worker, kinds in (
        (1, [{"a": "int64", "b": "null"}]),
        (2, [{"a": "null", "b": "null"}]),
        (1, [{"a": "int64", "b": "null"}, {"a": "int64", "b": ["list", "null"]}]),
        (2, [{"a": "int64", "b": ["list", "string"]}]),
        (2, [{"a": "int64", "b": "null"}]),
    ):
        found.seen(worker, header(*kinds))
        assert found.concern(worker)
        assert found.problem(worker) is None
        assert found.problem(worker) is None
    lists = [["list", "null"], ["list", "string"]]
    assert told == [types(a="int64", b="null"), *(types(a="int64", b=kind) for kind in lists)]
    found.gone(2)
    assert not found.concern(2)


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        pytest.param([{"a": "double"}], ("'a'", "double here", "int64", "astype({'a': 'int64'})"), id="a type"),
        pytest.param([{"a": ["list", "int8"]}], ("'a'", "list<int8> here"), id="a list"),
        pytest.param([{"a": "int64"}, {"a": "string"}], ("'a'", "string here"), id="in a later block"),
        pytest.param([{"b": "int64"}], ("are b", "are a"), id="a name"),
        pytest.param([{"a": "int64", "b": "null"}], ("are a, b", "are a"), id="one more"),
    ],
)
def test_what_does_not_go_with_them_is_told(kinds: list[dict[str, Any]], words: tuple[str, ...]) -> None:
    told: list[Types] = []
    found = ColumnTypes(types(a="int64"), fix=told.append)
    found.seen(3, header(*kinds))
    problem = found.problem(3)
    assert problem is not None
    assert (problem.error, problem.phase, told) == ("ColumnsChanged", "commit", [])
    assert [word for word in words if word not in problem.message] == []


@pytest.mark.parametrize("said", [b"", b"{}", b"[]", b"[[]]", b'[[["a", 1]]]', b"\xff"])
def test_what_is_no_description_fails_its_attempt(said: bytes) -> None:
    found = ColumnTypes((), fix=lambda types: None)
    found.seen(1, said)
    problem = found.problem(1)
    assert problem is not None
    assert problem.error == "ContractError"


def test_only_rows_of_other_columns_cannot_be_taken() -> None:
    told: list[bytes] = []
    columns = Columns(b"", fix=told.append)
    one, two, none = (
        Scored(Lease(n, n, 1, 1), rows, len(rows), 0, 1, 1, 0, 5) for n, rows in enumerate((b"1\n", b"2\n", b""))
    )
    columns.seen(1, b"a,b\n")
    columns.seen(2, b"a,c\n")
    assert columns.told_apart(2, [none, none]) == ([none, none], [])
    assert told == []  # what has no rows fixes nothing
    assert columns.told_apart(1, [none, one, two]) == ([none, one, two], [])
    assert told == [b"a,b\n"]
    right, wrong = columns.told_apart(2, [one, none, two])
    assert right == [none]
    assert [scored for scored, _ in wrong] == [one, two]
    assert {problem.error for _, problem in wrong} == {"ColumnsChanged"}
