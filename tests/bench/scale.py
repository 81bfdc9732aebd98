"""From a thousand items to ten million: is every cost linear, and memory bounded? `python -m tests.bench.scale`.

Each size is planned, run by the real command with a script that does nothing, killed at 65 %, resumed, reported, and
resumed once more when it is finished. Prints a table; `--out docs/scale.json` keeps the figures, of which
`python -m tests.bench.scale_report` makes docs/scale.md and its plot. `--sizes 1000,10000` is a short form.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench import elsewhere, record
from tests.bench.scale_inputs import SCRIPT, Shape, make_tree
from tests.bench.stopwatch import Lap, lap

WORKERS = 2
CRASH_AT = 0.65
_CRASHES_FROM = 100_000  # items; fewer are done before anybody could hit them
_PSS_EVERY_S = 0.1
_TRIES = 5  # to kill a run of 0.3 s at 65 %
_LIMIT_S = 1800.0

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
_DEEP = 20_000  # calls: a tree is taken away by a function that calls itself for each folder
OTHER_SHAPES = (
    Shape("mini-batches of 1", 1_000_000, mini_batch=1),
    Shape("one folder", 1_000_000, per_folder=1_000_000),
    Shape("names of 255 bytes", 200_000, name_length=255),
    Shape("1,900 folders deep", 190_000, per_folder=100, nested=True),
    Shape("rows of 10 KB", 100_000, row=10_240),
)


class Watch:
    """Looks at a run from outside while it goes on; kills it once `crash_at` bytes of rows are written."""

    def __init__(self, out: Path, *, stamps: Path, crash_at: float | None = None, hold: Path | None = None) -> None:
        """`hold`: the FIFO at which workers wait; it goes with the crash."""
        self._out, self._stamps, self._crash_at, self._hold = out, stamps, crash_at, hold
        self._next_pss = 0.0
        self._began = time.monotonic()
        self.planned_s: float | None = None
        self.finishing_s: float | None = None
        self.crashed_ns = 0
        self.pss_mb = 0.0
        self.cpu_s = self.cpu_planned_s = self.cpu_at_work_s = self.cpu_until_finish_s = (
            0.0  # the coordinator's own, all its threads
        )

    def __call__(self, pid: int, seconds: float) -> None:
        self.cpu_s = cpu_s(pid) or self.cpu_s
        if not self.cpu_at_work_s and any(self._stamps.iterdir()):
            self.cpu_at_work_s = self.cpu_s
        if self.planned_s is None and (self._out / ".batchctl" / "plan").exists():
            self.planned_s, self.cpu_planned_s = seconds, self.cpu_s
        if self.finishing_s is None and self._is_finishing():
            self.finishing_s, self.cpu_until_finish_s = seconds, self.cpu_s
        if seconds >= self._next_pss:
            self._next_pss = seconds + _PSS_EVERY_S
            self.pss_mb = max(self.pss_mb, pss_mb(pid))
        if self._crash_at is not None and not self.crashed_ns:
            try:
                written = (self._out / "predictions.csv.partial").stat().st_size
            except FileNotFoundError:
                return
            if written >= self._crash_at:
                self.crashed_ns = time.monotonic_ns()
                if self._hold:
                    self._hold.unlink()
                os.kill(pid, signal.SIGKILL)

    def _is_finishing(self) -> bool:
        try:
            return b'"finishing"' in (self._out / ".batchctl" / "status.json").read_bytes()
        except FileNotFoundError:
            return False

    @property
    def first_run_ns(self) -> int:
        """When the first worker called run(), by the monotonic clock; 0: none has."""
        return min((int(path.read_text()) for path in self._stamps.iterdir()), default=0)


def pss_mb(pid: int) -> float:
    """Proportional resident memory of one process now, in MB (MiB); 0.0 once it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of one process so far; 0.0 once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    """One shape, in a folder of its own."""

    def __init__(self, batchctl: str, shape: Shape, *, tree: Path, work: Path, hold: bool = False) -> None:
        self.shape, self._batchctl = shape, batchctl
        self._hold = work / "hold" if hold else None
        self.out, self._stamps, self._log = work / "out", work / "stamps", work / "log"
        self._stamps.mkdir(parents=True)
        code = work / "code"
        code.mkdir()
        self._script = code / "score.py"
        self._script.write_text(SCRIPT, encoding="utf-8")
        self._asked = [str(self._script), str(tree), "--mini-batch-size", str(shape.mini_batch)]

    def command(self) -> list[str]:
        env = ["--env", f"BENCH_STAMPS={self._stamps}"]
        if self.shape.row:
            env += ["--env", f"BENCH_ROW={self.shape.row}"]
        if self._hold:
            env += ["--env", f"BENCH_HOLD={self._hold}"]
        return [
            *(self._batchctl, "run", *self._asked, "-o", str(self.out), "-q", *env),
            *("--workers", str(WORKERS), "--output-format", "azure", "--python", sys.executable),
        ]

    def lap(self, argv: list[str], watch: Watch | None = None, *, codes: tuple[int, ...] = (0,)) -> tuple[Lap, Watch]:
        for stamp in self._stamps.iterdir():
            stamp.unlink()
        watch = watch or Watch(self.out, stamps=self._stamps)
        found = lap(argv, log=self._log, watch=watch, limit_s=_LIMIT_S)
        if found.code not in codes:
            raise SystemExit(f"{' '.join(argv[1:3])} exited {found.code}: {found.said}")
        return found, watch

    def _told(self, name: str, found: Lap, watch: Watch) -> dict[str, Any]:
        said = {f"{name}_s": round(found.wall_s, 3), f"{name}_cpu_s": round(found.cpu_s, 2)}
        said[f"{name}_pss_mb"] = round(watch.pss_mb, 1)
        print(json.dumps({"items": self.shape.count, **said}), file=sys.stderr, flush=True)
        return said

    def measure(self) -> dict[str, Any]:
        """All phases. SystemExit where a command fails or a row is missing."""
        shape = self.shape
        found: dict[str, Any] = {"shape": shape.name, "items": shape.count, "mini_batches": shape.batches}
        found |= self._told("plan_sized", *self.lap([self._batchctl, "plan", *self._asked]))
        found |= self._run_to_the_end()
        for word in ("status", "failures", "verify"):
            found |= self._told(word, *self.lap([self._batchctl, word, str(self.out)]))
        found |= self._told("resume_finished", *self.lap(self.command()))
        if any(self._stamps.iterdir()):
            raise SystemExit("the resume of the finished run called run() again")
        run_directory = self.out / ".batchctl"
        for name, file in (("plan_file_mb", "plan"), ("log_mb", "checkpoint.log"), ("attempts_mb", "attempts.csv")):
            found[name] = round((run_directory / file).stat().st_size / 1e6, 2)
        if (size := (self.out / "predictions.csv").stat().st_size) != shape.output_bytes:
            raise SystemExit(f"{size} bytes of rows for {shape.output_bytes}")
        return found

    def costs(self) -> dict[str, float]:
        """What is looked at again: planning alone, and the coordinator until the crash."""
        planned, _ = self.lap([self._batchctl, "plan", *self._asked])
        for _ in range(_TRIES):
            shutil.rmtree(self.out, ignore_errors=True)
            crash = Watch(self.out, stamps=self._stamps, crash_at=CRASH_AT * self.shape.output_bytes)
            _, watch = self.lap(self.command(), crash, codes=(0, -signal.SIGKILL))
            if watch.crashed_ns:
                return dict(zip(elsewhere.COSTS, (planned.cpu_s, watch.cpu_s), strict=True))
        raise SystemExit(f"{self.shape.count} items are done before anybody can crash them")

    def _run_to_the_end(self) -> dict[str, Any]:
        """Planned, killed at 65 %, resumed; or in one go where it is too short to be hit."""
        shape = self.shape
        crash_at = CRASH_AT * shape.output_bytes if shape.count >= _CRASHES_FROM or self._hold else None
        if self._hold:
            os.mkfifo(self._hold)
        began = time.monotonic_ns()
        watch = Watch(self.out, stamps=self._stamps, crash_at=crash_at, hold=self._hold)
        first, watch = self.lap(self.command(), watch, codes=(0, -signal.SIGKILL))
        at_work_ns, last = watch.first_run_ns, watch
        found = {**self._told("run", first, watch), "plan_in_run_s": round(watch.planned_s or 0.0, 3)}
        found["plan_in_run_cpu_s"] = watch.cpu_planned_s
        found["first_run_s"] = round((at_work_ns - began) / 1e9, 3)
        done, until_ns, wall_s = 1.0, began + int((watch.finishing_s or first.wall_s) * 1e9), first.wall_s
        if first.code:
            done = (self.out / "predictions.csv.partial").stat().st_size / shape.output_bytes
            until_ns = watch.crashed_ns
            found |= {"done_at_crash": round(done, 3), "coordinator_cpu_s": watch.cpu_s}
            began = time.monotonic_ns()
            rest, last = self.lap(self.command())
            found |= self._told("rest", rest, last)
            found["resume_s"] = round((last.first_run_ns - began) / 1e9, 3)
            found["resume_cpu_s"] = last.cpu_at_work_s
            wall_s = rest.wall_s
        found["us_per_mini_batch"] = round((until_ns - at_work_ns) / 1e3 / (done * shape.batches), 1)
        found["finish_s"] = round(wall_s - (last.finishing_s or wall_s), 3)
        found["finish_cpu_s"] = round(last.cpu_s - (last.cpu_until_finish_s or last.cpu_s), 2)
        return found


def measure(batchctl: str, shape: Shape, *, data: Path, scratch: Path, hold: bool = False) -> dict[str, Any]:
    """A fresh OUT beside the inputs, gone afterwards. `hold`: the workers wait for the crash, however short the run."""
    with _bench(batchctl, shape, data=data, scratch=scratch, hold=hold) as bench:
        return bench.measure()


@contextmanager
def _bench(batchctl: str, shape: Shape, *, data: Path, scratch: Path, hold: bool = False) -> Iterator[Bench]:
    tree = make_tree(data, shape)
    work = Path(tempfile.mkdtemp(prefix="scale-", dir=scratch))
    try:
        yield Bench(batchctl, shape, tree=tree, work=work, hold=hold)
    finally:
        shutil.rmtree(work)


def again(batchctl: str, shapes: Sequence[Shape], *, rounds: int, data: Path, scratch: Path) -> list[elsewhere.Costs]:
    """Rounds over shapes of the curve, each in an order of its own: by items, what `Bench.costs` says."""

    def costs(shape: Shape) -> dict[str, float]:
        with _bench(batchctl, shape, data=data, scratch=scratch) as bench:
            return bench.costs()

    found: list[elsewhere.Costs] = []
    for number in range(rounds):
        order = random.Random(number).sample(shapes, len(shapes))
        found.append({shape.count: costs(shape) for shape in order})
        print(json.dumps({"round": number, "costs": found[-1]}), file=sys.stderr, flush=True)
    return found


def books(*, rounds: int) -> list[dict[int, dict[str, float]]]:
    """cpu seconds of each step of books.py, by mini-batches."""

    def run(mini_batches: int) -> dict[str, float]:
        command = [sys.executable, "-m", "tests.bench.books", str(mini_batches)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return {step["step"]: step["cpu_s"] for step in map(json.loads, said.splitlines())}

    return [{size: run(size) for size in elsewhere.BOOKS} for _ in range(rounds)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="items, comma separated; empty: none")
    parser.add_argument("--shapes", action=argparse.BooleanOptionalAction, default=True, help="the other shapes, too")
    parser.add_argument("--data", type=Path, help="folder for the generated inputs, kept (default: a temporary one)")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument("--rounds", type=int, default=5, help="of what is compared between sizes (default: 5)")
    parser.add_argument("--record", action="store_true", help="publish in docs/performance.json what has a bound there")
    parser.add_argument("--batchctl", default=str(Path(sys.executable).parent / "batchctl"), help="the executable")
    given = parser.parse_args(arguments)
    sys.setrecursionlimit(_DEEP)
    shapes = [Shape("", int(size)) for size in given.sizes.split(",") if size]
    shapes += [shape for shape in OTHER_SHAPES if given.shapes]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="batchctl-scale-") as scratch:
        data = (given.data or Path(scratch) / "data").resolve()
        data.mkdir(parents=True, exist_ok=True)
        for shape in shapes:
            rows.append(measure(given.batchctl, shape, data=data, scratch=Path(scratch)))
            print(json.dumps(rows[-1]), flush=True)
        curve = [shape for shape in shapes if not shape.name and shape.count in elsewhere.CURVE]
        rounds: list[elsewhere.Costs] = []
        if given.rounds and len(curve) == len(elsewhere.CURVE):
            rounds = again(given.batchctl, curve, rounds=given.rounds, data=data, scratch=Path(scratch))
    if given.out:
        given.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")
    if given.record:
        told = elsewhere.of_scale(rows)
        if rounds:
            told[elsewhere.OVER_LINEAR] = elsewhere.over_linear(rounds, books(rounds=given.rounds))
        record.tell(told, command="python -m tests.bench.scale --record")
    return 0


if __name__ == "__main__":
    sys.exit(main())
