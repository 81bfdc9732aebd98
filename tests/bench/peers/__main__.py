"""One peer, by name: `python -m tests.bench.peers NAME`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tests.bench.peers import local

PEERS: dict[str, Callable[[], None]] = {
    "serial": local.serial,
    "pool": local.pool,
    "futures": local.futures,
    "joblib": local.joblib,
}

if __name__ == "__main__":
    PEERS[sys.argv[1]]()
