"""A parquet file per CSV file in the job's output folder; what is returned only says that the files were done."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd


def init():
    global output_path, scale
    output_path = os.environ["AZUREML_BI_OUTPUT_PATH"]
    model = os.path.join(os.environ["AZUREML_MODEL_DIR"], "scaler", "scale.json")
    scale = json.loads(Path(model).read_text())


def run(mini_batch):
    for path in mini_batch:
        data = pd.read_csv(path)
        data["prediction"] = (data["value"] - scale["mean"]) / scale["deviation"]
        data.to_parquet(os.path.join(output_path, Path(path).stem + ".parquet"))
    return mini_batch
