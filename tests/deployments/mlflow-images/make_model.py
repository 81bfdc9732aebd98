"""Writes model/ beside this file: a classifier of handwritten digits that takes each picture as 64 numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow.sklearn
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

folder = Path(__file__).resolve().parent / "model"
shutil.rmtree(folder, ignore_errors=True)
digits = load_digits()
model = KNeighborsClassifier(n_neighbors=1).fit(digits.data.astype("float32"), digits.target)
mlflow.sklearn.save_model(
    model,
    folder,
    signature=ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("float32"), (-1, 64))]),
        outputs=Schema([TensorSpec(np.dtype("int64"), (-1,))]),
    ),
    serialization_format="cloudpickle",
    pip_requirements=["scikit-learn"],
)
