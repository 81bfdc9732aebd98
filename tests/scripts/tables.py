"""A DataFrame with a row per file; what an item holds says what becomes of it:

broken   run() raises ValueError     short   it is left out of the rows
drift    its number is a text        gated   run() waits until GATE/open exists, saying so by GATE/reached

WIDE: so many bytes more in each row.
"""

from __future__ import annotations

import os
import time

import pandas as pd


def run(mini_batch: list[str]) -> pd.DataFrame:
    return pd.DataFrame([row for path in mini_batch for row in one(path)])


def one(path: str) -> list[dict[str, object]]:
    name = os.path.basename(path)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.startswith("broken"):
        raise ValueError(f"cannot read {name!r}")
    if text.startswith("short"):
        return []
    if text.startswith("gated"):
        wait(os.environ["GATE"])
    number = int(name[4:7])
    found: object = "many" if text.startswith("drift") else number
    row = {"file": name, "number": found, "tags": ["t"] * (number % 3), "rare": "x" if number == 99 else None}
    wide = int(os.environ.get("WIDE", "0"))
    return [{**row, "wide": os.path.splitext(name)[0] * (wide // 7)} if wide else row]


def wait(gate: str) -> None:
    opened = os.path.join(gate, "open")
    if not os.path.exists(opened):
        open(os.path.join(gate, "reached"), "w").close()
    while not os.path.exists(opened):
        time.sleep(0.005)
