"""The text forms of csv and jsonl, what is accepted as a result, and that quick paths write what slow ones write."""

from __future__ import annotations

import csv
import datetime
import decimal
import enum
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchctl.guest.failure import ContractError
from batchctl.guest.rows import AZURE, CSV, JSONL, Renderer, accept, to_csv_overrides

DF = pd.DataFrame
NOWHERE = "/nonexistent"


def render(form: str, result: Any) -> bytes:
    return Renderer(form, "append_row", NOWHERE).render(result)


class Text(str):
    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return "formatted"

    def __str__(self) -> str:
        return "as str"


class Colour(str, enum.Enum):  # noqa: UP042 (user scripts of Python 3.8 have these)
    RED = "red"


CSV_CASES: dict[str, tuple[Callable[[], Any], bytes, bytes]] = {
    "str": (lambda: ["a", "b"], b"prediction\n", b"a\nb\n"),
    "quoting": (
        lambda: ["a,b", 'q"q', "n\nl", "c\rr", "", " lead"],
        b"prediction\n",
        b'"a,b"\n"q""q"\n"n\nl"\n"c\rr"\n""\n lead\n',
    ),
    "scalars": (
        lambda: [1, 1.5, None, float("nan"), np.float32(0.1), True, pd.NaT, pd.NA, decimal.Decimal("1.10")],
        b"prediction\n",
        b'1\n1.5\n""\n""\n0.1\nTrue\n""\n""\n1.10\n',
    ),
    "containers": (lambda: [(1, "a"), [1.5], np.array([1, 2])], b"prediction\n", b"\"(1, 'a')\"\n[1.5]\n[1 2]\n"),
    "dicts": (lambda: [{"x": 1, "y, z": "a"}, {"y, z": None, "x": "b,c"}], b'x,"y, z"\n', b'1,a\n"b,c",\n'),
    "dicts with keys missing": (lambda: [{"x": 1, "y": 2}, {}], b"x,y\n", b"1,2\n,\n"),
    "frame": (
        lambda: DF({"file": ["a b", "c,d"], "p": [0.1, np.nan]}, index=[5, 6]),
        b"file,p\n",
        b'a b,0.1\n"c,d",\n',
    ),
    "frame with odd names": (lambda: DF([[1, 2]], columns=["a,b", 3]), b'"a,b",3\n', b"1,2\n"),
    "nothing": (list, b"", b""),
    "empty frame": (lambda: DF({"a": []}), b"", b""),
    "undecodable name": (lambda: ["raw\udcff", "x,\udcff"], b"prediction\n", b'raw\xff\n"x,\xff"\n'),
}


@pytest.mark.parametrize("case", CSV_CASES)
def test_csv(case: str) -> None:
    make, header, rows = CSV_CASES[case]
    renderer = Renderer(CSV, "append_row", NOWHERE)
    assert renderer.render(make()) == rows
    assert renderer.header == header


def test_csv_header_follows_every_change() -> None:
    renderer = Renderer(CSV, "append_row", NOWHERE)
    seen = []
    for result in (
        DF({"a": [1]}),
        DF({"a": [2]}),
        ["x"],
        DF({"a": [1]}),
        DF({"b": [1]}),
        [],
        [{"c": 1}],
        DF({"b": [1]}),
    ):
        renderer.render(result)
        seen.append(renderer.header.decode().strip())
    assert seen == ["a", "a", "prediction", "a", "b", "b", "c", "b"]


@pytest.mark.parametrize(
    ("rows", "named"),
    [([{"x": 1}, {"x": 1, "z": 2, "y": 3}], "'y', 'z'"), ([{"x": 1}, "text"], "a str"), ([{}, {}], "empty dicts")],
)
def test_csv_refuses_rows_that_do_not_fit_the_first(rows: list[Any], named: str) -> None:
    with pytest.raises(ContractError, match=named):
        render(CSV, rows)


# The csv module treats a lone carriage return differently from 3.13 on, so it is left out of this comparison.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=8)


@given(st.lists(texts, max_size=8))
def test_csv_of_str_is_what_the_csv_module_writes_and_reads(rows: list[str]) -> None:
    target = io.StringIO()
    csv.writer(target, lineterminator="\n").writerows([row] for row in rows)
    found = render(CSV, rows)
    assert found == target.getvalue().encode()
    assert [row[0] for row in csv.reader(io.StringIO(found.decode(), newline=""))] == rows


@given(st.lists(st.dictionaries(st.sampled_from("abc"), texts, min_size=3), max_size=5))
def test_csv_of_dicts_reads_back(rows: list[dict[str, str]]) -> None:
    renderer = Renderer(CSV, "append_row", NOWHERE)
    text = renderer.render(rows).decode()
    assert list(csv.DictReader(io.StringIO(renderer.header.decode() + text, newline=""))) == rows


@given(st.lists(st.one_of(texts, st.integers(), st.floats(), st.none(), st.booleans()), max_size=8))
def test_azure_list_is_format_of_each_element(rows: list[Any]) -> None:
    assert render(AZURE, rows) == "".join(f"{row}\n" for row in rows).encode()


def test_azure_never_takes_a_subclass_of_str_for_a_str() -> None:
    assert render(AZURE, [Text("x"), "y"]) == b"formatted\ny\n"
    assert render(CSV, [Text("x"), "y"]) == b"as str\ny\n"


class Posing:
    """A proxy: what it stands for is its class."""

    def __init__(self, one: datetime.datetime) -> None:
        self._one = one

    def __getattribute__(self, name: str) -> Any:
        one = object.__getattribute__(self, "_one")
        return type(one) if name == "__class__" else getattr(one, name)


class Moment(datetime.date):
    """One of the script's own."""


def nameless() -> Any:
    """A value of a class without __module__, as a C library's may be."""
    names: dict[str, Any] = {}
    exec("Nameless = type('Nameless', (), {'__str__': lambda self: 'nameless'})", names)
    assert not hasattr(names["Nameless"], "__module__")
    return names["Nameless"]()


JSON_CASES: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "scalars": (
        lambda: ["é", 1, 1.5, True, None, float("nan"), -math.inf, np.float64("nan")],
        ['"é"', "1", "1.5", "true", "null", "null", "null", "null"],
    ),
    "numpy": (
        lambda: [
            np.int64(3),
            np.float64(0.1),
            np.float32(0.5),
            np.bool_(True),
            np.array([[1.0, np.nan]]),
            np.str_("s"),
        ],
        ["3", "0.1", "0.5", "true", "[[1.0,null]]", '"s"'],
    ),
    "times": (
        lambda: [
            datetime.date(2020, 1, 2),
            datetime.datetime(2020, 1, 2, 3),
            pd.Timestamp("2020-01-02"),
            pd.NaT,
            pd.NA,
        ],
        ['"2020-01-02"', '"2020-01-02T03:00:00"', '"2020-01-02T00:00:00"', "null", "null"],
    ),
    "what looks like times, or does not say what it is": (
        lambda: [Posing(datetime.datetime(2020, 1, 2, 3)), Moment(2020, 1, 2), nameless()],
        ['"2020-01-02T03:00:00"', '"2020-01-02"', '"nameless"'],
    ),
    "numpy times": (
        lambda: [np.datetime64("2020-01-02T03:04:05.123456789"), np.datetime64("NaT")],
        ['"2020-01-02T03:04:05.123456789"', "null"],
    ),
    "others": (
        lambda: [b"x\xff", {2, 1}, Path("/p"), decimal.Decimal("1.10"), Colour.RED, (1, "a")],
        ['"x\\\\xff"', "[1,2]", '"/p"', '"1.10"', '"red"', '[1,"a"]'],
    ),
    "undecodable": (lambda: ["a\udcff"], ['"a\\udcff"']),
}


@pytest.mark.parametrize("case", JSON_CASES)
def test_jsonl_of_a_list(case: str) -> None:
    make, expected = JSON_CASES[case]
    lines = render(JSONL, make()).decode().splitlines()
    assert lines == ['{"prediction":' + text + "}" for text in expected]
    for line in lines:
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_jsonl_of_dicts_and_frames() -> None:
    rows = [{"file": "a", "p": np.float32(0.5), "deep": {"x": [np.nan]}}, {}]
    assert render(JSONL, rows) == b'{"file":"a","p":0.5,"deep":{"x":[null]}}\n{}\n'
    frame = DF({"n": [1, 2], "p": [0.1, np.nan], "t": [pd.Timestamp("2020-01-02"), pd.NaT], 3: ["x", None]})
    assert render(JSONL, frame) == (
        b'{"n":1,"p":0.1,"t":"2020-01-02T00:00:00","3":"x"}\n{"n":2,"p":null,"t":null,"3":null}\n'
    )
    assert render(JSONL, DF(index=[0, 1])) == b"{}\n{}\n"


@pytest.mark.parametrize("columns", [["a", "b", "a"], [1, "1"]], ids=str)
def test_jsonl_refuses_two_columns_of_one_name(columns: list[Any]) -> None:
    with pytest.raises(ContractError, match="two columns are named"):
        render(JSONL, DF([range(len(columns))], columns=columns))


def test_jsonl_keys_do_not_depend_on_what_else_is_in_the_row() -> None:
    keys = {True: 1, None: 2, 3: 4, 1.5: 5, "s": 6}
    quick = json.loads(render(JSONL, [keys]))
    slow = json.loads(render(JSONL, [{**keys, "nan": float("nan")}]))
    assert slow == {**quick, "nan": None}


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(st.text(), below, max_size=3)),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(), json_values, max_size=3), max_size=3))
def test_jsonl_reads_back(rows: list[dict[str, Any]]) -> None:
    text = render(JSONL, rows)
    assert text.count(b"\n") == len(rows)
    assert [json.loads(line) for line in text.split(b"\n")[:-1]] == rows


ACCEPTED: dict[str, tuple[Callable[[], Any], int, bool]] = {
    "list": (lambda: [1, 2], 2, False),
    "subclass of list": (lambda: type("L", (list,), {})([1]), 1, False),
    "tuple": (lambda: (1, 2, 3), 3, False),
    "DataFrame": (lambda: DF({"a": [1, 2]}), 2, False),
    "generator": (lambda: (i for i in range(4)), 4, True),
    "ndarray": (lambda: np.zeros((2, 3)), 2, True),
    "Series": (lambda: pd.Series([1, 2, 3]), 3, True),
}
REFUSED: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "str": lambda: "text",
    "bytes": lambda: b"text",
    "dict": lambda: {"a": 1},
    "set": lambda: {1},
    "int": lambda: 3,
    "numpy scalar": lambda: np.float32(1),
    "array of no dimension": lambda: np.array(1.0),
    "range": lambda: range(3),
    "map": lambda: map(str, [1]),
    "DataFrame class": lambda: DF,
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(case: str) -> None:
    make, length, noted = ACCEPTED[case]
    notes: list[str] = []
    assert len(accept(make(), lambda _kind, text: notes.append(text))) == length
    assert bool(notes) == noted


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    with pytest.raises(ContractError, match="run\\(\\) should return a list or a DataFrame"):
        accept(REFUSED[case](), lambda _kind, _text: None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"append_row": 3}',
        '{"append_row": {"pandas.DataFrame.to_csv": []}}',
        '{"append_row": {"pandas.DataFrame.to_csv": {"sep": 3}}}',
        '{"append_row": {"pandas.DataFrame.to_csv": {"sep": "ab"}}}',
        "\xff",
        "[" * 100_000,
    ],
    ids=range(9),
)
def test_damaged_settings_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "parallel_run_step.settings.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ContractError, match="parallel_run_step"):
        to_csv_overrides(str(tmp_path))


def test_settings_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    text = '\ufeff{"append_row": {"pandas.DataFrame.to_csv": {"sep": ","}}}'
    (tmp_path / "parallel_run_step.settings.json").write_text(text, encoding="utf-8")
    assert to_csv_overrides(str(tmp_path)) == {"sep": ","}


def test_a_keyword_that_this_pandas_does_not_know_is_named(tmp_path: Path) -> None:
    text = '{"append_row": {"pandas.DataFrame.to_csv": {"line_terminator": "\\n"}}}'
    (tmp_path / "parallel_run_step.settings.json").write_text(text)
    renderer = Renderer("azure", "append_row", str(tmp_path))
    with pytest.raises(ContractError, match=r"settings.json: .* has no keyword line_terminator"):
        renderer.render(DF({"a": [1]}))


def test_settings_of_somebody_else_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "parallel_run_step.settings.json").write_text('{"other": 1}')
    assert to_csv_overrides(str(tmp_path)) == {}
    assert to_csv_overrides(NOWHERE) == {}


def test_unknown_format() -> None:
    with pytest.raises(ContractError, match="orc"):
        Renderer("orc", "append_row", NOWHERE)
