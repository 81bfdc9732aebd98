"""What batchctl costs when the work is nothing: `python -m tests.bench.overhead [--rounds 5] [--items 200000]`.

Workload W1 (empty files in mini-batches of 10, run() returns base names, two workers), durable, beside
multiprocessing.Pool.imap_unordered with chunksize 1, which is not durable. Whole processes, start-up and planning
included; interleaved rounds in shuffled order, so that a slow minute of the machine hits all alike; every output is
compared. (Larger jobs: scale.py.)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench.stopwatch import Lap, lap
from tests.bench.workload import MINI_BATCH, WORKERS, Inputs, make_inputs

RIVAL = "Pool.imap_unordered"
FOLDER = "batchctl, folder"
LISTED = "batchctl, @list"
GOAL = 1.0  # the median of batchctl's wall time (folder) over the rival's in the same round
BUSY = 0.25  # cores that others may take before a round says little


def batchctl_command(batchctl: str, inputs: Inputs, given: str, out: Path) -> list[str]:
    return [
        *(batchctl, "run", str(inputs.script), given, "-o", str(out), "-q"),
        *("--workers", str(WORKERS), "--mini-batch-size", str(MINI_BATCH), "--output-format", "azure"),
        *("--python", sys.executable),
    ]


def commands(batchctl: str, inputs: Inputs, out: Path) -> dict[str, list[str]]:
    rival = str(Path(__file__).with_name("rival.py"))
    return {
        RIVAL: [sys.executable, rival, str(inputs.script), str(inputs.listing), str(out / "predictions.csv")],
        FOLDER: batchctl_command(batchctl, inputs, str(inputs.folder), out),
        LISTED: batchctl_command(batchctl, inputs, f"@{inputs.listing}", out),
    }


def measure(batchctl: str, inputs: Inputs, *, rounds: int, work: Path, seed: int) -> dict[str, list[Lap]]:
    """Laps by contestant, one a round. SystemExit where one failed or its rows are not those of the input."""
    dice = random.Random(seed)
    wanted = _digest_of(sorted(os.path.basename(path) for path in inputs.listing.read_bytes().split(b"\n") if path))
    laps: dict[str, list[Lap]] = {}
    for number in range(rounds):
        names = list(commands(batchctl, inputs, work))
        dice.shuffle(names)
        for name in names:
            out = work / "out"
            shutil.rmtree(out, ignore_errors=True)
            if name == RIVAL:
                out.mkdir()
            found = lap(commands(batchctl, inputs, out)[name], log=work / "log")
            if found.code != 0:
                raise SystemExit(f"{name} exited {found.code}: {found.said}")
            if _digest_of(sorted((out / "predictions.csv").read_bytes().splitlines())) != wanted:
                raise SystemExit(f"{name}: the rows are not those of the input; see {out}")
            laps.setdefault(name, []).append(found)
            print(f"round {number + 1}: {name:<20} {found.wall_s:6.2f} s, others {found.others:.2f} cores", flush=True)
    return laps


def _digest_of(names: list[bytes]) -> str:
    return hashlib.sha256(b"\n".join(names)).hexdigest()


def findings(laps: dict[str, list[Lap]], *, items: int) -> dict[str, Any]:
    """Medians, spread, and the ratios to the rival of the same round."""
    batches = -(-items // MINI_BATCH)
    rival = [found.wall_s for found in laps[RIVAL]]
    table: dict[str, dict[str, Any]] = {}
    for name, found in laps.items():
        walls = [one.wall_s for one in found]
        ratios = [mine / theirs for mine, theirs in zip(walls, rival, strict=True)]
        table[name] = {
            "wall_s": round(statistics.median(walls), 3),
            "fastest_s": round(min(walls), 3),
            "slowest_s": round(max(walls), 3),
            "cpu_s": round(statistics.median(one.cpu_s for one in found), 2),
            "us_per_mini_batch": round(statistics.median(walls) / batches * 1e6, 1),
            "others": round(max(one.others for one in found), 2),
            "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
        }
    ratio = table[FOLDER]["ratio"]
    return {"items": items, "mini_batches": batches, "rounds": len(rival), "table": table, "ratio": ratio}


def render(found: dict[str, Any]) -> str:
    """The table and the verdict."""
    table = found["table"]
    lines = [
        f"{found['items']} items, {found['mini_batches']} mini-batches, {WORKERS} workers, {found['rounds']} rounds",
        "",
        "| | wall s, median (min-max) | CPU s | us per mini-batch | others, cores | ratio, median (all) |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in table.items():
        ratios = ", ".join(f"{ratio:.2f}" for ratio in row["ratios"])
        lines.append(
            f"| {name} | {row['wall_s']:.2f} ({row['fastest_s']:.2f}-{row['slowest_s']:.2f}) | {row['cpu_s']:.2f} | "
            f"{row['us_per_mini_batch']:.0f} | {row['others']:.2f} | {row['ratio']:.2f} ({ratios}) |"
        )
    verdict = "met" if found["ratio"] <= GOAL else "missed"
    lines += ["", f"ratio, {FOLDER}, median: {found['ratio']:.2f}; the goal of {GOAL:.2f} is {verdict}"]
    if max(row["others"] for row in table.values()) > BUSY:
        lines.append("other programs took cpu time meanwhile: measure again on a quiet machine before believing this")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--data", type=Path, help="folder for the generated inputs, kept (default: a temporary one)")
    parser.add_argument("--out", type=Path, help="write the findings here as JSON")
    parser.add_argument("--gate", action="store_true", help="exit 1 where a goal is missed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batchctl", default=str(Path(sys.executable).parent / "batchctl"), help="the executable")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="batchctl-bench-") as scratch:
        work = Path(scratch)
        inputs = make_inputs((given.data or work / "data").resolve(), given.items)
        laps = measure(given.batchctl, inputs, rounds=given.rounds, work=work, seed=given.seed)
        found = findings(laps, items=given.items)
        found["laps"] = {name: [asdict(one) for one in all_of] for name, all_of in laps.items()}
        text, passed = render(found), found["ratio"] <= GOAL
    print("\n" + text)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if given.gate and not passed else 0


if __name__ == "__main__":
    sys.exit(main())
