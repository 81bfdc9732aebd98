"""Writes model/linear.pt beside this file: a small linear model with fixed weights."""

from __future__ import annotations

from pathlib import Path

import torch

torch.manual_seed(7)
folder = Path(__file__).parent / "model"
folder.mkdir(exist_ok=True)
torch.save(torch.nn.Linear(4, 3).state_dict(), folder / "linear.pt")
