"""Column types: what goes together, what does not, and how it is told."""

from __future__ import annotations

import json
from functools import reduce
from itertools import permutations
from typing import Any

import pytest

from batchctl.model.column_types import (
    DriftError,
    pack_columns,
    parse_columns,
    parse_kinds,
    refines,
    told,
    unify,
)


def columns(**types: Any) -> Any:
    return parse_columns(json.dumps([[name, kind] for name, kind in types.items()]))


STRUCT = ["struct", [["x", "null"], ["y", ["list", "null"]]]]
OTHER = ["struct", [["x", "int8"], ["y", ["list", "int8"]]]]
FULLER = ["struct", [["x", "int8"], ["y", ["list", "string"]]]]


@pytest.mark.parametrize(
    ("a", "b", "both"),
    [
        pytest.param("int64", "int64", "int64", id="equal"),
        pytest.param("null", "int64", "int64", id="null with any"),
        pytest.param("null", ["list", "null"], ["list", "null"], id="null with a list"),
        pytest.param(["list", "null"], ["list", ["list", "int8"]], ["list", ["list", "int8"]], id="an empty list"),
        pytest.param(STRUCT, FULLER, FULLER, id="within a struct"),
        pytest.param(STRUCT, "null", STRUCT, id="a struct with null"),
        pytest.param("decimal128(2, 2)", "decimal128(3, 1)", "decimal128(4, 2)", id="decimals take digits for both"),
        pytest.param("decimal128(38, 0)", "decimal128(2, 2)", "decimal256(40, 2)", id="decimals grow wide"),
        pytest.param("decimal256(9, 1)", "decimal128(3, 0)", "decimal256(9, 1)", id="decimals stay wide"),
        pytest.param("decimal128(1, -3)", "decimal128(2, 1)", "decimal128(5, 1)", id="decimals of a negative scale"),
        pytest.param(
            ["list", "decimal128(1, 0)"],
            ["list", "decimal128(1, 1)"],
            ["list", "decimal128(2, 1)"],
            id="decimals below",
        ),
    ],
)
def test_the_more_specific_one(a: Any, b: Any, both: Any) -> None:
    assert unify(columns(c=a), columns(c=b)) == unify(columns(c=b), columns(c=a)) == columns(c=both)
    assert refines(columns(c=a), columns(c=both))
    assert refines((), columns(c=a))
    assert refines(columns(c=both), columns(c=a)) is (a == both)


def test_decimals_come_to_the_same_in_any_order() -> None:
    kinds = ("decimal128(38, 0)", "decimal128(2, 2)", "decimal256(7, 6)", "null", "decimal128(1, -3)")
    found = {reduce(unify, [columns(c=kind) for kind in order]) for order in permutations(kinds)}
    assert found == {columns(c="decimal256(44, 6)")}


@pytest.mark.parametrize(
    ("a", "b", "column", "words"),
    [
        pytest.param({"c": "int64"}, {"c": "double"}, "c", ("double", "int64"), id="types"),
        pytest.param({"c": "int64"}, {"c": ["list", "int64"]}, "c", ("list<int64>", "int64"), id="value and list"),
        pytest.param({"c": STRUCT}, {"c": ["struct", [["x", "null"]]]}, "c", ("struct<x: null>",), id="fields"),
        pytest.param({"c": "decimal128(3, 1)"}, {"c": "double"}, "c", ("double",), id="a decimal and a float"),
        pytest.param({"c": "decimal256(76, 0)"}, {"c": "decimal128(1, 1)"}, "c", ("decimal128(1, 1)",), id="77 digits"),
        pytest.param({"c": FULLER}, {"c": OTHER}, "c.y[]", ("int8", "string"), id="deep"),
        pytest.param({"a": "null", "b": "null"}, {"b": "null", "a": "null"}, "", ("b, a", "a, b"), id="order"),
        pytest.param({"a": "null"}, {"b": "null"}, "", ("b", "a"), id="names"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_named(a: Any, b: Any, column: str, words: tuple[str, ...]) -> None:
    with pytest.raises(DriftError) as caught:
        unify(columns(**a), columns(**b))
    assert caught.value.column == column
    assert (caught.value.here, caught.value.fixed)[: len(words)] == words
    assert not refines(columns(**a), columns(**b))


def test_what_is_packed_is_parsed_again() -> None:
    found = columns(a="timestamp[ns, tz=UTC]", b=FULLER)
    assert parse_columns(pack_columns(found)) == found
    assert parse_kinds(b"[" + pack_columns(found) + b"]") == (found,)
    assert [told(kind) for _, kind in found] == ["timestamp[ns, tz=UTC]", "struct<x: int8, y: list<string>>"]


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "[[]]", '[["a"]]', '[["a", 1]]', '[["a", ["list"]]]', '[["a", ["map", "a"]]]', "[[1, null]]",
        '[["a", ["struct", []]]]', '"a"', "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_columns(text)
    assert not isinstance(caught.value, DriftError)


def test_how_deep_a_type_may_be() -> None:
    def nested(levels: int) -> str:
        return json.dumps([["c", "x"]]).replace('"x"', '["list", ' * levels + '"int8"' + "]" * levels)

    assert told(parse_columns(nested(64))[0][1]).count("list") == 64
    for levels in (65, 5000):
        with pytest.raises(ValueError, match="too deeply"):
            parse_columns(nested(levels))
