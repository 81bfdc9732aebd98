"""A million planned files: how long planning takes, what the coordinator holds, how soon a resume is at work.

Goals (issue 2, acceptance 8): planning <= 10 s per million, coordinator <= 150 MB, resume of the finished run <= 1 s,
of the half-done run <= 3 s until the first run().
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench.stopwatch import Lap, lap
from tests.bench.workload import MINI_BATCH, WORKERS, Inputs

GOALS = {"plan_s_per_million": 10.0, "peak_mb": 150.0, "resume_half_s": 3.0, "resume_finished_s": 1.0}


def measure(batchctl: str, inputs: Inputs, *, work: Path) -> dict[str, Any]:
    """Run until half is done, SIGTERM; resume to the end; resume the finished run. SystemExit where one fails."""
    out, stamps, log = work / "out", work / "stamps", work / "log"
    stamps.mkdir()
    run = [
        *(batchctl, "run", str(inputs.script), str(inputs.folder), "-o", str(out), "-q"),
        *("--workers", str(WORKERS), "--mini-batch-size", str(MINI_BATCH), "--output-format", "azure"),
        *("--python", sys.executable, "--env", f"BENCH_STAMPS={stamps}"),
    ]
    plan = [batchctl, "plan", *run[2:4], "--mini-batch-size", str(MINI_BATCH)]
    planned = _good(lap(plan, log=log, watch=_nothing), "plan", {0})

    watch = _Halfway(out)
    first = _good(lap(run, log=log, watch=watch), "the first run", {0, 75})
    done = _progress(out)
    _clear(stamps)
    began = time.monotonic_ns()
    half = _good(lap(run, log=log, watch=_nothing), "the resume of the half-done run", {0})
    at_work = min(int(path.read_text()) for path in stamps.iterdir())
    _clear(stamps)
    finished = _good(lap(run, log=log, watch=_nothing), "the resume of the finished run", {0})
    if any(stamps.iterdir()):
        raise SystemExit("the resume of the finished run called run() again")
    rows = (out / "predictions.csv").read_bytes().count(b"\n")
    if rows != inputs.count:
        raise SystemExit(f"{rows} rows for {inputs.count} items")
    return {
        "items": inputs.count,
        "done_at_stop": done,
        "stopped_with": first.code,
        "plan_s": round(planned.wall_s, 2),
        "plan_peak_mb": round(planned.peak_mb, 1),
        "plan_in_run_s": round(watch.planned_s, 2),
        "plan_s_per_million": round(max(planned.wall_s, watch.planned_s) / inputs.count * 1e6, 2),
        "first_wall_s": round(first.wall_s, 2),
        "resume_half_s": round((at_work - began) / 1e9, 2),
        "resume_half_wall_s": round(half.wall_s, 2),
        "resume_finished_s": round(finished.wall_s, 2),
        "peak_first_mb": round(first.peak_mb, 1),
        "peak_resume_mb": round(half.peak_mb, 1),
        "peak_finished_mb": round(finished.peak_mb, 1),
        "peak_mb": round(max(first.peak_mb, half.peak_mb, finished.peak_mb), 1),
        "plan_file_mb": round((out / ".batchctl" / "plan").stat().st_size / 1e6, 1),
        "log_mb": round((out / ".batchctl" / "checkpoint.log").stat().st_size / 1e6, 1),
        "others": round(max(planned.others, first.others, half.others, finished.others), 2),
    }


class _Halfway:
    """Notes when the plan was there and sends SIGTERM, once, when half of the items are done."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._told = False
        self.planned_s = 0.0

    def __call__(self, pid: int, seconds: float) -> None:
        if not self.planned_s and (self._out / ".batchctl" / "plan").exists():
            self.planned_s = seconds
        if not self._told and self.planned_s and _progress(self._out) >= 0.5:
            self._told = True
            os.kill(pid, signal.SIGTERM)


def _nothing(_pid: int, _seconds: float) -> None:
    """Only the peak memory is of interest."""


def _progress(out: Path) -> float:
    try:
        found = json.loads((out / ".batchctl" / "status.json").read_bytes())["progress"]
        return float(found["items_done"]) / max(1, int(found["items"]))
    except (OSError, ValueError, KeyError):
        return 0.0


def _clear(stamps: Path) -> None:
    for path in stamps.iterdir():
        path.unlink()


def _good(found: Lap, what: str, codes: set[int]) -> Lap:
    if found.code not in codes:
        raise SystemExit(f"{what} exited {found.code}: {found.said}")
    print(f"{what}: {found.wall_s:.2f} s, peak {found.peak_mb:.0f} MB, exit {found.code}", flush=True)
    return found


def passed(found: dict[str, Any]) -> bool:
    return all(found[name] <= goal for name, goal in GOALS.items())


def render(found: dict[str, Any]) -> str:
    plans = f"`plan` {found['plan_s']} s, in `run` {found['plan_in_run_s']} s"
    told = {
        "plan_s_per_million": f"planning, s per million ({plans})",
        "peak_mb": f"coordinator's peak, MB (first run {found['peak_first_mb']}, resume {found['peak_resume_mb']})",
        "resume_half_s": f"resume with {found['done_at_stop']:.0%} done: s until the first run()",
        "resume_finished_s": "resume of the finished run, s",
    }
    lines = [f"{found['items']} items, plan {found['plan_file_mb']} MB, log {found['log_mb']} MB", ""]
    lines += ["| | measured | goal |", "|---|---|---|"]
    lines += [f"| {text} | {found[name]} | <= {GOALS[name]:g} |" for name, text in told.items()]
    return "\n".join(lines)
