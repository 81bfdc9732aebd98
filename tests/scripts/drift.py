"""Rows that name what they were made with: `FILE BYTES HELPER MODEL FLAVOUR WORD`; waits at the gate like gate.py."""

from __future__ import annotations

import os
import sys
import time

import helper

GATE = os.environ["GATE"]
VERSION = helper.VERSION  # a test may put another number behind it


def run(mini_batch: list[str]) -> list[str]:
    return [one(path) for path in mini_batch]


def one(path: str) -> str:
    name = os.path.basename(path)
    if name >= os.environ["GATE_AT"]:
        wait()
    with open(path, "rb") as file:
        size = len(file.read())
    with open(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model", "weights.txt")) as file:
        model = file.read().strip()
    word = sys.argv[sys.argv.index("--word") + 1] if "--word" in sys.argv else "none"
    return f"{name} {size} {VERSION} {model} {os.environ.get('FLAVOUR', 'plain')} {word}"


def wait() -> None:
    opened = os.path.join(GATE, "open")
    if not os.path.exists(opened):
        open(os.path.join(GATE, "reached"), "w").close()
    while not os.path.exists(opened):
        time.sleep(0.005)
