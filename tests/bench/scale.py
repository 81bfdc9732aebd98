"""From a thousand items to ten million: is every cost linear, and memory bounded? `python -m tests.bench.scale`.

Each size is planned, run by the real command with a script that does nothing, killed at 65 %, resumed, reported, and
resumed once more when it is finished. Prints a table; `--out docs/scale.json` keeps the figures, of which
`python -m tests.bench.scale_report` makes docs/scale.md and its plot. `--sizes 1000,10000` is a short form.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.scale_inputs import SCRIPT, Shape, make_tree
from tests.bench.stopwatch import Lap, lap

WORKERS = 2
CRASH_AT = 0.65
_CRASHES_FROM = 100_000  # items; fewer are done before anybody could hit them
_PSS_EVERY_S = 0.1
_LIMIT_S = 1800.0

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
OTHER_SHAPES = (
    Shape("mini-batches of 1", 1_000_000, mini_batch=1),
    Shape("one folder", 1_000_000, per_folder=1_000_000),
    Shape("names of 255 bytes", 200_000, name_length=255),
    Shape("1,900 folders deep", 190_000, per_folder=100, nested=True),
    Shape("rows of 10 KB", 100_000, row=10_240),
)


class Watch:
    """Looks at a run from outside while it goes on; kills it once `crash_at` bytes of rows are written."""

    def __init__(self, out: Path, *, stamps: Path, crash_at: float | None = None) -> None:
        self._out, self._stamps, self._crash_at = out, stamps, crash_at
        self._next_pss = 0.0
        self._began = time.monotonic()
        self.planned_s: float | None = None
        self.finishing_s: float | None = None
        self.crashed_ns = 0
        self.pss_mb = 0.0

    def __call__(self, pid: int, seconds: float) -> None:
        if self.planned_s is None and (self._out / ".batchctl" / "plan").exists():
            self.planned_s = seconds
        if self.finishing_s is None and (self._out / "predictions.csv.sorting").exists():
            self.finishing_s = seconds
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
                os.kill(pid, signal.SIGKILL)

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


class Bench:
    """One shape, in a folder of its own."""

    def __init__(self, batchctl: str, shape: Shape, *, tree: Path, work: Path) -> None:
        self.shape, self._batchctl = shape, batchctl
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

    def command_s(self, *words: str) -> float:
        return round(self.lap([self._batchctl, words[0], str(self.out), *words[1:]])[0].wall_s, 3)

    def measure(self) -> dict[str, Any]:
        """All phases. SystemExit where a command fails or a row is missing."""
        shape = self.shape
        found: dict[str, Any] = {"shape": shape.name, "items": shape.count, "mini_batches": shape.batches}
        planned, watch = self.lap([self._batchctl, "plan", *self._asked])
        found |= {"plan_sized_s": round(planned.wall_s, 3), "plan_sized_pss_mb": round(watch.pss_mb, 1)}
        found |= self._run_to_the_end()
        found["status_s"] = self.command_s("status")
        found["failures_s"] = self.command_s("failures")
        found["verify_s"] = self.command_s("verify")
        again, watch = self.lap(self.command())
        if any(self._stamps.iterdir()):
            raise SystemExit("the resume of the finished run called run() again")
        found |= {"resume_finished_s": round(again.wall_s, 3), "resume_finished_pss_mb": round(watch.pss_mb, 1)}
        run_directory = self.out / ".batchctl"
        for name, file in (("plan_file_mb", "plan"), ("log_mb", "checkpoint.log"), ("attempts_mb", "attempts.csv")):
            found[name] = round((run_directory / file).stat().st_size / 1e6, 2)
        if (size := (self.out / "predictions.csv").stat().st_size) != shape.output_bytes:
            raise SystemExit(f"{size} bytes of rows for {shape.output_bytes}")
        return found

    def _run_to_the_end(self) -> dict[str, Any]:
        shape = self.shape
        crash_at = CRASH_AT * shape.output_bytes if shape.count >= _CRASHES_FROM else None
        began = time.monotonic_ns()
        first, watch = self.lap(
            self.command(), Watch(self.out, stamps=self._stamps, crash_at=crash_at), codes=(0, -signal.SIGKILL)
        )
        planned_s, first_run_ns, pss = watch.planned_s, watch.first_run_ns, watch.pss_mb
        found: dict[str, Any] = {"plan_in_run_s": round(planned_s or 0.0, 3), "run_pss_mb": round(pss, 1)}
        found["first_run_s"] = round((first_run_ns - began) / 1e9, 3)
        if first.code == 0:  # it was not hit
            loop_s = (watch.finishing_s or first.wall_s) - found["first_run_s"]
            finish_s = first.wall_s - (watch.finishing_s or first.wall_s)
            return found | {
                "us_per_mini_batch": round(loop_s / shape.batches * 1e6, 1),
                "finish_s": round(finish_s, 3),
            }
        partial = (self.out / "predictions.csv.partial").stat().st_size
        done = partial / shape.output_bytes
        found["us_per_mini_batch"] = round((watch.crashed_ns - first_run_ns) / 1e3 / (done * shape.batches), 1)
        began = time.monotonic_ns()
        rest, watch = self.lap(self.command())
        finishing = watch.finishing_s or rest.wall_s
        found |= {
            "done_at_crash": round(done, 3),
            "resume_s": round((watch.first_run_ns - began) / 1e9, 3),
            "resume_pss_mb": round(watch.pss_mb, 1),
            "finish_s": round(rest.wall_s - finishing, 3),
        }
        return found


def measure(batchctl: str, shape: Shape, *, data: Path, scratch: Path) -> dict[str, Any]:
    """A fresh OUT beside the inputs, gone afterwards."""
    tree = make_tree(data, shape)
    work = Path(tempfile.mkdtemp(prefix="scale-", dir=scratch))
    try:
        return Bench(batchctl, shape, tree=tree, work=work).measure()
    finally:
        shutil.rmtree(work)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="items, comma separated; empty: none")
    parser.add_argument("--shapes", action=argparse.BooleanOptionalAction, default=True, help="the other shapes, too")
    parser.add_argument("--data", type=Path, help="folder for the generated inputs, kept (default: a temporary one)")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument("--batchctl", default=str(Path(sys.executable).parent / "batchctl"), help="the executable")
    given = parser.parse_args(arguments)
    shapes = [Shape("", int(size)) for size in given.sizes.split(",") if size]
    shapes += [shape for shape in OTHER_SHAPES if given.shapes]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="batchctl-scale-") as scratch:
        data = (given.data or Path(scratch) / "data").resolve()
        data.mkdir(parents=True, exist_ok=True)
        for shape in shapes:
            rows.append(measure(given.batchctl, shape, data=data, scratch=Path(scratch)))
            print(json.dumps(rows[-1]), flush=True)
    if given.out:
        given.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
