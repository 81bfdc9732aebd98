"""What largest first is worth: `python -m tests.bench.skew [--rounds 5] [--megabytes 1500] [--passes 1]`.

Workload W3 (log-normal sizes of 1 KB to 50 MB, SHA-256 of each, a file a mini-batch) with two workers, durable, in both
schedules, beside one plain loop over the same files. Whole processes, start-up and planning included; interleaved
rounds in shuffled order; every output is compared. The ideal of a round is the loop's start and half of its work.
"start" is a run over one small file: what batchctl takes in any case. `--passes` reads each file so often: more work in
the same proportions, where a machine is through with 1.5 GB too soon to tell.

Then the durations of attempts.csv (medians over rounds) are dealt out to 2, 8 and 32 simulated workers by the real file
queue (see makespan.py). The tail is what a makespan has beyond what no order can undercut.
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batchctl.plan.largest import largest_first
from tests.bench.contest import SERIAL, WORKERS, theirs
from tests.bench.makespan import Makespan, recorded, simulate
from tests.bench.skewed import Skewed, make_skewed
from tests.bench.stopwatch import Lap, lap
from tests.bench.workloads import WORKLOADS, Prepared

LOOP, START = SERIAL.name, "start"
PLAN, LARGEST = "plan", "largest-first"
SIMULATED = (2, 8, 32)
GOAL = 1.10  # the median of largest first's wall time over the ideal of the same round
TAIL_GOAL = 0.5  # its simulated tail over that of plan order, at 8 workers and more
BUSY = 0.25  # cores that others may take before a round says little


def command(name: str, batchctl: str, inputs: Skewed, out: Path) -> tuple[list[str], dict[str, str]]:
    """The words, and what is added to the environment."""
    if name == LOOP:
        files = Prepared(WORKLOADS["w3"], inputs.script, inputs.folder, inputs.listing, inputs.count, inputs.count)
        loop = theirs(SERIAL, files, python=Path(sys.executable))
        return loop.argv(out), dict(loop.environment(out))
    folder, schedule = (inputs.tiny, PLAN) if name == START else (inputs.folder, name)
    return [
        *(batchctl, "run", str(inputs.script), str(folder), "-o", str(out), "-q", "--schedule", schedule),
        *("--workers", str(WORKERS), "--mini-batch-size", "1", "--output-format", "azure", "--python", sys.executable),
    ], {}


class Rounds:
    """Laps by contestant, and the durations of each mini-batch, one a run."""

    def __init__(self) -> None:
        self.laps: dict[str, list[Lap]] = {LOOP: [], START: [], PLAN: [], LARGEST: []}
        self.work: list[float] = []
        self.durations: dict[int, list[float]] = {}

    def add(self, name: str, found: Lap, out: Path) -> None:
        self.laps[name].append(found)
        if name == LOOP:
            self.work.append(float(json.loads(found.said.splitlines()[-1])["work_s"]))
        if name not in (PLAN, LARGEST):
            return
        for batch, seconds in recorded(out).items():
            self.durations.setdefault(batch, []).append(seconds)

    @property
    def ideals(self) -> list[float]:
        walls = [found.wall_s for found in self.laps[LOOP]]
        return [wall - work + work / WORKERS for wall, work in zip(walls, self.work, strict=True)]

    def medians(self) -> list[float]:
        return [statistics.median(self.durations[batch]) for batch in sorted(self.durations)]


def measure(batchctl: str, inputs: Skewed, *, rounds: int, work: Path, seed: int) -> Rounds:
    """SystemExit where a contestant failed or its rows are not those of the others."""
    dice, found, wanted = random.Random(seed), Rounds(), b""
    for number in range(rounds):
        names = list(found.laps)
        dice.shuffle(names)
        for name in names:
            out = work / "out"
            shutil.rmtree(out, ignore_errors=True)
            if name == LOOP:
                out.mkdir()
            argv, added = command(name, batchctl, inputs, out)
            one = lap(argv, log=work / "log", env={**os.environ, **added})
            if one.code != 0:
                raise SystemExit(f"{name} exited {one.code}: {one.said}")
            if name != START:
                rows = (out / "predictions.csv").read_bytes()
                wanted = wanted or rows
                if rows != wanted or len(rows.splitlines()) != inputs.count:
                    raise SystemExit(f"{name}: the rows are not those of the others; see {out}")
            found.add(name, one, out)
            print(f"round {number + 1}: {name:<14} {one.wall_s:6.2f} s, others {one.others:.2f} cores", flush=True)
    return found


def simulated(durations: Sequence[float], inputs: Skewed) -> dict[int, dict[str, Makespan]]:
    """By number of workers and schedule."""
    paths = inputs.listing.read_text(encoding="utf-8").splitlines()
    sizes = [Path(path).stat().st_size for path in paths]
    orders = {PLAN: None, LARGEST: largest_first(range(len(sizes) + 1), sizes)}
    return {
        workers: {name: simulate(durations, order, workers=workers) for name, order in orders.items()}
        for workers in SIMULATED
    }


def findings(rounds: Rounds, spans: Mapping[int, Mapping[str, Makespan]]) -> dict[str, Any]:
    """Medians, spread, ratios to the ideal of the same round; tails."""
    ideals = rounds.ideals
    table = {}
    for name, laps in rounds.laps.items():
        walls = [one.wall_s for one in laps]
        ratios = [wall / ideal for wall, ideal in zip(walls, ideals, strict=True)]
        table[name] = {
            "wall_s": [round(wall, 3) for wall in walls],
            "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "others": round(max(one.others for one in laps), 2),
        }
    tails = {
        workers: {
            name: {
                "makespan_s": round(span.seconds, 3),
                "bound_s": round(span.bound, 3),
                "tail_s": round(span.tail, 3),
                "idle_s": round(span.seconds - span.idle_from, 3),
            }
            for name, span in by_name.items()
        }
        for workers, by_name in spans.items()
    }
    return {"ideal_s": [round(ideal, 3) for ideal in ideals], "table": table, "simulated": tails}


def passed(found: Mapping[str, Any]) -> tuple[bool, bool]:
    """Are the goals met: the wall time, the tails?"""
    tails = [row for workers, row in found["simulated"].items() if workers > WORKERS]
    short = all(row[LARGEST]["tail_s"] <= TAIL_GOAL * row[PLAN]["tail_s"] for row in tails)
    return found["table"][LARGEST]["ratio"] <= GOAL, short


def render(found: Mapping[str, Any], inputs: Skewed) -> str:
    """The two tables and the verdicts."""
    ideals = found["ideal_s"]
    lines = [
        f"{inputs.count} files, {inputs.total / 1e6:.0f} MB, {WORKERS} workers, {len(ideals)} rounds",
        "",
        "| | wall s, median (min-max) | over the ideal, median (all) | others, cores |",
        "|---|---|---|---|",
        f"| ideal | {_spread(ideals)} | 1.00 | |",
    ]
    for name, row in found["table"].items():
        ratios = ", ".join(f"{ratio:.2f}" for ratio in row["ratios"])
        lines.append(f"| {name} | {_spread(row['wall_s'])} | {row['ratio']:.2f} ({ratios}) | {row['others']:.2f} |")
    lines += [
        "",
        "| simulated workers | bound | plan: makespan s, tail | largest first: likewise | tails, ratio | idle to end |",
        "|---|---|---|---|---|---|",
    ]
    for workers, by_name in found["simulated"].items():
        plan, largest = by_name[PLAN], by_name[LARGEST]
        ratio = f"{largest['tail_s'] / plan['tail_s']:.2f}" if plan["tail_s"] else "-"
        spans = " | ".join(f"{one['makespan_s']:.3f}, {one['tail_s']:.3f}" for one in (plan, largest))
        idle = f"{plan['idle_s']:.3f}, {largest['idle_s']:.3f}"
        lines.append(f"| {workers} | {plan['bound_s']:.3f} | {spans} | {ratio} | {idle} |")
    fast, short = ("met" if good else "missed" for good in passed(found))
    lines += [
        "",
        f"largest first over the ideal, median: {found['table'][LARGEST]['ratio']:.2f}; the goal {GOAL:.2f} is {fast}",
        f"tails at more than {WORKERS} workers, at most {TAIL_GOAL:g} of plan order's: {short}",
    ]
    if max(row["others"] for row in found["table"].values()) > BUSY:
        lines.append("other programs took cpu time meanwhile: measure again on a quiet machine before believing this")
    return "\n".join(lines)


def _spread(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--megabytes", type=float, default=1500.0, help="of all files together")
    parser.add_argument("--passes", type=int, default=1, help="how often the script reads each file")
    parser.add_argument("--data", type=Path, help="folder for the generated inputs, kept (default: a temporary one)")
    parser.add_argument("--out", type=Path, help="write the findings here as JSON")
    parser.add_argument("--gate", action="store_true", help="exit 1 where a goal is missed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batchctl", default=str(Path(sys.executable).parent / "batchctl"), help="the executable")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="batchctl-bench-") as scratch:
        work = Path(scratch)
        data = (given.data or work / "data").resolve()
        inputs = make_skewed(data, given.items, total=round(given.megabytes * 1e6), passes=given.passes)
        rounds = measure(given.batchctl, inputs, rounds=given.rounds, work=work, seed=given.seed)
        found = findings(rounds, simulated(rounds.medians(), inputs))
    print("\n" + render(found, inputs))
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if given.gate and not all(passed(found)) else 0


if __name__ == "__main__":
    sys.exit(main())
