"""The first sentences of each text: one element per row of each CSV file, so more rows than files."""

from __future__ import annotations

import os

import pandas as pd


def init():
    global column, sentences
    column = os.environ["TEXT_COLUMN"]
    sentences = int(os.environ["SENTENCES"])


def run(mini_batch):
    results = []
    for path in mini_batch:
        table = pd.read_csv(path)
        results.extend(table[column].apply(lambda text: ". ".join(text.split(". ")[:sentences])).tolist())
    return results
