"""What looking at inputs costs when the work is nothing: `python -m tests.bench.input_check`.

W1 (see workloads.py) with input_check never, auto and always; whole processes, interleaved rounds in shuffled order.
The ratios are those of cpu time to `never` of the same round. On an overloaded machine `auto` looks more often:
a run() that is kept waiting for a cpu takes longer, and so earns more.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from batchctl.model.job import InputCheck
from tests.bench.contest import ours
from tests.bench.stopwatch import Lap, lap
from tests.bench.workloads import WORKLOADS, Prepared, Sizes, prepare


def measure(batchctl: str, inputs: Prepared, *, rounds: int, work: Path, seed: int) -> dict[InputCheck, list[Lap]]:
    """Laps by rule, one a round. SystemExit where one failed."""
    dice = random.Random(seed)
    laps: dict[InputCheck, list[Lap]] = {rule: [] for rule in InputCheck}
    for _ in range(rounds):
        for rule in dice.sample(list(InputCheck), k=len(InputCheck)):
            out = work / "out"
            shutil.rmtree(out, ignore_errors=True)
            command = [*ours(rule, batchctl, inputs, python=Path(sys.executable)).argv(out), "--input-check", rule]
            found = lap(command, log=work / "log")
            if found.code != 0:
                raise SystemExit(f"{rule} exited {found.code}: {found.said}")
            laps[rule].append(found)
    return laps


def render(laps: dict[InputCheck, list[Lap]]) -> str:
    lines = ["| input_check | wall s | cpu s | cpu over never, median (all) |", "|---|---|---|---|"]
    for rule, found in laps.items():
        pairs = zip(found, laps[InputCheck.NEVER], strict=True)
        ratios = sorted(mine.cpu_s / theirs.cpu_s for mine, theirs in pairs)
        wall, cpu = (
            statistics.median(values) for values in zip(*((one.wall_s, one.cpu_s) for one in found), strict=True)
        )
        every = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        lines.append(f"| {rule} | {wall:.2f} | {cpu:.2f} | {statistics.median(ratios):.2f} ({every}) |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batchctl", default=str(Path(sys.executable).parent / "batchctl"), help="the executable")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="batchctl-bench-") as scratch:
        work = Path(scratch)
        python = Path(sys.executable)
        inputs = prepare(WORKLOADS["w1"], work / "data", sizes=Sizes(given.items), python=python)
        print(render(measure(given.batchctl, inputs, rounds=given.rounds, work=work, seed=given.seed)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
