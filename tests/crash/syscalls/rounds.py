"""The campaign of one kind of fault: survey, choose, hand out to the lanes, count."""

from __future__ import annotations

import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.crash.findings import HARM, Asked, Findings
from tests.crash.syscalls import points as chosen
from tests.crash.syscalls import strace
from tests.crash.syscalls.jobs import JOBS
from tests.crash.syscalls.lanes import Allowed, BrokenSurveyError, Lane, Played, play, survey_of
from tests.crash.syscalls.points import Enumerate, Point


def run(asked: Asked, *, enumerate_points: Enumerate, allowed: Allowed, count: str) -> Findings:
    """The campaign of one kind of fault. Options: `jobs` (rows,files,...), `starts` (how many states besides the first
    for a sample), `shard` (i/m of all points), `lanes`, `python` (for the script, "" for the command's own), `only`
    (part of a point's name)."""
    asked.knows("jobs", "starts", "shard", "lanes", "python", "only")
    options = asked.options
    dice = random.Random(asked.seed)
    names = asked.chosen("jobs", JOBS)
    most = asked.number("starts", 2 if asked.n else 99, least=0)
    lane_count = asked.number("lanes", max(2, os.cpu_count() or 2))
    part = chosen.part_of(options.get("shard", "1/1"))
    if why := strace.unavailable():
        return Findings(not_run=why)
    wanted = [(JOBS[name], start) for name in names for start in chosen.some_starts(JOBS[name], dice, most)]
    made = {name: asked.work / name for name in names}
    for name, folder in made.items():
        JOBS[name].make(folder, python=options.get("python", sys.executable))
    env = dict(os.environ)
    if env.pop("PYTHONDONTWRITEBYTECODE", ""):
        env["PYTHONPYCACHEPREFIX"] = str(asked.work / "pycache")  # compiled once there too
    lanes = [
        Lane(asked.work / f"lane-{number}", made, batchctl=asked.batchctl, env=env) for number in range(lane_count)
    ]
    try:
        survey, owners = survey_of(lanes, wanted, asked.voice)
    except BrokenSurveyError as error:  # no point can be had, and that is the product's doing
        return Findings({count: 0, **dict.fromkeys(HARM, 0)}, [str(error)])
    found = [
        point
        for job, start in wanted
        for point in enumerate_points(job.name, start, survey.calls[job.name, start.name])
        if options.get("only", "") in str(point)
    ]
    total = len(found)
    todo = chosen.spread(chosen.shard(found, part), dice)
    kinds = len({point.stratum for point in todo})
    asked.voice(f"{total} points in all, {len(todo)} of them here, of {kinds} kinds; {asked.n or 'all'} asked for")
    round_ = _Round(todo, asked, owners)

    def work(lane: Lane) -> None:
        while (point := round_.take(lane)) is not None:
            began = time.monotonic()
            played = play(lane, point, survey, allowed)
            if played.problems:
                kept = asked.work / f"failed-{time.monotonic_ns()}"
                shutil.copytree(lane.place(point.job).folder, kept, symlinks=True)
                (kept / "point").write_text(f"{point}\n", encoding="utf-8")
            round_.add(point, played, time.monotonic() - began)

    with ThreadPoolExecutor(len(lanes)) as pool:
        list(pool.map(work, lanes))
    return round_.findings(count, total=total)


class _Round:
    """Points handed out to lanes, and what became of them."""

    def __init__(self, points: Sequence[Point], asked: Asked, owners: Mapping[tuple[str, str], Lane]) -> None:
        self._lock = threading.Lock()
        self._points = list(points)
        self._there = len(points)
        self._left = asked.n or len(points)
        self._until = asked.until
        self._owners = owners
        self._voice = asked.voice
        self._of_code: dict[str, int] = {}
        self._of_stratum: dict[str, int] = {}
        self.met = 0
        self.missed: list[str] = []
        self.violations: list[str] = []
        self.harm = dict.fromkeys(HARM, 0)

    def take(self, lane: Lane) -> Point | None:
        """The next one that this lane can meet; None: begin nothing more."""
        with self._lock:
            if not self._left or time.monotonic() >= self._until:
                return None
            for index, point in enumerate(self._points):
                if self._owners.get((point.job, point.start.name), lane) is lane:
                    self._left -= 1
                    return self._points.pop(index)
            return None

    def add(self, point: Point, played: Played, seconds: float) -> None:
        with self._lock:
            for problem in played.problems:
                self.violations.append(f"{point}: {problem}")
            for name in HARM:
                self.harm[name] += getattr(played.verdict, name)
            if not played.met:
                self._left += 1  # another one takes its place
                self.missed.append(str(point))
            else:
                self.met += 1
                code = f"{point.fault}: {played.code}"
                self._of_code[code] = self._of_code.get(code, 0) + 1
                state = f"{point.job}, {point.start.name}"
                self._of_stratum[state] = self._of_stratum.get(state, 0) + 1
            mark = "FAILED" if played.problems else "ok" if played.met else "not met"
            self._voice(f"{mark}, {seconds:.1f} s, exit {played.code}: {point}")
            for problem in played.problems:
                self._voice(f"    {problem}")

    def findings(self, count: str, *, total: int) -> Findings:
        detail = {
            "points": total,
            "taken": self._there,
            "not_begun": len(self._points),
            "not_met": self.missed,
            "by_exit_code": dict(sorted(self._of_code.items())),
            "by_state": dict(sorted(self._of_stratum.items())),
        }
        return Findings(
            {count: self.met, "points_not_met": len(self.missed), **self.harm}, self.violations, detail=detail
        )
