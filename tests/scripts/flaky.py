"""Raises FAILS times for each item whose name holds "flaky", then works. Each time with another message."""

from __future__ import annotations

import os


def run(mini_batch: list[str]) -> list[str]:
    return [one(path) for path in mini_batch]


def one(path: str) -> str:
    name = os.path.basename(path)
    if "flaky" in name:
        fail(name)
    return name


def fail(name: str) -> None:
    log = os.path.join(os.environ["STATE"], name)
    with open(log, "a+", encoding="utf-8") as file:
        file.seek(0)
        failures = len(file.readlines())
        if failures < int(os.environ["FAILS"]):
            file.write("failed\n")
            file.flush()
            raise RuntimeError(f"{name}: failure number {failures + 1}")
