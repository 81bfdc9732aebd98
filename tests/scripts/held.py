"""Rows like score.py's. While HELD/armed exists, item HELD_ITEM is read, then held: the test is told by the FIFO
HELD/reading and lets go by the FIFO HELD/go. HELD_MODE "writes": every item is written to as well, as it was."""

from __future__ import annotations

import os

HELD = os.environ["HELD"]


def run(mini_batch: list[str]) -> list[str]:
    return [one(path) for path in mini_batch]


def one(path: str) -> str:
    name = os.path.basename(path)
    with open(path, "rb") as file:
        data = file.read()
    if name == os.environ["HELD_ITEM"] and os.path.exists(os.path.join(HELD, "armed")):
        with open(os.path.join(HELD, "reading"), "w") as reading:
            reading.write(name)
        with open(os.path.join(HELD, "go")) as go:
            go.read()
    if os.environ["HELD_MODE"] == "writes":
        with open(path, "r+b") as file:
            file.write(data + b"!")
    return f"{name} {len(data)} {data[:24].hex()}"
