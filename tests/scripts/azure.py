"""What an Azure script looks at: argv, the model folder, the context, its folders. A row per file, all of it in one."""

from __future__ import annotations

import argparse
import os
from typing import Any

LEVEL = MODEL = ""


def init() -> None:
    global LEVEL, MODEL
    parser = argparse.ArgumentParser()
    parser.add_argument("--logging_level")
    LEVEL = parser.parse_known_args()[0].logging_level.upper()
    folder = os.environ["AZUREML_MODEL_DIR"]
    (name,) = os.listdir(folder)
    with open(os.path.join(folder, name, "weights.txt"), encoding="utf-8") as file:
        MODEL = f"{name}={file.read().strip()}"
    assert os.path.isdir(os.environ["AZUREML_BI_OUTPUT_PATH"])
    assert os.path.realpath(os.getcwd()) != os.path.dirname(os.path.realpath(__file__))


def run(mini_batch: list[str], mini_batch_context: Any) -> list[str]:
    words = [LEVEL, MODEL, os.environ["FLAVOUR"], str(mini_batch_context.minibatch_index)]
    return [" ".join([os.path.basename(path), *words]) for path in mini_batch]
