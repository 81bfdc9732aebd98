"""Writes a file per item, and FAILS times raises after the file of an item whose name holds "flaky" was written."""

from __future__ import annotations

import os
import pathlib

OUT = ""


def init() -> None:
    global OUT
    OUT = os.environ["AZUREML_BI_OUTPUT_PATH"]


def run(mini_batch: list[str]) -> list[str]:
    return [one(pathlib.Path(path)) for path in mini_batch]


def one(path: pathlib.Path) -> str:
    target = pathlib.Path(OUT, "texts", path.name)
    target.parent.mkdir(exist_ok=True)
    marker = pathlib.Path(os.environ["STATE"], path.name)
    if "flaky" in path.name and not marker.exists():
        target.write_text("of an attempt that failed")
        marker.touch()
        raise RuntimeError(f"{path.name} failed once")
    target.write_text(path.read_text().upper())
    return path.name
