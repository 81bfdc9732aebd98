"""S1-S18: every byte vector of the Azure reference, section 2.6; the pinned pandas itself writes those bytes too."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from batchctl.guest.failure import ContractError
from batchctl.guest.rows import AZURE, Renderer


class Vector(NamedTuple):
    make: Callable[[], Any]
    expected: bytes


DF = pd.DataFrame
VECTORS = {
    "S1 names with a space, ints, float64 from float32": Vector(
        lambda: DF({"file": ["a.png", "b c.png"], "cls": [1, 2], "p": [0.1, np.float32(0.994745)]}),
        b'a.png 1 0.1\n"b c.png" 2 0.9947450160980225\n',
    ),
    "S2 float32 column": Vector(
        lambda: DF({"p": np.array([0.994745, 1 / 3], dtype=np.float32)}), b"0.994745\n0.33333334\n"
    ),
    "S3 float64 column": Vector(
        lambda: DF({"p": [1 / 3, 1e-20, 1e22, np.inf]}), b"0.3333333333333333\n1e-20\n1e+22\ninf\n"
    ),
    "S4 None, NaN and empty are empty fields": Vector(
        lambda: DF({"a": [None, "x"], "b": [np.nan, 1.0], "c": ["", "y"]}), b"  \nx 1.0 y\n"
    ),
    "S5 one empty column is quoted": Vector(lambda: DF({"a": ["", None]}), b'""\n""\n'),
    "S6 ints with a None become floats": Vector(lambda: DF({"a": [1, None]}), b'1.0\n""\n'),
    "S7 bool and datetime": Vector(
        lambda: DF({"a": [True], "t": pd.Series([datetime.datetime(2020, 1, 1)], dtype=object)}),
        b'True "2020-01-01 00:00:00"\n',
    ),
    "S7 bool and datetime64, not all midnight": Vector(
        lambda: DF({"a": [True, False], "t": pd.to_datetime(["2020-01-01", "2020-01-01 12:00"], format="ISO8601")}),
        b'True "2020-01-01 00:00:00"\nFalse "2020-01-01 12:00:00"\n',
    ),
    # A column of datetime64 that is midnight throughout loses its time: pandas' own choice, so ours too.
    "S7 bool and datetime64, all midnight": Vector(
        lambda: DF({"a": [True], "t": pd.to_datetime(["2020-01-01"])}), b"True 2020-01-01\n"
    ),
    "S8 lists, dicts and arrays in cells": Vector(
        lambda: DF({"a": [[1, 2], {"k": "v w"}], "b": [np.array([1.0, 2.0]), np.array([3.0])]}),
        b'"[1, 2]" "[1. 2.]"\n"{\'k\': \'v w\'}" [3.]\n',
    ),
    "S9 quotes are doubled": Vector(lambda: DF({"a": ['he said "hi"']}), b'"he said ""hi"""\n'),
    "S10 a newline is kept inside quotes": Vector(lambda: DF({"a": ["two\nlines"]}), b'"two\nlines"\n'),
    "S11 tab and comma are not quoted": Vector(lambda: DF({"a": ["tab\there"], "b": ["x,y"]}), b"tab\there x,y\n"),
    "S12 an empty frame writes nothing": Vector(DF, b""),
    "S12 a frame of no rows writes nothing": Vector(lambda: DF({"a": []}), b""),
    "S13 two rows, no columns": Vector(lambda: DF(index=[0, 1]), b"\n\n"),
    "S14 list of str": Vector(lambda: ["a.png: 3"], b"a.png: 3\n"),
    "S15 list of dicts shows numpy's repr": Vector(
        lambda: [{"file": "a", "p": np.float32(0.5)}], b"{'file': 'a', 'p': np.float32(0.5)}\n"
    ),
    "S16 scalars, None, bytes, tuples": Vector(
        lambda: [np.float32(0.25), None, b"x", ("a", 1)], b"0.25\nNone\nb'x'\n('a', 1)\n"
    ),
    "S17 a newline in an element is a newline": Vector(lambda: ["multi\nline"], b"multi\nline\n"),
    "S18 arrays in a list": Vector(lambda: [np.array([1.5, 2.5])], b"[1.5 2.5]\n"),
}


def azure(tmp_path: Path) -> Renderer:
    return Renderer(AZURE, "append_row", str(tmp_path))


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name: str, tmp_path: Path) -> None:
    make, expected = VECTORS[name]
    assert azure(tmp_path).render(make()) == expected


@pytest.mark.parametrize("name", [name for name, vector in VECTORS.items() if isinstance(vector.make(), DF)])
def test_pinned_pandas_appends_the_same_bytes(name: str, tmp_path: Path) -> None:
    """As the service's driver calls it: onto a file, in append mode."""
    make, expected = VECTORS[name]
    path = tmp_path / "rows"
    path.touch()
    if len(make()):  # the driver writes nothing for an empty result
        make().to_csv(path, header=None, index=None, sep=" ", mode="a")
    assert path.read_bytes() == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ('{"sep": ","}', b"a b,1\n"),
        ('{"sep": ",", "index": true}', b"0,a b,1\n"),
        ('{"header": true}', b'name n\n"a b" 1\n'),
        ('{"sep": "\\t", "na_rep": "-"}', b"a b\t1\n"),
        ('{"path_or_buf": "/tmp/elsewhere", "mode": "w", "encoding": "utf-16"}', b'"a b" 1\n'),
    ],
    ids=["sep", "index", "header", "tab", "not overridable"],
)
def test_s20_settings_file(settings: str, expected: bytes, tmp_path: Path) -> None:
    text = f'{{"append_row": {{"pandas.DataFrame.to_csv": {settings}}}}}'
    (tmp_path / "parallel_run_step.settings.json").write_text(text)
    assert azure(tmp_path).render(DF({"name": ["a b"], "n": [1]})) == expected
    assert azure(tmp_path).render(["a b"]) == b"a b\n"


HEADERS = {
    "separator and quoting are the writer's": (None, b'name "two words"\n', b'"a b" 1\n'),
    "comma and index": ('{"sep": ",", "index": true}', b",name,two words\n", b"0,a b,1\n"),
    "other names": ('{"header": ["x", "y"]}', b"x y\n", b'"a b" 1\n'),
    "not switched off by the file": ('{"header": false}', b'name "two words"\n', b'"a b" 1\n'),
}


@pytest.mark.parametrize("case", HEADERS)
def test_s20_header_stands_apart_from_the_rows(case: str, tmp_path: Path) -> None:
    settings, header, rows = HEADERS[case]
    if settings is not None:
        text = f'{{"append_row": {{"pandas.DataFrame.to_csv": {settings}}}}}'
        (tmp_path / "parallel_run_step.settings.json").write_text(text)
    renderer = Renderer(AZURE, "append_row", str(tmp_path), header=True)
    assert renderer.render(DF()) == b""
    assert renderer.header == b""
    frame = DF({"name": ["a b"], "two words": [1]})
    for _ in range(2):
        assert (renderer.render(frame), renderer.header) == (rows, header)
    assert renderer.render([]) == b""


def test_s20_header_follows_the_frame(tmp_path: Path) -> None:
    renderer = Renderer(AZURE, "append_row", str(tmp_path), header=True)
    seen = []
    for name in ("a", "b", "a"):
        renderer.render(DF({name: [1]}))
        seen.append(renderer.header)
    assert seen == [b"a\n", b"b\n", b"a\n"]


def test_s20_a_list_has_no_header(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="only a DataFrame"):
        Renderer(AZURE, "append_row", str(tmp_path), header=True).render(["a"])
