"""The byte vectors of the Azure reference, section 2.6: what `run()` returns, by name. Scripts import it too."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

DF = pd.DataFrame
VECTORS: dict[str, Callable[[], Any]] = {
    "S1 a name with a space, float32 among float64": lambda: DF(
        {"file": ["a.png", "b c.png"], "cls": [1, 2], "p": [0.1, np.float32(0.994745)]}
    ),
    "S2 float32": lambda: DF({"p": np.array([0.994745, 1 / 3], dtype=np.float32)}),
    "S3 float64": lambda: DF({"p": [1 / 3, 1e-20, 1e22, np.inf]}),
    "S4 None, NaN and empty": lambda: DF({"a": [None, "x"], "b": [np.nan, 1.0], "c": ["", "y"]}),
    "S5 one column, empty or None": lambda: DF({"a": ["", None]}),
    "S6 an int column with a None": lambda: DF({"a": [1, None]}),
    "S7 bool and datetime": lambda: DF({"a": [True], "t": pd.Series([datetime.datetime(2020, 1, 1)], dtype=object)}),
    "S7 bool and datetime64": lambda: DF(
        {"a": [True, False], "t": pd.to_datetime(["2020-01-01", "2020-01-01 12:00"], format="ISO8601")}
    ),
    "S8 lists, dicts and arrays in cells": lambda: DF(
        {"a": [[1, 2], {"k": "v w"}], "b": [np.array([1.0, 2.0]), np.array([3.0])]}
    ),
    "S9 quotes": lambda: DF({"a": ['he said "hi"']}),
    "S10 a newline in a cell": lambda: DF({"a": ["two\nlines"]}),
    "S11 tab and comma": lambda: DF({"a": ["tab\there"], "b": ["x,y"]}),
    "S12 an empty frame": DF,
    "S12 a frame without rows": lambda: DF({"a": []}),
    "S13 two rows, no columns": lambda: DF(index=[0, 1]),
    "S14 a list of str": lambda: ["a.png: 3"],
    "S15 a list of dicts": lambda: [{"file": "a", "p": np.float32(0.5)}],
    "S16 a list of scalars, None, bytes, tuples": lambda: [np.float32(0.25), None, b"x", ("a", 1)],
    "S17 a newline in an element": lambda: ["multi\nline"],
    "S18 a list of arrays": lambda: [np.array([1.5, 2.5])],
}
