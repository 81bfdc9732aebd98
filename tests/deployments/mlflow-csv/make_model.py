"""Writes model/ beside this file: a classifier of irises by four named columns."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow.sklearn
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

folder = Path(__file__).resolve().parent / "model"
shutil.rmtree(folder, ignore_errors=True)
samples, kinds = load_iris(return_X_y=True, as_frame=True)
model = DecisionTreeClassifier(random_state=0).fit(samples, kinds)
mlflow.sklearn.save_model(
    model,
    folder,
    signature=infer_signature(samples, model.predict(samples)),
    serialization_format="cloudpickle",
    pip_requirements=["scikit-learn"],
)
