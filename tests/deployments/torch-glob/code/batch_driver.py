"""A torch model found with glob; one forward pass per mini-batch."""

from __future__ import annotations

import glob
import os
from os.path import basename

import pandas as pd
import torch


def init():
    global model, device
    path = glob.glob(os.environ["AZUREML_MODEL_DIR"] + "/*/*.pt")[-1]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = torch.nn.Linear(4, 3)
    model.load_state_dict(torch.load(path, map_location=device))
    model.to(device).eval()


def run(mini_batch):
    rows = [[float(part) for part in open(path).read().split(",")] for path in mini_batch]
    with torch.no_grad():
        # A row at a time: what a row scores must not depend on who shares its mini-batch.
        classes = [int(model(torch.tensor([row], device=device)).argmax()) for row in rows]
    return pd.DataFrame({"file": [basename(path) for path in mini_batch], "class": classes})
