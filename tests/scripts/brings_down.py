"""Rows like score.py's. A file whose name holds `guilty` says so by DOWN/reached and then waits for the machine to go
down, as does one that holds `slow` until there is DOWN/calm."""

from __future__ import annotations

import os
import time

DOWN = os.environ["DOWN"]


def run(mini_batch: list[str]) -> list[str]:
    return [one(path) for path in mini_batch]


def one(path: str) -> str:
    name = os.path.basename(path)
    kind = next((kind for kind in ("guilty", "slow") if kind in name), "")
    if kind:
        open(os.path.join(DOWN, f"reached-{kind}"), "w").close()
    while kind == "guilty" or (kind == "slow" and not os.path.exists(os.path.join(DOWN, "calm"))):
        time.sleep(0.005)
    with open(path, "rb") as file:
        data = file.read()
    return f"{name} {len(data)} {data[:24].hex()}"
