"""Says when init() began and what it saw: whether the plan was there. `EARLY_INIT`: what init() does then."""

from __future__ import annotations

import os
import time
from pathlib import Path

MARKS, OUT = Path(os.environ["MARKS"]), Path(os.environ["RUN_OUT"])


def init() -> None:
    planned = (OUT / ".batchctl" / "plan").exists()
    with (MARKS / "inits").open("a") as marks:
        marks.write(f"{os.getpid()} {'late' if planned else 'early'}\n")
    match os.environ.get("EARLY_INIT"):
        case "raise":
            raise RuntimeError("no such model")
        case "die" if not planned:
            os.kill(os.getpid(), 9)
        case "chatter":
            print("x" * 300_000)
        case "wait":
            while not (MARKS / "open").exists():
                time.sleep(0.002)


def run(mini_batch: list[str]) -> list[str]:
    return [os.path.basename(path) for path in mini_batch]
