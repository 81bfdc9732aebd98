"""What `preload` is worth: `python -m tests.bench.workers_start --python ENV/bin/python --module torch`.

N workers through the real command, each importing the modules, with `--preload` and without, in interleaved rounds.
Start: from the exec of batchctl until init() has returned in the last of the N workers (their own stamps of the
monotonic clock), before anything is scored: run() waits until all are there. Memory: the sum of what the workers have
to themselves (Private_* of smaps_rollup), and of the shares of all processes of the run (Pss), asked while all N wait.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

GOAL_START, GOAL_MEMORY = 1 / 2, 2 / 3
LIMIT_S = 300.0

SCRIPT = """\
import os
import time

{imports}

here = os.environ["BENCH_STAMPS"]


def init():
    stamp = os.path.join(here, "%d" % os.getpid())
    with open(stamp + ".tmp", "w") as handle:
        handle.write("%d" % time.monotonic_ns())
    os.rename(stamp + ".tmp", stamp)


def run(mini_batch):
    while not os.path.exists(os.path.join(here, "go")):
        time.sleep(0.02)
    return [os.path.basename(path) for path in mini_batch]
"""


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds, and MiB. `first_s` is when the first worker was ready."""

    start_s: float
    first_s: float
    private_mb: float
    all_pss_mb: float


def measure(batchctl: str, python: str, modules: list[str], *, workers: int, preload: bool, work: Path) -> Start:
    """One run, to its end. SystemExit where it fails."""
    inputs, code, stamps, out = (work / name for name in ("in", "code", "stamps", "out"))
    for folder in (stamps, out):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (inputs, code, stamps):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(workers):
        (inputs / f"{number}.txt").touch()
    (code / "score.py").write_text(SCRIPT.format(imports="\n".join(f"import {name}" for name in modules)))
    argv = [batchctl, "run", str(code / "score.py"), str(inputs), "-o", str(out), "-q", "--python", python]
    argv += ["--workers", str(workers), "--mini-batch-size", "1", "--env", f"BENCH_STAMPS={stamps}"]
    argv += [word for name in modules if preload for word in ("--preload", name)]
    os.sync()
    with (work / "log").open("wb") as log:
        began = time.monotonic_ns()
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            ready = _wait(stamps, workers, process)
            private = sum(_rollup(pid)["Private_Clean"] + _rollup(pid)["Private_Dirty"] for pid in ready)
            everybody = sum(_rollup(pid)["Pss"] for pid in _family(process.pid))
        finally:
            (stamps / "go").touch()
            code_of = process.wait(LIMIT_S)
    said = (work / "log").read_text(errors="replace")
    if code_of != 0 or "refused" in said:
        raise SystemExit(f"batchctl exited {code_of}: {said}")
    seconds = sorted((stamp - began) / 1e9 for stamp in ready.values())
    return Start(seconds[-1], seconds[0], private / 1024, everybody / 1024)


def _wait(stamps: Path, workers: int, process: subprocess.Popen[bytes]) -> dict[int, int]:
    """Stamps by pid, once there are as many as workers."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = [path for path in stamps.iterdir() if path.name.isdigit()]
        if len(found) == workers:
            return {int(path.name): int(path.read_text()) for path in found}
        time.sleep(0.01)
    raise SystemExit(f"only {len(list(stamps.iterdir()))} of {workers} workers came")


def _rollup(pid: int) -> dict[str, int]:
    """KiB by name."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(kib) for name, kib in re.findall(r"^(\w+): +(\d+) kB$", text, flags=re.MULTILINE)}


def _family(root: int) -> list[int]:
    """A process and all below it."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for task in Path(f"/proc/{pid}/task").iterdir():
            waiting += map(int, (task / "children").read_text().split())
    return found


def render(laps: dict[str, list[Start]], *, modules: list[str], workers: int) -> tuple[str, bool]:
    """The table and the verdict, and whether both bounds are met. Ratios are those of the same round."""
    lines = [
        f"{workers} workers importing {', '.join(modules)}; {len(laps['without'])} rounds; {os.cpu_count()} cpus",
        "",
        "| | start s, median (min-max) | first ready s | private MiB of the workers | Pss MiB of the run |",
        "|---|---|---|---|---|",
    ]
    for name, found in laps.items():
        starts = [one.start_s for one in found]
        private = [one.private_mb for one in found]
        lines.append(
            f"| {name} preload | {statistics.median(starts):.2f} ({min(starts):.2f}-{max(starts):.2f}) | "
            f"{statistics.median(one.first_s for one in found):.2f} | "
            f"{statistics.median(private):.0f} ({min(private):.0f}-{max(private):.0f}) | "
            f"{statistics.median(one.all_pss_mb for one in found):.0f} |"
        )
    pairs = list(zip(laps["with"], laps["without"], strict=True))
    start = statistics.median(mine.start_s / other.start_s for mine, other in pairs)
    memory = statistics.median(mine.private_mb / other.private_mb for mine, other in pairs)
    lines += ["", f"start: {start:.2f} of that without (goal {GOAL_START:.2f}); private memory: {memory:.2f} "]
    lines[-1] += f"(goal {GOAL_MEMORY:.2f})"
    return "\n".join(lines), start <= GOAL_START and memory <= GOAL_MEMORY


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="an interpreter that has the modules")
    parser.add_argument("--module", action="append", required=True, help="to be imported by every worker; repeatable")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gate", action="store_true", help="exit 1 where a goal is missed")
    parser.add_argument("--out", type=Path, help="write every lap here as JSON")
    parser.add_argument("--batchctl", default=str(Path(sys.executable).parent / "batchctl"), help="the executable")
    given = parser.parse_args(arguments)
    laps: dict[str, list[Start]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory(prefix="batchctl-bench-") as scratch:
        for number in range(-1, given.rounds):  # one before the first, to have the files in memory
            for name in ("without", "with") if number % 2 else ("with", "without"):
                found = measure(
                    given.batchctl,
                    given.python,
                    given.module,
                    workers=given.workers,
                    preload=name == "with",
                    work=Path(scratch),
                )
                print(f"round {number + 1}: {name:<8} {found.start_s:6.2f} s, {found.private_mb:7.1f} MiB", flush=True)
                if number >= 0:
                    laps[name].append(found)
    text, passed = render(laps, modules=given.module, workers=given.workers)
    print("\n" + text)
    if given.out:
        given.out.write_text(json.dumps({name: [asdict(one) for one in of] for name, of in laps.items()}, indent=1))
    return 1 if given.gate and not passed else 0


if __name__ == "__main__":
    sys.exit(main())
