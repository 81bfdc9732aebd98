"""What the fast writers make of a DataFrame is what its own to_csv makes of it, to the byte, or they leave it alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from batchctl.guest import arrow_text
from batchctl.guest.frame_text import text_of
from batchctl.guest.rows import AZURE, CSV, Renderer

NOWHERE = "/nonexistent"
TALL = 1600  # rows: from 1,500 cells on pyarrow is used
EDGES = [0.0, -0.0, 1.0, -1.0, 0.1, 1e-4, 9.999e-5, 1e-5, 0.001, 1e-7, 999999.5, 65535.5, 65536.5, 1e6, 1000000.5]
EDGES += [16777216.0, 1e15, 1e16, 9999999999999998.0, 123456789012345.6, 1e17, 1e22, 5e-324, 2.2250738585072014e-308]
EDGES += [
    1.7976931348623157e308,
    3.4e38,
    1.4e-45,
    float("inf"),
    float("-inf"),
    float("nan"),
    1 / 3,
    5.684341886080802e-14,
]
EDGES += [2097152.25, 524288.0625, 4503599627370497.5, 0.30000000000000004, 9007199254740993.0]

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ['q"q', "a b", "x,y", "n\nl", "", "é", "tab\t", '"', "\n", " ", "1", "nan", "c\rr", "\r\n", "\x00", "ü;|", "'"]
)
gaps = st.sampled_from([None, np.nan])
f64 = st.sampled_from(EDGES) | st.floats() | st.floats(0, 1) | st.integers(-(10**6), 10**6).map(float)
f32 = st.sampled_from(EDGES).map(lambda x: float(np.float32(min(max(x, -3e38), 3e38)))) | st.floats(width=32)


def integers(name: str) -> Any:
    info = np.iinfo(name)
    return st.integers(int(info.min), int(info.max))


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
# By name: what a cell may be, and the column of such cells. The first ones are known to the fast writers.
KNOWN: dict[str, tuple[Any, Callable[[list[Any]], Any]]] = {
    **{name: (integers(name), lambda cells, name=name: np.array(cells, dtype=name)) for name in INTEGERS},
    "bool": (st.booleans(), lambda cells: np.array(cells, dtype=bool)),
    "float64": (f64, lambda cells: np.array(cells, dtype="float64")),
    "float32": (f32, lambda cells: np.array(cells, dtype="float32")),
    "str": (words | gaps, lambda cells: pd.Series(cells, dtype="str")),
    "string": (words | gaps, lambda cells: pd.array(cells, dtype="string[python]")),
    "string[pyarrow]": (words | gaps, lambda cells: pd.array(cells, dtype="string[pyarrow]")),
    "object": (words | gaps | st.integers() | st.booleans(), lambda cells: pd.Series(cells, dtype=object)),
}
OTHERS: dict[str, tuple[Any, Callable[[list[Any]], Any]]] = {
    "mixed": (
        words
        | gaps
        | f64
        | st.sampled_from(
            [pd.NaT, pd.NA, np.float32(0.1), np.str_("x y"), b"b", (1, "a"), pd.Timestamp(0), np.int8(1)]
        ),
        lambda cells: pd.Series(cells, dtype=object),
    ),
    "float16": (st.floats(width=16), lambda cells: np.array(cells, dtype="float16")),
    "longdouble": (f64, lambda cells: np.array(cells, dtype="longdouble")),
    "big-endian": (st.integers(-9, 9), lambda cells: np.array(cells, dtype=">i4")),
    "complex": (st.complex_numbers(), lambda cells: np.array(cells)),
    "Int64": (st.integers(-9, 9) | st.none(), lambda cells: pd.array(cells, dtype="Int64")),
    "Float64": (f64 | st.none(), lambda cells: pd.array(cells, dtype="Float64")),
    "boolean": (st.booleans() | st.none(), lambda cells: pd.array(cells, dtype="boolean")),
    "datetime": (st.datetimes(), lambda cells: pd.Series(cells, dtype="datetime64[us]")),
    "midnights": (st.dates(), lambda cells: pd.Series(cells, dtype="datetime64[s]")),
    "zoned": (
        st.integers(0, 2**31).map(lambda s: pd.Timestamp(s, unit="s", tz="Europe/Paris")) | st.just(pd.NaT),
        lambda cells: pd.Series(cells, dtype="datetime64[ns, Europe/Paris]"),
    ),
    "timedelta": (st.integers(-(10**12), 10**12), lambda cells: np.array(cells, dtype="timedelta64[us]")),
    "category": (words.filter(bool) | gaps, lambda cells: pd.Categorical(cells)),
    "category of numbers": (st.sampled_from([0.1, 2.0]), lambda cells: pd.Categorical(cells)),
    "sparse": (st.sampled_from([0, 1]), lambda cells: pd.arrays.SparseArray(cells)),
}


@st.composite
def frames(draw: st.DrawFn, kinds: list[str]) -> pd.DataFrame:
    """Up to 6 columns of up to 8 rows."""
    rows = draw(st.integers(1, 8))
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=6))
    columns = []
    for kind in chosen:
        cell, column = {**KNOWN, **OTHERS}[kind]
        columns.append(column(draw(st.lists(cell, min_size=rows, max_size=rows))))
    frame = pd.DataFrame(dict(enumerate(columns)))
    names = draw(st.sampled_from(["numbers", "same", "several levels"]))
    if names == "same":
        frame.columns = pd.Index(["x"] * len(columns))
    elif names == "several levels":
        frame.columns = pd.MultiIndex.from_tuples([("a", at) for at in range(len(columns))])
    return frame


def written(frame: pd.DataFrame, separator: str) -> bytes:
    return frame.to_csv(header=False, index=False, sep=separator).encode()


def tall(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[np.arange(TALL) % len(frame)]


@settings(max_examples=400, deadline=None)
@given(frames([*KNOWN]), st.sampled_from(" ,\t;|"))
def test_known_columns(frame: pd.DataFrame, separator: str) -> None:
    told = written(frame, separator)
    assert text_of(frame, separator) == (None if b"\r" in told else told)


@settings(max_examples=300, deadline=None)
@given(frames([*KNOWN]), st.sampled_from(" ,\t;|"))
def test_known_columns_of_many_rows(frame: pd.DataFrame, separator: str) -> None:
    told = written(tall(frame), separator)
    assert text_of(tall(frame), separator) == (None if b"\r" in told else told)


@settings(max_examples=300, deadline=None)
@given(frames([*KNOWN, *OTHERS]), st.sampled_from([(AZURE, " "), (CSV, ",")]), st.booleans())
def test_any_columns(frame: pd.DataFrame, form: tuple[str, str], is_tall: bool) -> None:
    assume(not is_tall or all(getattr(dtype, "byteorder", "=") != ">" for dtype in frame.dtypes))  # pandas cannot take
    chosen = tall(frame) if is_tall else frame
    assert Renderer(form[0], "append_row", NOWHERE).render(chosen) == written(chosen, form[1])


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_floats_around_every_power_of_ten(name: str) -> None:
    values = [
        sign * d * 10.0**e for sign in (1, -1) for e in range(-46, 39) for d in (1, 1.5, 2, 9.5, 9.99999, 1.2345678)
    ]
    column = np.array(values + EDGES, dtype="float64").clip(-3e38, 3e38).astype(name)
    around = np.concatenate([column, np.nextafter(column, np.inf), np.nextafter(column, -np.inf)])
    for frame in (pd.DataFrame({"x": around}), pd.DataFrame({"x": around, "y": around[::-1], "z": around})):
        assert text_of(frame, ",") == written(frame, ",")


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_floats_of_any_bits(name: str) -> None:
    rng = np.random.default_rng(7)
    bits = rng.integers(0, 2**63, 60_000, dtype="uint64") * 2 + 1
    within = rng.uniform(-7, 6, 60_000)  # where Arrow's text is taken
    column = bits.view("float64") if name == "float64" else (bits >> 32).astype("uint32").view("float32")
    for values in (column, (10**within).astype(name), np.rint(10**within).astype(name)):
        frame = pd.DataFrame({"x": values, "y": values[::-1]})
        assert text_of(frame, " ") == written(frame, " ")


def test_a_cell_far_down_that_wants_quotes() -> None:
    """Rows before it are written by something that knows no quotes, a stretch of them at a time."""
    rows = 300_000
    names = pd.Series([f"name {at}" for at in range(rows)])
    frame = pd.DataFrame({"a": np.arange(rows), "b": names, "c": np.arange(rows) / 7 + 0.01, "d": names})
    assert text_of(frame, ",") == written(frame, ",")
    frame.loc[rows - 200_000, "b"] = 'quoted, "here"'
    frame.loc[rows - 1, "d"] = "and\nhere"
    assert text_of(frame, ",") == written(frame, ",")


def test_where_arrows_writer_cannot_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones hold 2 GiB of strings: what does without that writer is asked then."""

    def writer(separator: str) -> Callable[[Any, Any], None]:
        def refuse(columns: Any, sink: Any) -> None:
            raise pa.ArrowInvalid("input array too large")

        return refuse

    frame = pd.DataFrame({"a": np.arange(TALL), "b": np.arange(TALL) / 7 + 0.01})
    monkeypatch.setattr(arrow_text, "_writer", writer)
    assert text_of(frame, ",") == written(frame, ",")


@pytest.mark.parametrize("rows", [10, 300, 3000])
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_floats_as_numpy_wrote_them_once(name: str, rows: int) -> None:
    dice = np.random.default_rng(3)
    whole = np.rint(dice.uniform(-1e6, 1e6, rows)).astype(name)
    frame = pd.DataFrame({"x": dice.random(rows).astype(name), "y": np.arange(rows).astype(name), "z": whole})
    modern = written(frame, ",")
    with np.printoptions(legacy="1.13"):
        assert written(frame, ",") != modern
        assert text_of(frame, ",") == written(frame, ",")
