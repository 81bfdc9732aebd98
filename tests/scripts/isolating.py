"""Raises for a mini-batch that holds a "bad" item; parts of mini-batches (fewer than WHOLE items) wait at the gate."""

from __future__ import annotations

import os
import time


def run(mini_batch: list[str]) -> list[str]:
    names = [os.path.basename(path) for path in mini_batch]
    if len(names) < int(os.environ["WHOLE"]):
        wait(os.environ["GATE"])
    if any("bad" in name for name in names):
        raise ValueError("a bad item")
    return names


def wait(gate: str) -> None:
    opened = os.path.join(gate, "open")
    if not os.path.exists(opened):
        open(os.path.join(gate, "reached"), "w").close()
    while not os.path.exists(opened):
        time.sleep(0.005)
