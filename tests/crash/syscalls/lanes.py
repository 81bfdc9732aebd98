"""The lives of one point: brought to its state, struck, typed again until it ends, judged.

Lanes work side by side. Each has places and states of its own, because all lives of one place are one run to batchctl:
it ends the processes that carry the run's id.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.checks import Results, Verdict, judge, results_of, run_id_of
from tests.crash.syscalls import strace
from tests.crash.syscalls.jobs import FRESH, LOG, Place, SmallJob, Start
from tests.crash.syscalls.points import Point, last

_TRIES = 2  # of a point that was not met


@dataclass(slots=True)
class Survey:
    """What undisturbed lives gave: references by job and command, calls by job and state."""

    references: dict[tuple[str, str], Results] = field(default_factory=dict)
    calls: dict[tuple[str, str], list[strace.Call]] = field(default_factory=dict)


@dataclass(slots=True)
class Played:
    """What became of one point. `met`: the fault was dealt. `code`: of the life that it was dealt to."""

    met: bool = False
    code: int = 0
    problems: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)


# What is wrong with the exit code of a life that met a fault, "" for nothing.
Allowed = Callable[[Point, int], str]


class BrokenSurveyError(Exception):
    """A life to which nothing is done, from one of the states, does not end as it should; the message says how."""


class Lane:
    """One place, and the states that lives begin from, made where they are first needed."""

    def __init__(self, folder: Path, jobs: Mapping[str, Path], *, batchctl: str, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = env
        self._log = folder / "strace.log"
        self._places = {name: Place(folder / name, made, batchctl) for name, made in jobs.items()}
        self._kept: dict[tuple[str, str], Path] = {}
        folder.mkdir()

    def place(self, job: str) -> Place:
        return self._places[job]

    def bring(self, job: str, start: Start, survey: Survey) -> None:
        """Bring the place into that state."""
        place = self._places[job]
        if start.fresh:
            place.clear()
            return
        key = (job, start.name)
        if key not in self._kept:
            self._make(job, start, survey)
            self._kept[key] = self.folder / f"kept-{len(self._kept)}"
            place.save(self._kept[key])
        place.load(self._kept[key])

    def _make(self, job: str, start: Start, survey: Survey) -> None:
        place = self._places[job]
        if start.finished:
            place.clear()
            self.plain(job, "run")
            if start.command == "retry":
                (place.scratch / "mended").touch()
            return
        assert start.cut is not None
        for call in last(survey.calls[job, FRESH.name], start.cut):
            place.clear()
            if self.strike(job, "run", call, "signal=KILL").hit:
                if start.tear:
                    log = place.out / LOG
                    os.truncate(log, log.stat().st_size - start.tear)
                return
        raise BrokenSurveyError(f"{job}: no life could be ended for the state {start.name!r}")

    def plain(self, job: str, command: str) -> None:
        """An undisturbed life; BrokenSurveyError where it does not end well."""
        code, said = strace.live(self._places[job].command(command), env=self.env)
        if code != 0:
            raise BrokenSurveyError(f"{job}: an undisturbed {command} exited {code}: {said}")

    def listen(self, job: str, command: str) -> list[strace.Call]:
        place = self._places[job]
        code, calls, said = strace.listen(place.command(command), env=self.env, here=place.here, log=self._log)
        if code != 0:
            raise BrokenSurveyError(f"{job}: an undisturbed {command} under strace exited {code}: {said}")
        return calls

    def strike(self, job: str, command: str, call: strace.Call, fault: str) -> strace.Ended:
        place = self._places[job]
        return strace.strike(
            place.command(command),
            call,
            fault,
            env=self.env,
            here=place.here,
            scratch=place.scratch,
            log=self._log,
        )


def survey_of(
    lanes: Sequence[Lane], wanted: Sequence[tuple[SmallJob, Start]], voice: Callable[[str], None]
) -> tuple[Survey, Mapping[tuple[str, str], Lane]]:
    """The references, the calls of every state that is wanted, and which lane has seen it: another one's life before
    may have been cut off a little earlier or later, so only that lane meets all its points."""
    survey = Survey()
    owners: dict[tuple[str, str], Lane] = {}

    def look(lane: Lane, job: SmallJob, start: Start) -> None:
        lane.bring(job.name, start, survey)
        calls = survey.calls[job.name, start.name] = lane.listen(job.name, start.command)
        found = results_of(lane.place(job.name).out, "")
        if found != survey.references.setdefault((job.name, start.command), found):
            raise BrokenSurveyError(f"{job.name}, {start.name}: an undisturbed life ends in other results")
        voice(f"{job.name}, {start.name}: {len(calls)} calls")

    def all_of(number: int, starts: Sequence[tuple[SmallJob, Start]]) -> None:
        for job, start in starts[number :: len(lanes)]:
            if not start.fresh:
                owners[job.name, start.name] = lanes[number]
            look(lanes[number], job, start)

    first = [(job, FRESH) for job in {job.name: job for job, _ in wanted}.values()]
    others = [(job, start) for job, start in wanted if not start.fresh]
    with ThreadPoolExecutor(len(lanes)) as pool:
        for starts in (first, others):
            list(pool.map(all_of, range(len(lanes)), [starts] * len(lanes)))
    return survey, owners


def play(lane: Lane, point: Point, survey: Survey, allowed: Allowed) -> Played:
    """The lives of one point."""
    played = Played()
    command = point.start.command
    place = lane.place(point.job)
    try:
        for _ in range(_TRIES):
            lane.bring(point.job, point.start, survey)
            ended = lane.strike(point.job, command, point.call, point.injected)
            played.met, played.code = ended.hit, ended.code
            if ended.hit:
                break
            if ended.code != 0:
                played.problems.append(f"nothing was done to it, and it exited {ended.code}: {ended.said}")
                return played
        else:
            return played
        if against := allowed(point, ended.code):
            played.problems.append(f"{against}; it said: {ended.said}")
        if ended.code != 0:
            code, said = strace.live(place.command(command), env=lane.env)
            if code != 0:
                played.problems.append(f"the life after it exited {code}: {said}")
                return played
        reference = survey.references[point.job, command]
        played.verdict = judge(place.out, reference, batchctl="", run_id=run_id_of(place.out))
        played.problems += played.verdict.problems
    except (strace.Hangs, OSError) as error:
        played.problems.append(f"{type(error).__name__}: {error}")
    return played
