"""How long a trivial run takes: `python -m tests.bench.start [--rounds 15] [--packaged dist/batchctl]`.

From the exec of batchctl to the first run() of a script that needs nothing (the worker's own stamp of the monotonic
clock), and to the exit of batchctl: one file, one worker, as installed in this environment and as the packaged file
(unpacked before), in interleaved rounds in shuffled order. Processor time of all its processes is printed beside:
it tells a slow start from a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.stopwatch import lap
from tests.bench.workload import make_inputs

BOUND_MS = 250


@dataclass(frozen=True, slots=True)
class Start:
    """Milliseconds; the first two from the exec of batchctl."""

    first_run_ms: float
    exit_ms: float
    cpu_ms: float


def measure(argv: Sequence[str], *, work: Path) -> Start:
    """One run into a new OUT. SystemExit where it fails."""
    out, stamps = work / "out", work / "stamps"
    for folder in (out, stamps):
        shutil.rmtree(folder, ignore_errors=True)
    stamps.mkdir()
    environment = {**os.environ, "BENCH_STAMPS": str(stamps)}
    found = lap([*argv, "-o", str(out), "--env", f"BENCH_STAMPS={stamps}"], log=work / "log", env=environment)
    began = time.monotonic_ns() - int(1e9 * found.wall_s)  # `lap` does more than the run itself
    if found.code != 0:
        raise SystemExit(f"{argv[0]} exited {found.code}: {found.said}")
    (stamp,) = stamps.iterdir()
    first = (int(stamp.read_text()) - began) / 1e6
    return Start(first, 1000 * found.wall_s, 1000 * found.cpu_s)


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batchctl", default=str(Path(sys.executable).parent / "batchctl"), help="as installed")
    parser.add_argument("--packaged", type=Path, default=Path("dist/batchctl"), help="left out where it is not there")
    parser.add_argument("--other", type=Path, help="another installed one, to be compared")
    parser.add_argument("--out", type=Path, help="write every round here as JSON")
    parser.add_argument("--gate", action="store_true", help="exit 1 where a median to the exit is above the bound")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    commands = {"source": given.batchctl}
    if given.packaged.is_file():
        commands["packaged"] = str(given.packaged.resolve())
    if given.other:
        commands["other"] = str(given.other.resolve())
    dice, found = random.Random(given.seed), {name: list[Start]() for name in commands}
    with tempfile.TemporaryDirectory(prefix="batchctl-bench-") as scratch:
        work = Path(scratch)
        inputs = make_inputs(work / "data", 1)
        for number in range(-1, given.rounds):  # one before the first: files in memory, the tree unpacked
            for name in dice.sample(list(commands), len(commands)):
                one = measure([commands[name], "run", str(inputs.script), str(inputs.folder), "-q"], work=work)
                if number >= 0:
                    found[name].append(one)
    print(f"{given.rounds} rounds, {os.cpu_count()} cpus, load {os.getloadavg()[0]:.1f}; ms, median (min-max)\n")
    print("| | exec to the first run() | exec to exit | | processor |\n|---|---|---|---|---|")
    passed = True
    for name, starts in found.items():
        met = statistics.median(one.exit_ms for one in starts) <= BOUND_MS
        passed = passed and met
        print(
            f"| {name} | {spread([one.first_run_ms for one in starts])} | {spread([one.exit_ms for one in starts])} | "
            f"{'ok' if met else 'OVER'} {BOUND_MS} | {spread([one.cpu_ms for one in starts])} |"
        )
    if given.out:
        given.out.write_text(json.dumps({name: [asdict(one) for one in of] for name, of in found.items()}, indent=1))
    return 1 if given.gate and not passed else 0


if __name__ == "__main__":
    sys.exit(main())
