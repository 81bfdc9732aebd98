"""A real CPU model for the benches: a transformer encoder in torch, whose `init()` imports torch and loads weights from
a file. Weights and inputs come from a fixed seed."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SEED = 5
ROWS, WIDTH = 64, 512  # an input: rows of float32
LAYERS = 6

SCRIPT = """\
import os

PASSES = {passes}


def init():
    global model, torch
    import torch

    model = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer({width}, 8, dim_feedforward=2048, batch_first=True), {layers},
        enable_nested_tensor=False,
    )
    model.load_state_dict(torch.load(os.path.join(os.environ["AZUREML_MODEL_DIR"], "net-model", "weights.pt")))
    model.eval()


def run(mini_batch):
    return [one(path) for path in mini_batch]


def one(path):
    with open(path, "rb") as file:
        rows = torch.frombuffer(bytearray(file.read()), dtype=torch.float32).reshape(1, {rows}, {width})
    with torch.inference_mode():
        for _ in range(PASSES):
            found = model(rows)
    # What depends on the number of threads is rounded away.
    return "%s,%d,%.2f" % (os.path.basename(path), int(found.mean(1).argmax()), float(found.abs().mean()))
"""

WEIGHTS = """\
import sys

import torch

torch.manual_seed({seed})
layer = torch.nn.TransformerEncoderLayer({width}, 8, dim_feedforward=2048, batch_first=True)
model = torch.nn.TransformerEncoder(layer, {layers}, enable_nested_tensor=False)
torch.save(model.state_dict(), sys.argv[1])
print(torch.__version__)
"""


@dataclass(frozen=True, slots=True)
class Network:
    """Where it all lies; `version` is torch's."""

    script: Path
    model: Path
    folder: Path
    count: int
    version: str


def make_network(data: Path, python: str, *, count: int, passes: int) -> Network:
    """`count` inputs below `data`, each of which goes through the network `passes` times."""
    script, model, folder = data / "net-code" / "score.py", data / "net-model", data / "net-inputs"
    for made in (script.parent, model, folder):
        made.mkdir(parents=True, exist_ok=True)
    names = {"width": WIDTH, "rows": ROWS, "layers": LAYERS, "seed": SEED, "passes": passes}
    script.write_text(SCRIPT.format(**names), encoding="utf-8")
    weights = [python, "-c", WEIGHTS.format(**names), str(model / "weights.pt")]
    version = subprocess.run(weights, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    dice = random.Random(SEED)
    for number in range(count):
        values = bytearray(b"".join(dice.randbytes(3) + b"\x3e" for _ in range(ROWS * WIDTH)))  # 0.125 to 0.5
        (folder / f"{number:04d}.f32").write_bytes(values if sys.byteorder == "little" else values[::-1])
    return Network(script, model, folder, count, version)
