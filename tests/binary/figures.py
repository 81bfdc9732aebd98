"""The packaged file's figures beside their bounds: `python -m tests.binary.figures [--rounds N] [--json FILE]`.

Medians of at least seven runs, (fastest-slowest). Times depend on what else the machine does, so they are printed and
never asserted; sizes are asserted by test_size.py. Processor time, of all processes of a command together, is printed
beside them: it tells a slow command from a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.binary import packaged
from tests.binary.packaged import Packaged, trees
from tests.binary.scoring import Scoring

TOGETHER = 20
MIB, MB = 1 << 20, 10**6


@dataclass(frozen=True, slots=True)
class Figure:
    """One line. `bound` and the values in `unit`; no bound: 0."""

    name: str
    unit: str
    bound: float
    values: tuple[float, ...]
    processor_ms: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def line(self) -> str:
        shown = f"{self.median:.4g}"
        if len(self.values) > 1:
            shown += f" ({min(self.values):.4g}-{max(self.values):.4g})"
        bound = f"<= {self.bound:g}" if self.bound else "-"
        verdict = "" if not self.bound else "ok" if self.median <= self.bound else "OVER"
        used = f"{statistics.median(self.processor_ms):.4g}" if self.processor_ms else ""
        return f"| {self.name} | {self.unit} | {shown} | {bound} | {verdict} | {used} |"


def timed(name: str, bound: float, rounds: int, one: Callable[[int], float]) -> Figure:
    """Milliseconds of `one(number)`, which returns seconds."""
    values, used = [], []
    for number in range(rounds):
        before = processor_s()
        values.append(1000 * one(number))
        used.append(1000 * (processor_s() - before))
    return Figure(name, "ms", bound, tuple(values), tuple(used))


def processor_s() -> float:
    """Of all children so far that were waited for, with theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def warm_figures(warm: Packaged, work: Path, rounds: int) -> list[Figure]:
    job = Scoring(warm, work / "job")
    job.script("def run(mini_batch):\n    return list(mini_batch)\n")
    job.items({"one.txt": "1"})
    job.run(out="out").expect(0)

    def run(number: int, *flags: str) -> float:
        return job.run("-q", *flags, out=f"out-{number}-{len(flags)}").expect(0).seconds

    def said(*words: str) -> Callable[[int], float]:
        return lambda _: warm.run(*words, cwd=job.folder).expect(0).seconds

    def pandas(_: int) -> float:
        code = "import pandas, pyarrow"
        return warm.run("--batchctl-embedded-python", "-c", code).expect(0).seconds

    user = ("--python", sys.executable)
    return [
        timed("warm --version", 60, rounds, said("--version")),
        timed("warm status", 150, rounds, said("status", "out")),
        timed("warm trivial run, one worker, embedded Python", 250, rounds, run),
        timed("warm trivial run, one worker, the user's Python", 250, rounds, lambda number: run(number, *user)),
        timed("import pandas and pyarrow, embedded Python", 0, rounds, pandas),
    ]


def first_run(cold: Packaged) -> float:
    shutil.rmtree(cold.cache, ignore_errors=True)
    return cold.run("--version").expect(0).seconds


def together(cold: Packaged) -> float:
    shutil.rmtree(cold.cache, ignore_errors=True)
    with ThreadPoolExecutor(TOGETHER) as threads:
        found = list(threads.map(lambda _: cold.run("--version"), range(TOGETHER)))
    bad = [ran for ran in found if ran.code != 0]
    if bad or trees(cold.cache) != [cold.tree.name]:
        raise SystemExit(f"{TOGETHER} at once: {bad or trees(cold.cache)}")
    return max(ran.seconds for ran in found)


def figures(file: Path, work: Path, *, rounds: int) -> list[Figure]:
    """Every figure, in the order of the acceptance table."""
    home = work / "home"
    home.mkdir()
    cold, warm = Packaged(file, work / "cold", home), Packaged(file, work / "warm", home)
    warm.run("--version").expect(0)
    held = [path for path in warm.tree.rglob("*") if path.is_file()]
    found = [
        Figure("size of the file", "MiB", 60, (file.stat().st_size / MIB,)),
        Figure("unpacked", "MB", 190, (sum(path.lstat().st_size for path in held) / MB,)),
        Figure("unpacked", "files", 220, (float(len(held)),)),
    ]
    found += warm_figures(warm, work, rounds)
    found.append(timed("first run, empty cache", 1500, rounds, lambda _: first_run(cold)))
    found.append(timed(f"{TOGETHER} at once, empty cache, the slowest", 4000, rounds, lambda _: together(cold)))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="runs of each (at least 7)")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--work", type=Path, help="folder on the disk to measure (default: a temporary one)")
    given = parser.parse_args()
    if not packaged.FILE.is_file():
        print(f"not run: {packaged.ABSENT}")
        return 0
    with tempfile.TemporaryDirectory(prefix="batchctl-figures-", dir=given.work) as folder:
        found = figures(packaged.FILE, Path(folder), rounds=max(7, given.rounds))
    print(f"{packaged.FILE}, {os.cpu_count()} cpus, load {os.getloadavg()[0]:.1f}\n")
    print("| figure | unit | median (fastest-slowest) | bound | | processor, ms |\n|---|---|---|---|---|---|")
    print("\n".join(figure.line() for figure in found))
    if given.json:
        given.json.write_text(json.dumps([asdict(figure) for figure in found], indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
