"""Makes what tests of MLflow models score, with the packages of their environment: `PYTHON mlflow_models.py FOLDER`.

FOLDER/tell-KIND/    models of this very file: pyfunc models from code, which answer in a form or tell what they saw
FOLDER/iris/         irises as tables: flowers.csv .parquet .pqt .json .jsonl records.json split.json
FOLDER/digits/       digits as images: D-NUMBER.png
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature, set_model
from mlflow.types import ColSpec, Schema, TensorSpec

TYPED = Schema(
    [
        ColSpec("integer", "n"),
        ColSpec("double", "x"),
        ColSpec("string", "t"),
        ColSpec("boolean", "b"),
        ColSpec("datetime", "d"),
    ]
)
# kind of answer: the model's input
KINDS: dict[str, Schema | None] = {
    "frame": None,
    "series": None,
    "matrix": None,
    "dict": None,
    "list": None,
    "rows": None,
    "last": None,
    "few": None,
    "none": None,
    "echo": None,
    "types": TYPED,
    "image": None,
    "tensor": Schema([TensorSpec(np.dtype("float32"), (-1, 2, 3, 3), "picture")]),
}


class Telling(mlflow.pyfunc.PythonModel):
    """Answers as its configuration says. Each predict is told in a line of the file that TOLD names."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        kind = context.model_config["kind"]
        if "TOLD" in os.environ:
            with open(os.environ["TOLD"], "a", encoding="utf-8") as told:
                told.write(f"{len(model_input)}\n")
        return getattr(self, kind)(model_input)

    def frame(self, given: Any) -> Any:
        return pd.DataFrame({"label": ["a b" if x > 1 else 'say "hi", x' for x in given["x"]], "p": given["x"] / 2})

    def series(self, given: Any) -> Any:
        return given["x"].rename("score")

    def matrix(self, given: Any) -> Any:
        return np.column_stack([given["x"], given["x"] * 2])

    def dict(self, given: Any) -> Any:
        return {"half": given["x"].to_numpy() / 2, "pair": self.matrix(given)}

    def list(self, given: Any) -> Any:
        return [{"label": "big"} if x > 1 else {"label": None} for x in given["x"]]

    def rows(self, given: Any) -> Any:
        return np.full(len(given), len(given))

    def last(self, given: Any) -> Any:
        return [float(given["x"].iloc[-1])]

    def few(self, given: Any) -> Any:
        return given[given["x"] > 1]

    def none(self, given: Any) -> Any:
        return None

    def echo(self, given: Any) -> Any:
        return given

    def types(self, given: Any) -> Any:
        told = " ".join(f"{name}={given[name].dtype.kind}" for name in given)
        return pd.DataFrame({"told": told, "n": given["n"], "day": given["d"].dt.strftime("%d.%m.")})

    def image(self, given: Any) -> Any:
        return [f"{given.dtype} {given.shape} {int(given.reshape(-1)[0])}"]

    def tensor(self, given: Any) -> Any:
        picture = given["picture"]
        return np.array([[picture.dtype.itemsize, *picture.shape, picture.sum()]])


def make(folder: Path) -> None:
    for kind, inputs in KINDS.items():
        signature = ModelSignature(inputs=inputs) if inputs is not None else None
        mlflow.pyfunc.save_model(
            folder / f"tell-{kind}",
            python_model=__file__,
            model_config={"kind": kind},
            signature=signature,
            pip_requirements=["mlflow"],
        )
    tables(folder / "iris")
    digits(folder / "digits")


def tables(folder: Path) -> None:
    from sklearn.datasets import load_iris

    folder.mkdir()
    frame = load_iris(as_frame=True).data
    frame.to_csv(folder / "flowers.csv", index=False)
    frame.to_parquet(folder / "flowers.parquet", index=False, row_group_size=40)
    frame.to_parquet(folder / "flowers.pqt", index=False)
    frame.to_json(folder / "flowers.json", orient="records")
    frame.to_json(folder / "flowers.jsonl", orient="records", lines=True)
    split = frame.to_json(orient="split", index=False)
    (folder / "split.json").write_text(split)
    (folder / "named.json").write_text(f'{{"dataframe_split": {split}}}')


def digits(folder: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    folder.mkdir()
    found = load_digits()
    for number in range(40):
        picture = Image.fromarray(found.images[number].astype("uint8"))
        picture.save(folder / f"{found.target[number]}-{number:03d}.png")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
else:  # loaded by mlflow, from its copy in a model's folder
    set_model(Telling())
