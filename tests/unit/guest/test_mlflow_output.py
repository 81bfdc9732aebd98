"""The rows of a file, out of what a model predicted for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from batchctl.guest.mlflow_output import checked, frame_of


class Thing:
    pass


PAIR = pd.MultiIndex.from_tuples([("a", "b"), ("a", "")])
# name: (prediction, its columns, its rows)
SHAPES: dict[str, tuple[Callable[[], Any], list[str], list[list[Any]]]] = {
    "a series by its name": (lambda: pd.Series([1, 2], name="s"), ["s"], [[1], [2]]),
    "a series without one": (lambda: pd.Series([1, 2]), ["prediction"], [[1], [2]]),
    "dicts within a dict": (
        lambda: {"a": {"x": [1], "y": [2]}, "b": {"x": [3], "y": [4]}},
        ["a_x", "a_y", "b_x", "b_y"],
        [[1, 2, 3, 4]],
    ),
    "a key called prediction": (
        lambda: {"prediction": pd.Series([1], name="zz"), "zz": [2]},
        ["prediction", "zz"],
        [[1, 2]],
    ),
    "columns of two levels": (lambda: pd.DataFrame([[1, 2]], columns=PAIR), ["a_b", "a"], [[1, 2]]),
    "something masked": (lambda: np.ma.masked_array([7, 1], mask=[True, False]), ["prediction"], [[None], [1]]),
    "nothing masked": (lambda: np.ma.masked_array([7, 1]), ["prediction"], [[7], [1]]),
    "a text": (lambda: "yes", ["prediction"], [["yes"]]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_predictions_become_rows(name: str) -> None:
    prediction, columns, rows = SHAPES[name]
    frame = frame_of(checked(prediction()), file_name="f.csv", one_row=False)
    assert list(frame.columns) == ["row", *columns, "file_name"]
    assert frame.to_numpy().tolist() == [[number, *row, "f.csv"] for number, row in enumerate(rows)]


# name: (prediction, what is said)
NONE: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (lambda: None, r"predict returned None \(is a return statement missing\?\)"),
    "a generator": (lambda: (n for n in range(3)), "predict returned a generator, which has no rows in an order"),
    "a set": (lambda: {1, 2}, "predict returned a set, which"),
    "a set in a dict": (lambda: {"a": {1, 2}}, "predict returned a set, which"),
    "an object with an address for a text": (Thing, "predict returned a Thing, which is no table"),
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_prediction_is_refused(name: str) -> None:
    prediction, said = NONE[name]
    with pytest.raises(TypeError, match=said):
        checked(prediction())
