"""Scores texts with a linear model: one DataFrame per mini-batch, a row per file."""

from __future__ import annotations

import argparse
import glob
import json
import logging
import os
from pathlib import Path

import pandas as pd
from features import features


def init():
    global logger, weights

    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--logging_level", dest="logging_level", required=True)
    parsed, _others = parser.parse_known_args()
    logger = logging.getLogger("batch_driver")
    logger.setLevel(parsed.logging_level.upper())

    folder = glob.glob(os.environ["AZUREML_MODEL_DIR"] + "/*/")[0]
    with open(os.path.join(folder, "weights.json")) as file:
        weights = json.load(file)
    logger.info("the model has %d weights", len(weights))


def run(mini_batch):
    logger.info("run(%d files)", len(mini_batch))
    rows = []
    for path in mini_batch:
        found = features(Path(path).read_text())
        score = sum(weights[name] * value for name, value in found.items())
        rows.append([os.path.basename(path), "long" if score > 1 else "short", score])
    return pd.DataFrame(rows, columns=["file", "label", "score"])
