"""What durability costs: `python -m tests.bench.durability [--rounds 5] [--data FOLDER] [w1 w2 ...]`.

Each workload runs with its syncs as they are, with none (`off`: a sync returns at once), and with each 10 ms slower, in
interleaved rounds in shuffled order; ratios are those of one round. The syncs are changed from outside, by a library
that is compiled here and preloaded (sync_shim.c): batchctl itself has no switch for that. Wall time can hardly tell 5 %
on a shared machine, so the share of the loop that the workers stood still waiting for a commit is printed beside it
(stalls.py), and how many syncs there were before the loop, in it, and after it.

The inputs and the environments of the scripts are those of `python -m tests.bench`, made below --data and kept there.
`--record` publishes the ratios in docs/performance.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench import elsewhere, record
from tests.bench.__main__ import DATA
from tests.bench.contest import ours
from tests.bench.stopwatch import lap
from tests.bench.workloads import WORKLOADS, Prepared, Sizes, prepare
from tests.user_environments import make

SHIM = Path(__file__).with_name("sync_shim.c")
MODES = {"as they are": "real", "off": "off", "10 ms slower": "10000"}
ALL = ("w1", "w2", "w3", "w4", "w5")
BOUNDS = {"w1": (1.15, 1.30)}
OTHER_BOUNDS = (1.05, 1.15)


@dataclass(frozen=True, slots=True)
class Run:
    """One run, in seconds. `syncs`: (how many, seconds) before the loop, in it on its own thread, in it on another, and
    after it."""

    wall_s: float
    cpu_s: float
    loop_s: float
    stalled_s: float
    others: float
    syncs: tuple[tuple[int, float], ...]


def compiled(folder: Path) -> Path:
    """The library. SystemExit without a C compiler."""
    library = folder / "sync_shim.so"
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("not run: there is no C compiler here")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
    return library


def measure(inputs: Prepared, mode: str, *, python: Path, library: Path, work: Path) -> Run:
    """One run, to its end. SystemExit where it fails."""
    out, log, told = work / "out", work / "syncs", work / "stalls.json"
    shutil.rmtree(out, ignore_errors=True)
    log.write_bytes(b"")
    shipped = ours("batchctl", "batchctl", inputs, python=python).argv(out)
    argv = [sys.executable, "-m", "tests.bench.stalls", str(told), *shipped[1:]]
    environment = {**os.environ, "LD_PRELOAD": str(library), "SYNC_SHIM": MODES[mode], "SYNC_SHIM_LOG": str(log)}
    found = lap(argv, log=work / "log", env=environment)
    if found.code != 0:
        raise SystemExit(f"{inputs.workload.name} exited {found.code}: {found.said}")
    watch = json.loads(told.read_bytes())
    syncs = [[int(word) for word in line.split()] for line in log.read_text().splitlines()]
    if not syncs:
        raise SystemExit("no sync was seen: was the library loaded?")
    phases: list[list[int]] = [[], [], [], []]
    for began, took, main, *_ in syncs:
        inside = 1 if main else 2
        phases[0 if began < watch["began"] else inside if began < watch["ended"] else 3].append(took)
    return Run(
        found.wall_s,
        found.cpu_s,
        watch["loop"],
        watch["stalled"],
        found.others,
        tuple((len(phase), sum(phase) / 1e9) for phase in phases),
    )


def render(name: str, runs: dict[str, list[Run]]) -> tuple[str, bool]:
    """The table and the verdict, and whether both bounds are met."""
    lines = [
        f"{name}, {len(runs['off'])} rounds",
        "",
        "| syncs | wall s, median (min-max) | over off | cpu s | stood still, % of loop | before, in, after it | ms |",
        "|---|---|---|---|---|---|---|",
    ]
    medians = {}
    for mode, found in runs.items():
        walls = [one.wall_s for one in found]
        ratios = ratios_of(runs, mode)
        medians[mode] = statistics.median(ratios)
        counts = [statistics.median(one.syncs[at][0] for one in found) for at in range(4)]
        spent = [statistics.median(1000 * one.syncs[at][1] for one in found) for at in range(4)]
        still = statistics.median(100 * one.stalled_s / one.loop_s for one in found)
        lines.append(
            f"| {mode} | {statistics.median(walls):.2f} ({min(walls):.2f}-{max(walls):.2f}) | "
            f"{medians[mode]:.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)}) | "
            f"{statistics.median(one.cpu_s for one in found):.2f} | {still:.1f} | "
            f"{counts[0]:.0f}, {counts[1] + counts[2]:.0f}, {counts[3]:.0f} | "
            f"{spent[0]:.0f}, {spent[1] + spent[2]:.0f}, {spent[3]:.0f} |"
        )
    bounds = BOUNDS.get(name, OTHER_BOUNDS)
    ratios = [medians["as they are"], medians["10 ms slower"]]
    verdicts = ["met" if ratio <= bound else "missed" for ratio, bound in zip(ratios, bounds, strict=True)]
    lines += ["", f"syncs as they are: {ratios[0]:.2f} (bound {bounds[0]:.2f}, {verdicts[0]}); 10 ms slower: "]
    lines[-1] += f"{ratios[1]:.2f} (bound {bounds[1]:.2f}, {verdicts[1]})"
    return "\n".join(lines), verdicts == ["met", "met"]


def ratios_of(runs: dict[str, list[Run]], mode: str) -> list[float]:
    """Wall over that without syncs, by round."""
    return [one.wall_s / off.wall_s for one, off in zip(runs[mode], runs["off"], strict=True)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=["w1"], metavar="WORKLOAD", help=", ".join(ALL))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--items", type=int, help="files of each workload, for a short form")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the inputs, kept")
    parser.add_argument("--out", type=Path, help="write every run here as JSON")
    parser.add_argument("--gate", action="store_true", help="exit 1 where a bound is missed")
    parser.add_argument("--record", action="store_true", help="publish the ratios in docs/performance.json")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    if unknown := set(given.workloads) - set(ALL):
        parser.error(f"there is no workload {', '.join(sorted(unknown))}")
    if given.record and given.items:
        parser.error("what is published has its full size")
    dice, passed, everything = random.Random(given.seed), True, {}
    with tempfile.TemporaryDirectory(prefix="batchctl-bench-") as scratch:
        work = Path(scratch)
        library = compiled(work)
        for name in given.workloads:
            python = Path(sys.executable) if name == "w1" else make(WORKLOADS[name].environment)
            if python is None:
                print(f"not run: {name}: pip cannot install its environment here")
                continue
            inputs = prepare(WORKLOADS[name], given.data.resolve(), sizes=Sizes(given.items), python=python)
            runs: dict[str, list[Run]] = {mode: [] for mode in MODES}
            for number in range(given.rounds):
                for mode in dice.sample(list(MODES), len(MODES)):
                    run = measure(inputs, mode, python=python, library=library, work=work)
                    runs[mode].append(run)
                    print(f"{name}, round {number + 1}, {mode:<12} {run.wall_s:6.2f} s", flush=True)
            text, met = render(name, runs)
            print(f"\n{text}\n", flush=True)
            passed = passed and met
            everything[name] = {mode: [asdict(run) for run in found] for mode, found in runs.items()}
            if given.record:
                modes = {elsewhere.syncs(name, slower=False): "as they are"}
                modes[elsewhere.syncs(name, slower=True)] = "10 ms slower"
                told = {figure: ratios_of(runs, mode) for figure, mode in modes.items()}
                record.tell(told, command=f"python -m tests.bench.durability {name} --rounds {given.rounds} --record")
    if given.out:
        given.out.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    return 1 if given.gate and not passed else 0


if __name__ == "__main__":
    sys.exit(main())
