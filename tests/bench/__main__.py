"""Beside what a user would run instead: `python -m tests.bench [--only w1,w2] [--peers pool,joblib] [--rounds 5]`.

Whole processes, start-up and planning included, in interleaved rounds; batchctl durable as shipped, peers not durable.
The inputs are made below --data (2 GB in full) and kept there; so are the environments that scripts and peers run in.
A full campaign takes an hour or two and can be run in pieces: `--only w5 --rounds 1 --record` adds a round of w5 to
docs/performance.json.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tests import system_tools
from tests.bench import bounds, figures, record, tree
from tests.bench.contest import PEERS, SERIAL, Contestant, Found, ours, run_round, theirs
from tests.bench.outputs import Judge
from tests.bench.workloads import WORKLOADS, Prepared, Sizes, prepare
from tests.published import ROOT
from tests.user_environments import make

DATA = ROOT / ".build" / "bench"
SOURCE = Path(sys.executable).parent / "batchctl"
PACKAGED = ROOT / "dist" / "batchctl"
TOOLS = {"parallel": "parallel"}
_DISTRIBUTIONS = (
    *("dask", "distributed", "hyperqueue", "joblib", "numpy", "pandas", "pyarrow", "ray", "scikit-learn"),
    *("sentence-transformers", "torch"),
)
_VERSIONS = """
import importlib.metadata, json, platform, sys
found = {one.metadata["Name"].lower(): one.version for one in importlib.metadata.distributions()}
print(json.dumps({name: found[name] for name in sys.argv[1:] if name in found} | {"python": platform.python_version()}))
"""


def main(arguments: list[str] | None = None) -> int:
    given = _arguments(arguments)
    tree.adopt()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what runs is ended, too
    if given.peers is None or TOOLS.keys() & set(given.peers.split(",")):
        print(system_tools.install(TOOLS))
    dice = random.Random(given.seed)
    found, not_run, versions = list[Found](), dict[str, str](), dict[str, str]()
    for name in given.only:
        workload = WORKLOADS[name]
        python = given.python or make(workload.environment)
        if python is None:
            not_run[name] = f"pip cannot install tests/environments/{workload.environment}.lock here"
            continue
        versions |= _versions(python)
        inputs = prepare(workload, given.data, sizes=given.sizes, python=python)
        contestants = list(_contestants(inputs, given, python=python))
        judge = Judge(inputs)
        _warm(inputs)
        for number in range(given.rounds):
            with tempfile.TemporaryDirectory(prefix="run-", dir=given.data) as work:
                laps = list(run_round(number, contestants, judge=judge, work=Path(work), dice=dice, told=_tell))
            found += laps
            if given.record:
                record.publish(laps, command=_command(given), versions=versions, not_run={})
    if (missing := system_tools.missing(*TOOLS)) and not given.peers:
        not_run["GNU parallel"] = f"no {', '.join(missing)} here"
    if given.record and not_run:
        record.publish([], command=_command(given), versions=versions, not_run=not_run)
    if given.out:
        given.out.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n", encoding="utf-8")
    for name, group in figures.groups(found).items():
        print(f"\n{name}: {WORKLOADS[name].title}\n\n{figures.table(group)}")
    print(bounds.table(figures.groups(found), told={}))
    for name, reason in not_run.items():
        print(f"not run: {name}: {reason}")
    return 0


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    full = Sizes()
    parser.add_argument("--only", help="workloads, with commas between: " + ", ".join(WORKLOADS))
    parser.add_argument("--peers", help="drivers, with commas between; the plain loop always runs; none: only that")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--items", type=int, help="files of each workload, for a short form")
    parser.add_argument("--rows", type=int, default=full.rows, help="in each of w4's files")
    parser.add_argument("--megabytes", type=float, default=full.total / 1e6, help="of w3's files together")
    parser.add_argument("--passes", type=int, default=full.passes, help="how often w3 reads each file")
    parser.add_argument("--batchctl", action="append", default=[], metavar="[NAME=]PATH", help="repeatable")
    parser.add_argument("--python", type=Path, help="of scripts and peers (default: made from the lock files)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the inputs, kept")
    parser.add_argument("--out", type=Path, help="write the laps here as JSON")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="publish the rounds in docs/performance.json")
    given = parser.parse_args(arguments)
    given.sizes = Sizes(given.items, given.rows, round(given.megabytes * 1e6), given.passes)
    if given.record and given.sizes != full:
        parser.error("what is published has its full size")
    given.only = given.only.split(",") if given.only else list(WORKLOADS)
    if unknown := [name for name in given.only if name not in WORKLOADS]:
        parser.error(f"there is no workload {', '.join(unknown)}")
    drivers = {peer.driver for peers in PEERS.values() for peer in peers}
    if unknown := sorted({*given.peers.split(",")} - {*drivers, "none"} if given.peers else ()):
        parser.error(f"there is no driver {', '.join(unknown)}; there are {', '.join(sorted(drivers))}")
    given.data = given.data.resolve()
    given.data.mkdir(parents=True, exist_ok=True)
    return given


def _contestants(inputs: Prepared, given: argparse.Namespace, *, python: Path) -> Iterator[Contestant]:
    for label, path in executables(given.batchctl).items():
        yield ours(label, path, inputs, python=python)
    wanted = {*given.peers.split(","), SERIAL.driver} if given.peers else None
    for peer in PEERS[inputs.workload.name]:
        if (wanted is None or peer.driver in wanted) and (peer.driver not in TOOLS or system_tools.find(peer.driver)):
            yield theirs(peer, inputs, python=python)


def executables(given: Sequence[str]) -> dict[str, str]:
    """By the name in the table; without any the one of this checkout, and the packaged file where there is one."""
    if not given:
        found = {"batchctl": SOURCE, "batchctl, packaged": PACKAGED}
        return {name: str(path) for name, path in found.items() if path.exists()}
    pairs = (text.partition("=") if "=" in text else (f"batchctl {text}", "", text) for text in given)
    return {name: path for name, _, path in pairs}


def _warm(inputs: Prepared) -> None:
    """Read all that there is to be read once: else whoever comes first would pay for all."""
    for line in inputs.listing.read_text(encoding="utf-8").splitlines():
        with Path(line).open("rb", buffering=0) as file:
            while file.read(1 << 20):
                pass


def _tell(one: Found) -> None:
    print(f"{one.workload} round {one.round + 1}: {one.name:<22} {one.wall_s:7.2f} s", flush=True)


def _versions(python: Path) -> dict[str, str]:
    command = [python, "-c", _VERSIONS, *_DISTRIBUTIONS]
    found: dict[str, str] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    if system_tools.find("parallel"):
        told = subprocess.run(["parallel", "--version"], check=True, capture_output=True, text=True).stdout
        found["parallel"] = told.splitlines()[0].split()[-1]
    return found


def _command(given: argparse.Namespace) -> str:
    peers = f" --peers {given.peers}" if given.peers else ""
    return f"python -m tests.bench --only {','.join(given.only)} --rounds {given.rounds}{peers} --record"


if __name__ == "__main__":
    sys.exit(main())
