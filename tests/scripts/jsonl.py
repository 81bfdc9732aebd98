"""Appends a line per item to results.jsonl, opened with mode "a" in every run(), as scripts that ask a service do.

Items named in BAD raise when their line is written, those in FLAKY the first time only. From item GATE_AT on it waits
until GATE/open exists, saying so by GATE/reached. latest.txt is written anew by every run().
"""

from __future__ import annotations

import json
import os
import time

OUT = ""
GATE = os.environ["GATE"]
BAD, FLAKY = (os.environ.get(name, "").split() for name in ("BAD", "FLAKY"))


def init() -> None:
    global OUT
    OUT = os.environ["AZUREML_BI_OUTPUT_PATH"]


def run(mini_batch: list[str]) -> list[str]:
    names = [os.path.basename(path) for path in mini_batch]
    with open(os.path.join(OUT, "results.jsonl"), "a", encoding="utf-8") as file:
        for name in names:
            if name >= os.environ["GATE_AT"]:
                wait()
            file.write(json.dumps({"item": name, "of": len(name)}) + "\n")
            file.flush()
            if name in BAD:
                raise ValueError(f"{name} is bad")
            if name in FLAKY:
                fail_once(name)
    with open(os.path.join(OUT, "latest.txt"), "w", encoding="utf-8") as file:
        file.write(" ".join(names))
    return names


def fail_once(name: str) -> None:
    try:
        open(os.path.join(GATE, name), "x").close()
    except FileExistsError:
        return
    raise RuntimeError(f"{name} failed once")


def wait() -> None:
    opened = os.path.join(GATE, "open")
    if not os.path.exists(opened):
        open(os.path.join(GATE, "reached"), "w").close()
    while not os.path.exists(opened):
        time.sleep(0.005)
