"""The parquet form of results: what each kind of value becomes, and what is refused by the name of its column."""

from __future__ import annotations

import datetime
import decimal
import json
import struct
import subprocess
import sys
import zoneinfo
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from batchctl.guest.failure import ContractError
from batchctl.guest.rows import PARQUET, Renderer, Tables, accept

DF = pd.DataFrame
UTC = datetime.timezone.utc  # noqa: UP017 (as scripts for Python 3.8 have it)
DAY = datetime.date(2024, 2, 29)


def render(result: Any) -> tuple[bytes, bytes]:
    renderer = Renderer(PARQUET, "append_row", "/nonexistent")
    return renderer.render(accept(result, lambda _kind, _text: None)), renderer.header


def blocks(data: bytes) -> list[tuple[Any, pa.Table]]:
    """(types, rows) of each block."""
    found = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        types = json.loads(data[4 : 4 + length])
        (size,) = struct.unpack_from("<Q", data, 4 + length)
        begin = 12 + length
        with pa.ipc.open_stream(data[begin : begin + size]) as reader:
            found.append((types, reader.read_all()))
        data = data[begin + size :]
    return found


# name: (result, types, rows as dicts)
CASES: dict[str, tuple[Callable[[], Any], list[Any], list[dict[str, Any]]]] = {
    "plain frame": (
        lambda: DF({"a": [1, 2], "b": [0.5, float("nan")], "c": ["x", None]}, index=[7, 9]),
        [["a", "int64"], ["b", "double"], ["c", "string"]],
        [{"a": 1, "b": 0.5, "c": "x"}, {"a": 2, "b": None, "c": None}],
    ),
    "widths": (
        lambda: DF({"a": np.array([1], "uint8"), "b": np.array([0.5], "float32"), "c": [True]}),
        [["a", "uint8"], ["b", "float"], ["c", "bool"]],
        [{"a": 1, "b": 0.5, "c": True}],
    ),
    "gaps of pandas' own types": (
        lambda: DF({"a": pd.array([1, None], "Int64"), "b": pd.array([None, True], "boolean")}),
        [["a", "int64"], ["b", "bool"]],
        [{"a": 1, "b": None}, {"a": None, "b": True}],
    ),
    "categories": (
        lambda: DF({"a": pd.Categorical(["x", None, "x"]), "b": pd.Categorical([3, 4, 3])}),
        [["a", "string"], ["b", "int64"]],
        [{"a": "x", "b": 3}, {"a": None, "b": 4}, {"a": "x", "b": 3}],
    ),
    "times": (
        lambda: DF(
            {
                "a": pd.to_datetime(["2024-02-29 12:00", None]).as_unit("ns"),
                "b": pd.to_datetime(["2024-02-29 12:00", None]).as_unit("ns").tz_localize("Europe/Berlin"),
                "c": pd.to_datetime(["2024-02-29", None]).as_unit("s"),
                "d": [DAY, None],
            }
        ),
        [
            ["a", "timestamp[ns]"],
            ["b", "timestamp[ns, tz=Europe/Berlin]"],
            ["c", "timestamp[ms]"],
            ["d", "date32[day]"],
        ],
        [
            {
                "a": pd.Timestamp("2024-02-29 12:00"),
                "b": pd.Timestamp("2024-02-29 12:00", tz="Europe/Berlin"),
                "c": datetime.datetime(2024, 2, 29),
                "d": DAY,
            },
            {"a": None, "b": None, "c": None, "d": None},
        ],
    ),
    "all null": (lambda: DF({"a": [None, None]}), [["a", "null"]], [{"a": None}, {"a": None}]),
    "nested": (
        lambda: DF({"a": [[1, 2], []], "b": [{"x": [None], "y": 1}, None]}),
        [["a", ["list", "int64"]], ["b", ["struct", [["x", ["list", "null"]], ["y", "int64"]]]]],
        [{"a": [1, 2], "b": {"x": [None], "y": 1}}, {"a": [], "b": None}],
    ),
    "arrow's own": (
        lambda: DF(
            {
                "a": pd.Series(["x"], dtype=pd.ArrowDtype(pa.large_string())),
                "b": pd.Series([[1]], dtype=pd.ArrowDtype(pa.large_list(pa.int8()))),
                "c": pd.Series([b"x"], dtype=pd.ArrowDtype(pa.large_binary())),
                "d": pd.Series([[1, 2]], dtype=pd.ArrowDtype(pa.list_(pa.int8(), 2))),
            }
        ),
        [["a", "string"], ["b", ["list", "int8"]], ["c", "binary"], ["d", ["list", "int8"]]],
        [{"a": "x", "b": [1], "c": b"x", "d": [1, 2]}],
    ),
    "names that are numbers": (lambda: DF([[1, 2]]), [["0", "int64"], ["1", "int64"]], [{"0": 1, "1": 2}]),
    "dicts": (
        lambda: [{"x": 1, "y": "a"}, {"y": None}],
        [["x", "int64"], ["y", "string"]],
        [{"x": 1, "y": "a"}, {"x": None, "y": None}],
    ),
    "values": (
        lambda: [0.5, float("nan"), None],
        [["prediction", "double"]],
        [{"prediction": 0.5}, {"prediction": None}, {"prediction": None}],
    ),
    "numpy scalars": (
        lambda: [np.float32(0.5), np.float32(2)],
        [["prediction", "float"]],
        [{"prediction": 0.5}, {"prediction": 2.0}],
    ),
    "vectors": (
        lambda: np.array([[1, 2], [3, 4]]),
        [["prediction", ["list", "int64"]]],
        [{"prediction": [1, 2]}, {"prediction": [3, 4]}],
    ),
    "matrices": (
        lambda: [np.zeros((1, 2)), np.ones((2, 1))],
        [["prediction", ["list", ["list", "double"]]]],
        [{"prediction": [[0.0, 0.0]]}, {"prediction": [[1.0], [1.0]]}],
    ),
    "a series": (
        lambda: pd.Series(["a", None]),
        [["prediction", "string"]],
        [{"prediction": "a"}, {"prediction": None}],
    ),
    "decimals": (
        lambda: [decimal.Decimal("1.10")],
        [["prediction", "decimal128(3, 2)"]],
        [{"prediction": decimal.Decimal("1.10")}],
    ),
    "bytes": (lambda: [b"\xff"], [["prediction", "binary"]], [{"prediction": b"\xff"}]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_result_becomes(case: str) -> None:
    result, types, rows = CASES[case]
    data, header = render(result())
    assert json.loads(header) == [types]
    [(told, table)] = blocks(data)
    assert told == types
    assert table.schema.names == [name for name, _ in types]
    assert not table.schema.metadata
    assert table.to_pylist() == rows


@pytest.mark.parametrize("result", [[], DF(), DF({"a": []}), np.zeros((0, 2)), Tables([DF({"a": []})])])
def test_no_rows_are_no_bytes(result: Any) -> None:
    renderer = Renderer(PARQUET, "append_row", "/nonexistent")
    accepted = accept(result, lambda _kind, _text: None)
    data = renderer.render_tables(accepted) if isinstance(accepted, Tables) else renderer.render(accepted)
    assert (data, renderer.header) == (b"", b"")


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 1


def test_how_deep_lists_may_nest() -> None:
    [(_, table)] = blocks(render(DF({"a": [nested(48)]}))[0])
    assert table.to_pylist() == [{"a": nested(48)}]


REFUSED: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "a column of two types": (lambda: DF({"ok": [1, 2], "mixed": [1, "a"]}), ("'mixed'", "astype")),
    "a list of two types": (lambda: ["a", 1], ("'prediction'",)),
    "an object": (lambda: DF({"odd": [object()]}), ("'odd'", "astype")),
    "an integer that is too large": (lambda: [1 << 70], ("'prediction'",)),
    "two columns of one name": (lambda: DF([[1, 2]], columns=["a", "a"]), ("two columns", "'a'")),
    "two names alike as text": (lambda: DF([[1, 2]], columns=[1, "1"]), ("two columns", "'1'")),
    "no columns": (lambda: DF(index=[1, 2]), ("without columns",)),
    "empty dicts": (lambda: [{}], ("empty dicts",)),
    "dicts without keys": (lambda: DF({"a": [{}]}), ("'a'", "struct<>")),
    "two fields of one name": (
        lambda: DF({"a": pd.arrays.ArrowExtensionArray(pa.StructArray.from_arrays([[1], ["x"]], names=["b", "b"]))}),
        ("'a'", "struct<b"),
    ),
    "lists that nest too deeply": (lambda: DF({"a": [nested(49)]}), ("'a'", "48 levels")),
    "further keys": (lambda: [{"a": 1}, {"b": 2}], ("'b'",)),
    "a dict and something else": (lambda: [{"a": 1}, 2], ("int",)),
    "periods": (lambda: DF({"when": pd.period_range("2024", periods=1, freq="D")}), ("'when'", "astype")),
    "text that is not UTF-8": (lambda: ["\udcff"], ("'prediction'", "UTF-8")),
    "a name that is not UTF-8": (lambda: [{"\udcff": 1}], ("UTF-8",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_named(case: str) -> None:
    result, words = REFUSED[case]
    with pytest.raises(ContractError) as caught:
        render(result())
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_block_for_each_file_and_the_types_of_all() -> None:
    renderer = Renderer(PARQUET, "append_row", "/nonexistent")
    frames = [DF({"a": [1]}), DF({"a": [None]}), DF({"a": []}), DF({"a": [2]})]
    found = blocks(renderer.render_tables(Tables(frames)))
    assert [table.to_pylist() for _, table in found] == [[{"a": 1}], [{"a": None}], [{"a": 2}]]
    assert json.loads(renderer.header) == [[["a", "int64"]], [["a", "null"]]]


def test_large_rows_come_in_batches_that_can_be_held() -> None:
    data, _ = render([b"x" * (1 << 20)] * 20)
    (length,) = struct.unpack_from("<I", data)
    with pa.ipc.open_stream(data[12 + length :]) as reader:
        assert max(batch.nbytes for batch in reader) <= 9 << 20


def test_no_library_is_imported_for_other_formats() -> None:
    code = (
        "import sys; from batchctl.guest.rows import Renderer; Renderer('csv', 'append_row', '/').render(['a']); "
        "Renderer('parquet', 'append_row', '/'); print(sorted({'pandas', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_time_zones_need_no_pandas() -> None:
    when = datetime.datetime(2024, 2, 29, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    [(types, table)] = blocks(render([{"when": when}])[0])
    assert types == [["when", "timestamp[us, tz=Europe/Berlin]"]]
    assert table.column("when").to_pylist() == [when]
    assert table.column("when").to_pylist()[0].astimezone(UTC) == when.astimezone(UTC)
