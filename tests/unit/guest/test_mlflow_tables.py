"""What a table or an array of pixels becomes before a model sees it; and what is refused, as it would be misread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchctl.guest.mlflow_input import exactly
from batchctl.guest.mlflow_tables import csv_frames, json_frames

Frames = Callable[..., Iterator[Any]]


def read(frames: Frames, path: Path, *, types: dict[str, str] | None = None, chunk_rows: int = 0) -> Any:
    return [frame.to_dict("split") for frame in frames(str(path), types or {}, chunk_rows)]


JSON = {
    "a byte order mark": ("a.json", '\ufeff[{"x": 1}]'),
    "a byte order mark in lines": ("a.jsonl", '\ufeff{"x": 1}\n'),
    "records by name": ("a.json", '{"dataframe_records": [{"x": 1}]}'),
    "split by name": ("a.json", '{"dataframe_split": {"columns": ["x"], "index": [7], "data": [[1]]}}'),
    "one object": ("a.json", '{"x": 1}'),
}


@pytest.mark.parametrize("name", JSON)
def test_json_becomes_a_table(tmp_path: Path, name: str) -> None:
    file, text = JSON[name]
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert read(json_frames, tmp_path / file) == [{"index": [0], "columns": ["x"], "data": [[1]]}]


def test_text_in_a_column_called_as_a_form_of_servers_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"inputs": "how much?"}')
    assert read(json_frames, tmp_path / "a.json")[0]["data"] == [["how much?"]]


# name: (file, what is in it, what is said)
REFUSED = {
    "more beside the records": (
        "a.json",
        '{"dataframe_records": [{"x": 1}], "params": {"t": 1}}',
        "beside 'dataframe_records' there is 'params', which is not taken",
    ),
    "a server's instances": ("a.json", '{"instances": [[1, 2]]}', "a JSON of 'instances' is not taken"),
    "a server's inputs": ("a.json", '{"inputs": {"x": [1]}}', "a JSON of 'inputs' is not taken"),
    "Azure's input_data": (
        "a.json",
        '{"input_data": {"columns": ["x"], "index": [0], "data": [[1]]}}',
        "a JSON of 'input_data' is not taken",
    ),
    "to_json() as it is": (
        "a.json",
        '{"x": {"0": 1, "1": 2}, "y": {"0": 3, "1": 4}}',
        r"the rows stand in columns: write it with to_json\(orient='records'\)",
    ),
    "a number": ("a.json", "3", "3 is no table: a list of objects is needed"),
    "null": ("a.json", "null", "None is no table"),
    "half a line": ("a.jsonl", '{"x": 1}\n\n{"x":\n', "line 3: Expecting value at character 7"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_json_that_would_be_one_odd_row_is_refused(tmp_path: Path, name: str) -> None:
    file, text, said = REFUSED[name]
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=said):
        read(json_frames, tmp_path / file)


def test_numbers_are_no_times(tmp_path: Path) -> None:
    """pandas writes milliseconds and reads nanoseconds: 2024 would silently be 1970."""
    (tmp_path / "a.json").write_text('[{"d": 1704153600000}]')
    with pytest.raises(ValueError, match="column 'd': 1704153600000 is no time, write times as text"):
        read(json_frames, tmp_path / "a.json", types={"d": "datetime"})


@pytest.mark.parametrize("chunk_rows", [0, 2])
def test_a_separator_more_at_the_end_of_rows_is_refused(tmp_path: Path, chunk_rows: int) -> None:
    """pandas takes the first column for names of rows then, and every value moves to the column on its left."""
    (tmp_path / "a.csv").write_text("x,y\n0,2,\n1,4,\n2,6,\n")
    with pytest.raises(ValueError, match="its rows end with a separator and its header does not"):
        read(csv_frames, tmp_path / "a.csv", chunk_rows=chunk_rows)


@pytest.mark.parametrize("chunk_rows", [0, 2])
@pytest.mark.parametrize("rows", ["r1,1,\nr2,3,\nr3,5,6\n", "r1,1,NA\nr2,3,NA\nr3,5,NA\n"], ids=["later", "NA"])
def test_empty_fields_at_the_end_of_named_rows_are_no_separator(tmp_path: Path, rows: str, chunk_rows: int) -> None:
    (tmp_path / "a.csv").write_text(f"x,y\n{rows}")
    frames = read(csv_frames, tmp_path / "a.csv", chunk_rows=chunk_rows)
    assert [row[0] for frame in frames for row in frame["data"]] == [1, 3, 5]


@pytest.mark.parametrize("chunk_rows", [0, 2])
def test_names_of_rows_are_left_out(tmp_path: Path, chunk_rows: int) -> None:
    (tmp_path / "a.csv").write_text("x,y\nr1,1,2\nr2,3,4\nr3,5,\n")
    frames = read(csv_frames, tmp_path / "a.csv", chunk_rows=chunk_rows)
    assert [frame["columns"] for frame in frames] == [["x", "y"]] * len(frames)
    assert [row[0] for frame in frames for row in frame["data"]] == [1, 3, 5]


# name: (values, type of the tensor, what fits)
FITS: dict[str, tuple[list[Any], str, bool]] = {
    "deeper, within": ([0, 255], "uint8", True),
    "deeper, beyond": ([0, 1000], "uint8", False),
    "below": ([-1, 3], "uint8", False),
    "bright pixels as signed": ([200], "int8", False),
    "whole floats": ([1.0, 2.0], "int64", True),
    "fractions": ([1.5, 2.0], "int64", False),
    "a gap": ([1.0, float("nan")], "int64", False),
    "rounded floats": ([0.1], "float32", True),
    "nothing": ([], "uint8", True),
}


@pytest.mark.parametrize("name", FITS)
def test_integers_of_a_tensor_never_wrap_around(name: str) -> None:
    values, kind, fits = FITS[name]
    if fits:
        found = exactly(np.array(values), kind)
        assert (found.dtype, found.tolist()) == (np.dtype(kind), np.array(values).astype(kind).tolist())
        return
    with pytest.raises(ValueError, match=f"do not fit the tensor's type, {kind}"):
        exactly(np.array(values), kind)
