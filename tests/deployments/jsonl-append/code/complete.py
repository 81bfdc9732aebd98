"""Appends a line of JSON per file to one file that all mini-batches share."""

from __future__ import annotations

import json
import os
from pathlib import Path


def init():
    global target
    target = os.path.join(os.environ["AZUREML_BI_OUTPUT_PATH"], "completions.jsonl")


def run(mini_batch):
    for path in mini_batch:
        words = Path(path).read_text().split()
        with open(target, "a") as file:
            file.write(json.dumps({"file": os.path.basename(path), "words": len(words), "last": words[-1]}) + "\n")
    return mini_batch
