"""What it costs to leave the number of workers to batchctl: `python -m tests.bench.pilot [--python ENV/bin/python]`.

The real command, whole processes from exec to exit, a fresh OUT each time: `--workers auto` with nothing learned, auto
with what an earlier run has learned (`--hint`), and fixed numbers of workers, in interleaved rounds of shuffled order.
Workloads:

- skewed: W3 (skewed.py), SHA-256 of files of very unequal size, a file a mini-batch; next to no `init()`
- network: a transformer encoder in torch (network.py), where `--python` has torch
- tight: the network in a memory cgroup (`--limit`) so small that only one worker fits by assumption and two fit by
  measure: they start one after the other. What that costs is the price of not knowing.

What auto took is divided by the best fixed number of the same round. Every output is compared. Others: cores that
other programs took during a lap.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.bench.network import make_network
from tests.bench.skewed import make_skewed
from tests.bench.stopwatch import Lap, lap
from tests.doubles.memory_cgroup import memory_cgroup

AUTO, HINT = "auto", "auto, hint"
GOAL = 1.10  # auto's wall time over the best fixed number's of the same round, median
BUSY = 0.25  # cores that others may take before a round says little
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Load:
    """What is run: words of the command before the number of workers; `limit`: MiB of memory, 0 is the machine's."""

    name: str
    words: tuple[str, ...]
    rows: int
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A lap, and what the run's summary says of its crew."""

    lap: Lap
    workers: int
    reasons: tuple[str, ...]


def contestants(cpus: int, fixed: Sequence[int]) -> list[str]:
    chosen = fixed or sorted({number for number in (1, 2, 3, cpus) if number <= max(2, cpus)})
    return [AUTO, HINT, *map(str, chosen)]


@contextlib.contextmanager
def within(limit: int) -> Iterator[tuple[str, ...]]:
    """Words that confine a command to so many MiB."""
    if not limit:
        yield ()
        return
    with memory_cgroup(limit * MIB) as group:
        shell = shutil.which(group.prefix[0])
        assert shell
        yield (shell, *group.prefix[1:])


def measure(batchctl: str, load: Load, name: str, *, work: Path) -> Found:
    """One run into a fresh `work/out`. SystemExit where it fails."""
    out, learned = work / "out", work / f"learned-{load.name}"
    shutil.rmtree(out, ignore_errors=True)
    words = [*load.words, "--workers", "auto" if name in (AUTO, HINT) else name]
    words += ["--hint", str(learned)] if name == HINT else []
    with within(load.limit) as prefix:
        one = lap(
            [*prefix, batchctl, "run", *words, "-o", str(out), "-q", "--output-format", "azure"], log=work / "log"
        )
    if one.code != 0:
        raise SystemExit(f"{load.name}, {name}: exited {one.code}: {one.said}")
    if (out / "predictions.csv").read_bytes().count(b"\n") != load.rows:
        raise SystemExit(f"{load.name}, {name}: not every row is there, see {out}")
    summary = json.loads((out / ".batchctl" / "summary.json").read_text())
    if not learned.exists():
        learned.mkdir()
        shutil.copytree(out / ".batchctl", learned / ".batchctl")
    return Found(one, summary["workers"], tuple(summary["reasons"]))


def rounds_of(batchctl: str, load: Load, names: Sequence[str], *, rounds: int, work: Path) -> dict[str, list[Found]]:
    """By contestant. One run of auto before the first round warms the files and learns the footprint."""
    dice = random.Random(1)
    measure(batchctl, load, AUTO, work=work)
    wanted = (work / "out" / "predictions.csv").read_bytes()
    found: dict[str, list[Found]] = {name: [] for name in names}
    for number in range(rounds):
        for name in dice.sample(names, len(names)):
            one = measure(batchctl, load, name, work=work)
            if (work / "out" / "predictions.csv").read_bytes() != wanted:
                raise SystemExit(f"{load.name}, {name}: the rows are not those of the others")
            found[name].append(one)
            told = f"{one.lap.wall_s:6.2f} s, {one.workers} workers, others {one.lap.others:.2f} cores"
            print(f"{load.name} round {number + 1}: {name:<10} {told}", flush=True)
    return found


def ratios(found: Mapping[str, Sequence[Found]], name: str) -> list[float]:
    """Its wall time over that of the best fixed number, round by round."""
    fixed = [laps for other, laps in found.items() if other not in (AUTO, HINT)]
    best = [min(one.lap.wall_s for one in laps) for laps in zip(*fixed, strict=True)]
    return [one.lap.wall_s / least for one, least in zip(found[name], best, strict=True)]


def best_fixed(found: Mapping[str, Sequence[Found]]) -> str:
    """The number whose median is the least."""
    fixed = [name for name in found if name not in (AUTO, HINT)]
    return min(fixed, key=lambda name: statistics.median(one.lap.wall_s for one in found[name]))


def render(load: Load, found: Mapping[str, Sequence[Found]]) -> str:
    """Table and verdict."""
    lines = [f"{load.name}: {load.rows} files, {len(found[AUTO])} rounds, {os.cpu_count()} cpus"]
    lines[0] += f", {load.limit} MiB" if load.limit else ""
    head = (
        "| --workers | wall s, median (min-max) | over the best fixed of the round, median (all) | workers | others |"
    )
    lines += ["", head, "|---|---|---|---|---|"]
    for name, laps in found.items():
        walls = [one.lap.wall_s for one in laps]
        over = ratios(found, name)
        others = max(one.lap.others for one in laps)
        crew = ", ".join(map(str, sorted({one.workers for one in laps})))
        lines.append(
            f"| {name} | {statistics.median(walls):.2f} ({min(walls):.2f}-{max(walls):.2f}) | "
            f"{statistics.median(over):.2f} ({', '.join(f'{ratio:.2f}' for ratio in over)}) | "
            f"{statistics.median(one.lap.cpu_s for one in laps):.2f} | {crew} | {others:.2f} |"
        )
    lines += ["", *(f"  {reason}" for reason in found[AUTO][-1].reasons), ""]
    ratio = statistics.median(ratios(found, AUTO))
    medians = [statistics.median(one.lap.wall_s for one in found[name]) for name in (AUTO, best_fixed(found))]
    lines.append(
        f"auto over the best fixed number: {ratio:.2f} (median of rounds), {medians[0] / medians[1]:.2f} (median over "
        f"that of {best_fixed(found)}); the goal {GOAL:.2f} is {'met' if ratio <= GOAL else 'missed'}"
    )
    if max(one.lap.others for laps in found.values() for one in laps) > BUSY:
        lines.append("other programs took cpu time meanwhile: measure again on a quiet machine before believing this")
    return "\n".join(lines)


def loads_of(given: argparse.Namespace, data: Path) -> list[Load]:
    """The workloads, made below `data`."""
    found = []
    if "skewed" in given.load:
        inputs = make_skewed(data, 400, total=round(given.megabytes * 1e6), passes=given.passes)
        words = (str(inputs.script), str(inputs.folder), "--mini-batch-size", "1", "--python", sys.executable)
        found.append(Load("skewed", words, inputs.count))
    if {"network", "tight"} & set(given.load):
        network = make_network(data, given.python, count=given.items, passes=given.network_passes)
        words = (str(network.script), str(network.folder), "--mini-batch-size", "2", "--python", given.python)
        words += ("--model", str(network.model))
        print(f"torch {network.version}, weights of {(network.model / 'weights.pt').stat().st_size / 1e6:.0f} MB")
        found += [Load("network", words, network.count)] if "network" in given.load else []
        found += [Load("tight", words, network.count, given.limit)] if "tight" in given.load else []
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", action="append", choices=["skewed", "network", "tight"], help="repeatable")
    parser.add_argument("--python", help="an interpreter that has torch, for the network")
    parser.add_argument("--fixed", type=int, action="append", help="repeatable (default: 1, 2, 3 and the cpus)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=1500.0, help="of W3, all files together")
    parser.add_argument("--passes", type=int, default=8, help="how often W3's script reads each file")
    parser.add_argument("--items", type=int, default=120, help="inputs of the network")
    parser.add_argument("--network-passes", type=int, default=2, help="how often each goes through the network")
    parser.add_argument("--limit", type=int, default=3000, help="MiB of memory of the tight node")
    parser.add_argument("--out", type=Path, help="write every lap here as JSON")
    parser.add_argument("--gate", action="store_true", help="exit 1 where the goal is missed (tight has none)")
    parser.add_argument("--batchctl", default=str(Path(sys.executable).parent / "batchctl"), help="the executable")
    given = parser.parse_args(arguments)
    given.load = given.load or ["skewed", *(["network", "tight"] if given.python else [])]
    if given.python is None and {"network", "tight"} & set(given.load):
        parser.error("--python is needed for the network")
    names, kept, good = contestants(len(os.sched_getaffinity(0)), given.fixed or ()), {}, True
    with tempfile.TemporaryDirectory(prefix="batchctl-bench-") as scratch:
        for load in loads_of(given, Path(scratch) / "data"):
            try:
                found = rounds_of(given.batchctl, load, names, rounds=given.rounds, work=Path(scratch))
            except pytest.skip.Exception as why:  # no cgroup can be made
                print(f"{load.name}: {why}")
                continue
            print(f"\n{render(load, found)}\n", flush=True)
            kept[load.name] = {name: [asdict(one) for one in laps] for name, laps in found.items()}
            good = good and (load.name == "tight" or statistics.median(ratios(found, AUTO)) <= GOAL)
    if given.out:
        given.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return 1 if given.gate and not good else 0


if __name__ == "__main__":
    sys.exit(main())
