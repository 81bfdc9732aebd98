"""A row per file with what the context says of its mini-batch; waits at the gate if there is one, raises for "bad"
files and dies of "deadly" ones.

Paths are told relative to the folder `in`, as JSON, in which every name is ASCII.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any


def run(mini_batch: list[str], mini_batch_context: Any) -> list[str]:
    names = [path.partition("/in/")[2] for path in mini_batch]
    gate = os.environ.get("GATE")
    if gate and any(name.endswith(os.environ["GATE_AT"]) for name in names):
        wait(gate)
    if any("bad" in name for name in names):
        raise ValueError("a bad item")
    if any("deadly" in name for name in names):
        os._exit(3)
    values = mini_batch_context.partition_key_value
    told = [json.dumps([mini_batch_context.minibatch_index, values, name]) for name in names]
    values.clear()
    return told


def wait(gate: str) -> None:
    opened = os.path.join(gate, "open")
    if not os.path.exists(opened):
        open(os.path.join(gate, "reached"), "w").close()
    while not os.path.exists(opened):
        time.sleep(0.005)
