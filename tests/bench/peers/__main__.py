"""One peer, by name: `python -m tests.bench.peers NAME`. Each loads what it needs and no more: start-up counts."""

from __future__ import annotations

import importlib
import sys

MODULES = {
    "serial": "local",
    "halves": "local",
    "pool": "local",
    "futures": "local",
    "joblib": "local",
    "parallel": "commands",
    "hyperqueue": "commands",
    "dask": "clusters",
    "ray_core": "clusters",
    "ray_data": "clusters",
    # Workers of commands:
    "stdin": "commands",
    "files": "commands",
}

if __name__ == "__main__":
    name = sys.argv[1]
    getattr(importlib.import_module(f"tests.bench.peers.{MODULES[name]}"), name)()
