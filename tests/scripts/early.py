"""Says when init() began: late (the plan was there) or early."""

from __future__ import annotations

import os
from pathlib import Path

MARKS, OUT = Path(os.environ["MARKS"]), Path(os.environ["RUN_OUT"])


def init() -> None:
    planned = (OUT / ".batchctl" / "plan").exists()
    with (MARKS / "inits").open("a") as marks:
        marks.write(f"{os.getpid()} {'late' if planned else 'early'}\n")


def run(mini_batch: list[str]) -> list[str]:
    return [os.path.basename(path) for path in mini_batch]
