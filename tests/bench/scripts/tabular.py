import os

import joblib
import pandas
import pyarrow.parquet
import sklearn.linear_model
import sklearn.preprocessing  # noqa: F401

COLUMNS = ["c%d" % k for k in range(10)]


def init():
    global model
    model = joblib.load(os.environ["BENCH_MODEL"])


def run(mini_batch):
    frames = [one(path) for path in mini_batch]
    return frames[0] if len(frames) == 1 else pandas.concat(frames, ignore_index=True)


def one(path):
    table = pyarrow.parquet.read_table(path, use_threads=False)
    x = table.select(COLUMNS).to_pandas(use_threads=False).to_numpy()
    score = model.predict_proba(x)[:, 1]
    return pandas.DataFrame({"id": table["id"].to_numpy(), "score": score, "label": (score > 0.5).astype("int8")})
