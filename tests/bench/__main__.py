"""Beside what a user would run instead: `python -m tests.bench [--only w1,w2] [--peers pool,joblib] [--rounds 5]`.

Whole processes, start-up and planning included, in interleaved rounds; batchctl durable as shipped, peers not durable.
The inputs are made below --data (2 GB in full) and kept there; so are the environments that scripts and peers run in.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.bench import tree
from tests.bench.contest import PEERS, ROOT, SERIAL, Found, laps, ours, theirs
from tests.bench.report import summary
from tests.bench.workloads import WORKLOADS, Sizes, prepare
from tests.user_environments import make

DATA = ROOT / ".build" / "bench"
SOURCE = Path(sys.executable).parent / "batchctl"
PACKAGED = ROOT / "dist" / "batchctl"


def executables(given: list[str]) -> dict[str, str]:
    """By the name in the table; NAME=PATH or PATH."""
    if not given:
        found = {"batchctl": SOURCE, "batchctl, packaged": PACKAGED}
        return {name: str(path) for name, path in found.items() if path.exists()}
    pairs = (text.partition("=") if "=" in text else (f"batchctl {text}", "", text) for text in given)
    return {name: path for name, _, path in pairs}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="workloads, with commas between: " + ", ".join(WORKLOADS))
    parser.add_argument("--peers", help="drivers, with commas between; the serial loop always runs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--items", type=int, help="files of each workload, for a short form")
    parser.add_argument("--rows", type=int, default=Sizes().rows, help="in each of w4's files")
    parser.add_argument("--megabytes", type=float, default=Sizes().total / 1e6, help="of w3's files together")
    parser.add_argument("--passes", type=int, default=1, help="how often w3 reads each file")
    parser.add_argument("--batchctl", action="append", default=[], metavar="[NAME=]PATH", help="repeatable")
    parser.add_argument("--python", type=Path, help="of scripts and peers (default: made from the lock files)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the inputs, kept")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    tree.adopt()
    sizes = Sizes(given.items, given.rows, round(given.megabytes * 1e6), given.passes)
    wanted = {*given.peers.split(","), SERIAL.driver} if given.peers else None
    dice, found = random.Random(given.seed), list[Found]()
    for name in given.only.split(",") if given.only else WORKLOADS:
        workload = WORKLOADS[name]
        python = given.python or make(workload.environment)
        if python is None:
            print(f"{name}: not run: pip cannot install tests/environments/{workload.environment}.lock here")
            continue
        inputs = prepare(workload, given.data.resolve(), sizes=sizes, python=python)
        entries = [ours(label, path, inputs, python=python) for label, path in executables(given.batchctl).items()]
        entries += [
            theirs(peer, inputs, python=python) for peer in PEERS[name] if wanted is None or peer.driver in wanted
        ]
        with tempfile.TemporaryDirectory(prefix="run-", dir=given.data) as work:
            for one in laps(inputs, entries, rounds=range(given.rounds), work=Path(work), dice=dice):
                print(f"{name} round {one.round + 1}: {one.name:<20} {one.wall_s:7.2f} s", flush=True)
                found.append(one)
    print("\n" + summary(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
