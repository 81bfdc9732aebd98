"""What thread caps are worth: `python -m tests.bench.thread_caps --python ENV/bin/python [--library torch]`.

Two workers multiply matrices, through the real command, in interleaved rounds: capped, as batchctl does it (the cpus of
the slot, pinned to them); uncapped (OMP_NUM_THREADS and the like are the number of cpus), pinned all the same; and
uncapped and free, as workers are that nobody sizes. What is compared is the time of all run() calls together, from the
first's start to the last's end (the workers' own stamps), so that starting costs nothing here.
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

GOAL = 1.3  # capped, against free
CAPPED, UNCAPPED, FREE = "capped", "uncapped", "uncapped and free"
UNPIN = "import os\n\nos.sched_setaffinity(0, range(os.cpu_count()))\n"
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


def measure(batchctl: str, given: argparse.Namespace, *, how: str, work: Path) -> tuple[float, Lap]:
    """Seconds of scoring in one run, and the run from outside. SystemExit where it fails."""
    inputs, code, stamps, out = (work / name for name in ("in", "code", "stamps", "out"))
    for folder in (stamps, out):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (inputs, code, stamps):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(given.items):
        (inputs / f"{number:03d}.txt").touch()
    text = SCRIPTS[given.library].format(size=given.size, rounds=given.products) + STAMPED
    (code / "score.py").write_text((UNPIN if how == FREE else "") + text)
    argv = [batchctl, "run", str(code / "score.py"), str(inputs), "-o", str(out), "-q", "--python", given.python]
    argv += ["--workers", str(WORKERS), "--mini-batch-size", "1", "--env", f"BENCH_STAMPS={stamps}"]
    argv += ["--preload", given.library] if given.preload else []
    if how != CAPPED:
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
    parser.add_argument("--preload", action="store_true", help="with the library preloaded")
    parser.add_argument("--gate", action="store_true", help="exit 1 where the goal is missed")
    parser.add_argument("--batchctl", default=str(Path(sys.executable).parent / "batchctl"), help="the executable")
    given = parser.parse_args(arguments)
    names = [CAPPED, UNCAPPED, FREE]
    laps: dict[str, list[float]] = {name: [] for name in names}
    busiest = 0.0
    with tempfile.TemporaryDirectory(prefix="batchctl-bench-") as scratch:
        for number in range(given.rounds):
            for name in names if number % 2 else reversed(names):
                seconds, whole = measure(given.batchctl, given, how=name, work=Path(scratch))
                laps[name].append(seconds)
                busiest = max(busiest, whole.others)
                print(f"round {number + 1}: {name:<17} {seconds:6.2f} s, others {whole.others:.2f} cores", flush=True)
    print(f"\n{given.library}, {given.size} x {given.size}, {WORKERS} workers, {os.cpu_count()} cpus")
    for name, found in laps.items():
        ratios = [other / mine for other, mine in zip(found, laps[CAPPED], strict=True)]
        print(
            f"{name}: {statistics.median(found):.2f} s ({min(found):.2f}-{max(found):.2f}), "
            f"{statistics.median(ratios):.2f} of capped ({', '.join(f'{one:.2f}' for one in ratios)})"
        )
    ratio = statistics.median(other / mine for other, mine in zip(laps[FREE], laps[CAPPED], strict=True))
    print(f"capped is {ratio:.2f} times as fast as free; goal {GOAL:.1f}")
    if busiest > BUSY:
        print(
            f"others took up to {busiest:.2f} cores meanwhile: measure again on a quiet machine before believing this"
        )
    return 1 if given.gate and ratio < GOAL else 0


if __name__ == "__main__":
    sys.exit(main())
