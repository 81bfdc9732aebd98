"""Each week's share of what a store sold of a brand: a call of run() has all weeks of one store and brand."""

from __future__ import annotations

import csv
import os
from typing import Any


def run(mini_batch: list[str], mini_batch_context: Any) -> list[dict[str, Any]]:
    sold = {}
    for path in mini_batch:
        with open(path, newline="") as file:
            sold[path] = sum(int(row["quantity"]) for row in csv.DictReader(file))
    keys = mini_batch_context.partition_key_value
    total = sum(sold.values())
    return [
        {
            "store": keys["store"],
            "brand": keys["brand"],
            "week": os.path.splitext(os.path.basename(path))[0],
            "share": sold[path] / total,
        }
        for path in mini_batch
    ]
