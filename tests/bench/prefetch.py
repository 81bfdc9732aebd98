"""Would it pay to advise the kernel of the files to come? `python -m tests.bench.prefetch [--files 20000] [--kib 2]`.

batchctl has no such setting; this is the measurement that it would have to pass. The script below reads and parses
JSON files, and where it is asked to, advises (POSIX_FADV_WILLNEED) those that a worker with some credits would know to
be its next: four mini-batches ahead of what it is given, each file once in one worker or another. Before each run the
files leave the page cache (POSIX_FADV_DONTNEED; names and inodes stay), or are read, for `warm`. Interleaved rounds in
shuffled order, two workers; ratios are those of one round.
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
from pathlib import Path

from tests.bench.stopwatch import Lap, lap
from tests.bench.workload import MINI_BATCH, WORKERS

SCRIPT = """\
import json
import os

ahead = int(os.environ["BENCH_AHEAD"])
root = os.environ["BENCH_FILES"]


def init():
    pass


def run(mini_batch):
    if ahead:
        number = int(os.path.basename(mini_batch[0])[:7]) + ahead * len(mini_batch)
        for at in range(number, number + len(mini_batch)):
            try:
                fd = os.open(os.path.join(root, "d%03d" % (at // 1000), "%07d.json" % at), os.O_RDONLY)
            except FileNotFoundError:  # behind the last one
                break
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
            os.close(fd)
    rows = []
    for path in mini_batch:
        with open(path, "rb") as handle:
            found = json.load(handle)
        rows.append("%d,%d" % (found["id"], len(found["words"])))
    return rows
"""
CASES = {"warm": 0, "cold": 0, "cold, advised": 4, "warm, advised": 4}


def make_files(folder: Path, *, files: int, kib: int) -> list[Path]:
    words = ["word"] * (kib * 128)  # 8 bytes each as JSON
    found = []
    for number in range(files):
        path = folder / f"d{number // 1000:03d}" / f"{number:07d}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"id": number, "words": words}), encoding="ascii")
        found.append(path)
    return found


def prepare(files: list[Path], *, cold: bool) -> None:
    """Have the files' content in the page cache, or out of it."""
    for path in files:
        fd = os.open(path, os.O_RDONLY)
        if cold:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            while os.read(fd, 1 << 20):
                pass
        os.close(fd)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--kib", type=int, default=2, help="size of each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batchctl", default=str(Path(sys.executable).parent / "batchctl"), help="the executable")
    given = parser.parse_args(arguments)
    dice, laps = random.Random(given.seed), {name: list[Lap]() for name in CASES}
    with tempfile.TemporaryDirectory(prefix="batchctl-bench-") as scratch:
        work = Path(scratch)
        script, out = work / "code" / "score.py", work / "out"
        script.parent.mkdir()
        script.write_text(SCRIPT, encoding="utf-8")
        files = make_files(work / "in", files=given.files, kib=given.kib)
        os.sync()  # what is dirty does not leave the cache
        for number in range(given.rounds):
            for name in dice.sample(list(CASES), len(CASES)):
                shutil.rmtree(out, ignore_errors=True)
                prepare(files, cold=name.startswith("cold"))
                argv = [given.batchctl, "run", str(script), str(work / "in"), "-o", str(out), "-q"]
                argv += ["--workers", str(WORKERS), "--mini-batch-size", str(MINI_BATCH), "--python", sys.executable]
                argv += ["--env", f"BENCH_AHEAD={CASES[name]}", "--env", f"BENCH_FILES={work / 'in'}"]
                found = lap(argv, log=work / "log")
                if found.code != 0:
                    raise SystemExit(f"{name} exited {found.code}: {found.said}")
                laps[name].append(found)
                print(f"round {number + 1}: {name:<14} {found.wall_s:6.2f} s", flush=True)
    print(f"\n{given.files} files of {given.kib} KiB, {given.rounds} rounds, {os.cpu_count()} cpus\n")
    print("| | wall s, median (min-max) | over cold, same round | cpu s |\n|---|---|---|---|")
    for name, of in laps.items():
        walls = [one.wall_s for one in of]
        ratios = [one.wall_s / cold.wall_s for one, cold in zip(of, laps["cold"], strict=True)]
        print(
            f"| {name} | {statistics.median(walls):.2f} ({min(walls):.2f}-{max(walls):.2f}) | "
            f"{statistics.median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)}) | "
            f"{statistics.median(one.cpu_s for one in of):.2f} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
