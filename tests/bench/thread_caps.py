"""What thread caps are worth: `python -m tests.bench.thread_caps --python ENV/bin/python [--library torch]`.

Two workers multiply matrices, through the real command, in interleaved rounds: capped as batchctl caps them (the cpus
of the slot), and uncapped as users have it who set OMP_NUM_THREADS and the like to the number of cpus, in every worker.
What is compared is the time of all run() calls together, from the first's start to the last's end (the workers' own
stamps), so that starting costs nothing here. `--pin`: the pinning of both (default: batchctl's own).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from tests.bench.stopwatch import Lap, lap

GOAL = 1.3
WORKERS = 2
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
BUSY = 0.25  # cores that others may take before a round says little

SCRIPTS = {
    "numpy": """\
import numpy


def init():
    global weights
    weights = numpy.random.default_rng(1).standard_normal(({size}, {size})).astype("float32")


def score():
    rows = numpy.ones(({size}, {size}), dtype="float32")
    for _ in range({rounds}):
        rows = numpy.tanh(rows @ weights / {size})
    return float(rows.sum())
""",
    "torch": """\
import torch


def init():
    global model
    torch.manual_seed(1)
    layers = [layer for _ in range(4) for layer in (torch.nn.Linear({size}, {size}), torch.nn.ReLU())]
    model = torch.nn.Sequential(*layers).eval()


def score():
    with torch.inference_mode():
        rows = torch.ones({size}, {size})
        for _ in range(max(1, {rounds} // 4)):
            rows = model(rows)
    return round(float(rows.sum()), 3)
""",
}

STAMPED = """

import os
import time


def run(mini_batch):
    began = time.monotonic_ns()
    rows = [score() for _ in mini_batch]
    with open(os.path.join(os.environ["BENCH_STAMPS"], "%d" % os.getpid()), "a") as handle:
        handle.write("%d %d\\n" % (began, time.monotonic_ns()))
    return rows
"""


def measure(batchctl: str, given: argparse.Namespace, *, capped: bool, work: Path) -> tuple[float, Lap]:
    """Seconds of scoring in one run, and the run from outside. SystemExit where it fails."""
    inputs, code, stamps, out = (work / name for name in ("in", "code", "stamps", "out"))
    for folder in (stamps, out):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (inputs, code, stamps):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(given.items):
        (inputs / f"{number:03d}.txt").touch()
    text = SCRIPTS[given.library].format(size=given.size, rounds=given.products) + STAMPED
    (code / "score.py").write_text(text)
    argv = [batchctl, "run", str(code / "score.py"), str(inputs), "-o", str(out), "-q", "--python", given.python]
    argv += ["--workers", str(WORKERS), "--mini-batch-size", "1", "--env", f"BENCH_STAMPS={stamps}"]
    argv += ["--pin", given.pin] if given.pin else []
    argv += ["--preload", given.library] if given.preload else []
    if not capped:
        argv += [word for name in VARIABLES for word in ("--env", f"{name}={os.cpu_count()}")]
    plain = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    found = lap(argv, log=work / "log", env=plain)
    if found.code != 0:
        raise SystemExit(f"batchctl exited {found.code}: {found.said}")
    spans = [tuple(map(int, line.split())) for path in stamps.iterdir() for line in path.read_text().splitlines()]
    if len(spans) != given.items:
        raise SystemExit(f"{len(spans)} of {given.items} mini-batches were stamped")
    return (max(end for _, end in spans) - min(begin for begin, _ in spans)) / 1e9, found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="an interpreter that has the library")
    parser.add_argument("--library", choices=sorted(SCRIPTS), default="numpy")
    parser.add_argument("--size", type=int, default=256, help="rows and columns of a matrix")
    parser.add_argument("--products", type=int, default=400, help="matrix products an item")
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pin", default="", help="none, cores or numa")
    parser.add_argument("--preload", action="store_true", help="with the library preloaded")
    parser.add_argument("--gate", action="store_true", help="exit 1 where the goal is missed")
    parser.add_argument("--batchctl", default=str(Path(sys.executable).parent / "batchctl"), help="the executable")
    given = parser.parse_args(arguments)
    laps: dict[bool, list[float]] = {True: [], False: []}
    cpu: dict[bool, list[float]] = {True: [], False: []}
    busiest = 0.0
    with tempfile.TemporaryDirectory(prefix="batchctl-bench-") as scratch:
        for number in range(given.rounds):
            for capped in (True, False) if number % 2 else (False, True):
                seconds, whole = measure(given.batchctl, given, capped=capped, work=Path(scratch))
                laps[capped].append(seconds)
                cpu[capped].append(whole.cpu_s)
                busiest = max(busiest, whole.others)
                name = "capped" if capped else "uncapped"
                print(
                    f"round {number + 1}: {name:<8} {seconds:6.2f} s, {whole.cpu_s:6.2f} s of cpu, "
                    f"others {whole.others:.2f} cores",
                    flush=True,
                )
    pairs = list(zip(laps[False], laps[True], strict=True))
    ratio = statistics.median(uncapped / capped for uncapped, capped in pairs)
    print(f"\n{given.library}, {given.size} x {given.size}, {WORKERS} workers, {os.cpu_count()} cpus")
    for name, capped in (("capped", True), ("uncapped", False)):
        found = laps[capped]
        print(
            f"{name}: {statistics.median(found):.2f} s ({min(found):.2f}-{max(found):.2f}), "
            f"{statistics.median(cpu[capped]):.2f} s of cpu for the whole run"
        )
    ratios = ", ".join(f"{uncapped / capped:.2f}" for uncapped, capped in pairs)
    print(f"capped is {ratio:.2f} times as fast ({ratios}); goal {GOAL:.1f}")
    if busiest > BUSY:
        print(
            f"others took up to {busiest:.2f} cores meanwhile: measure again on a quiet machine before believing this"
        )
    return 1 if given.gate and ratio < GOAL else 0


if __name__ == "__main__":
    sys.exit(main())
