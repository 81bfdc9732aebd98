"""Holds memory by order, in MiB: MEMORY_INIT in init(), MEMORY_LEAK more with every run(), and for a file as much as it
says in its first line ("hold 300"), given back at the end of run(). MEMORY_WORK: seconds of cpu per run().

Every page is written: memory that was only asked for costs nothing.
"""

from __future__ import annotations

import os
import time

MIB = 1 << 20
held = []


def init() -> None:
    held.append(b"x" * (int(os.environ.get("MEMORY_INIT", "0")) * MIB))


def run(mini_batch: list[str]) -> list[str]:
    held.append(b"x" * (int(os.environ.get("MEMORY_LEAK", "0")) * MIB))
    rows = []
    for path in mini_batch:
        with open(path, encoding="utf-8") as file:
            words = file.readline().split()
        hog = b"x" * (int(words[1]) * MIB) if words[:1] == ["hold"] else b""
        end = time.process_time() + float(os.environ.get("MEMORY_WORK", "0"))
        while time.process_time() < end:
            pass
        rows.append(os.path.basename(path))
        del hog
    return rows
