"""W4's inputs: parquet files of an id and ten float columns, and a fitted model: `tabular.py FOLDER MODEL FILES ROWS`.

Run by path with the Python that scores them: a pickled model is for the scikit-learn that wrote it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
import numpy
import pyarrow
import pyarrow.parquet
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FEATURES = 10


def main(folder: str, model: str, files: str, rows: str) -> None:
    dice, count = numpy.random.default_rng(4), int(rows)
    for number in range(int(files)):
        x = dice.normal(size=(count, FEATURES))
        if number == 0:
            y = (x[:, 0] + x[:, 1] ** 2 + dice.normal(size=count) > 1).astype(int)
            joblib.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y), model)
        columns = {"id": numpy.arange(count) + number * count} | {f"c{k}": x[:, k] for k in range(FEATURES)}
        pyarrow.parquet.write_table(pyarrow.table(columns), Path(folder, f"part-{number:03d}.parquet"))


if __name__ == "__main__":
    main(*sys.argv[1:])
