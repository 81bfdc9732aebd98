"""A DataFrame with a row per file."""

from __future__ import annotations

import os

import pandas


def run(mini_batch: list[str]) -> pandas.DataFrame:
    names = [os.path.basename(path) for path in mini_batch]
    return pandas.DataFrame({"file": names, "label": ["a b"] * len(names), "p": [0.5] * len(names)})
