"""Coordinators that race for one run: `python -m tests.crash race -n N`.

Two or three commands wait at a barrier and start at one instant on the same OUT, in every state that it can be in.
Exactly one may have the run: the others exit with 8, or find it complete when they come later. Half of the races are
between real commands, which reach the lock some milliseconds apart by themselves; in the other half everything is
loaded before the barrier, and small random delays take the place of chance. Afterwards the command is typed once more,
alone; what is in OUT then has to be what an undisturbed run left, from as many epochs as one winner makes.
"""

from __future__ import annotations

import collections
import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.campaign import beside_python
from tests.crash.checks import Results, judge, run_id_of
from tests.crash.findings import HARM, Asked, Findings
from tests.crash.jobs.race import ITEMS, LIMIT_S, RaceJob, Start, Templates, make_race_job, make_templates

CONTENDER = Path(__file__).with_name("contender.py")
# Exit codes that a command may end with in a race. `refused` has no inputs: a usage error, or a resume of other inputs.
CODES = {
    "run": {0, 8},
    "fresh": {0, 8},
    "retry": {0, 8},
    "refused": {2, 6, 8},
    "verify": {0, 2},
    "status": {0, 2},
    "inspect": {0, 2},
}
DELAYS = (0.0, 0.0, 0.0005, 0.003, 0.01, 0.05)


@dataclass(frozen=True, slots=True)
class Case:
    """`epochs`: how many the log may tell of when all is done."""

    start: Start
    contenders: tuple[str, ...]
    epochs: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.start}: {' | '.join(self.contenders)}"


CASES = (
    Case(Start.NOTHING, ("run", "run"), (1,)),
    Case(Start.KILLED, ("run", "run"), (2,)),
    Case(Start.GIVEN_UP, ("retry", "run"), (2,)),
    Case(Start.NOTHING, ("refused", "run", "run"), (1,)),
    Case(Start.HALF, ("run", "run"), (1,)),
    Case(Start.FINISHED, ("fresh", "run"), (1,)),
    Case(Start.KILLED, ("run", "verify", "run", "status"), (2,)),
    Case(Start.FINISHED, ("run", "run"), (1,)),
    Case(Start.NOTHING, ("run", "run", "run"), (1,)),
    Case(Start.KILLED, ("fresh", "run"), (1, 2)),
    Case(Start.GIVEN_UP, ("retry", "retry"), (2,)),
    Case(Start.NOTHING, ("run", "status", "run", "status"), (1,)),
    Case(Start.HALF, ("refused", "run", "run"), (1,)),
    Case(Start.FINISHED, ("fresh", "fresh", "run"), (1,)),
    Case(Start.GIVEN_UP, ("retry", "inspect", "run", "verify"), (2,)),
    Case(Start.KILLED, ("run", "run", "run"), (2,)),
)


@dataclass(slots=True)
class Race:
    """One, and what came of it."""

    case: Case
    loaded: bool
    codes: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    harm: dict[str, int] = field(default_factory=dict)


def campaign(asked: Asked) -> Findings:
    """n races (default 100), through all cases in turn; `case`: only those whose name holds this."""
    asked.knows("case")
    names = asked.holding("case", [case.name for case in CASES])
    cases = [case for case in CASES if case.name in names]
    job = make_race_job(asked.work / "job", batchctl=asked.batchctl, python=sys.executable)
    templates = make_templates(job, asked.work / "templates")
    dice = random.Random(asked.seed)
    races: list[Race] = []
    for number in range(asked.n or 100):
        if time.monotonic() > asked.until:
            break
        case = cases[number % len(cases)]
        loaded = asked.batchctl == beside_python() and ("refused" in case.contenders or bool(dice.getrandbits(1)))
        race = Race(case, loaded)
        out = asked.work / f"out-{number:04d}"
        try:
            _hold(race, job, templates, out, dice=dice, judge_by=asked.judge)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            race.problems.append(f"{type(error).__name__}: {error}")
        races.append(race)
        asked.voice(f"race {number}, {case.name}: exits {race.codes}{' FAILED' * bool(race.problems)}")
        if not race.problems:
            shutil.rmtree(out)
    counts = {"lock_races": len(races), **{name: sum(race.harm.get(name, 0) for race in races) for name in HARM}}
    violations = [f"race {n}, {race.case.name}: {what}" for n, race in enumerate(races) for what in race.problems]
    exits = collections.Counter(
        f"{kind} exit {code}" for race in races for kind, code in zip(race.case.contenders, race.codes, strict=False)
    )
    return Findings(counts, violations, detail={"exits": dict(sorted(exits.items()))})


def _hold(race: Race, job: RaceJob, templates: Templates, out: Path, *, dice: random.Random, judge_by: str) -> None:
    case, problems = race.case, race.problems
    templates.lay(case.start, out)
    delays = [_delay(kind, case, dice=dice) for kind in case.contenders]
    said = _start_together(race, job, out, delays=delays)
    for kind, code, text in zip(case.contenders, race.codes, said, strict=True):
        if code not in CODES[kind]:
            problems.append(f"{kind} exited {code}: {text[-1500:]}")
    won = {kind for kind, code in zip(case.contenders, race.codes, strict=True) if code == 0}
    if not won & {"run", "fresh", "retry"} and "refused" not in case.contenders:
        problems.append(f"nobody won: {race.codes}")
    # Whoever was kept out does what a user would: types it again.
    again = ["run"] if "retry" in won or "retry" not in case.contenders else ["retry", "run"]
    for kind in again:
        done = job.type(kind, out)
        if done.returncode != 0:
            problems.append(f"{kind}, typed again, exited {done.returncode}: {done.stderr[-1500:]}")
            return
    reference: Results = templates.retried if "retry" in case.contenders else templates.scored
    verdict = judge(out, reference, batchctl=judge_by, run_id=run_id_of(out))
    race.harm = {name: getattr(verdict, name) for name in HARM}
    problems += verdict.problems
    _check_log(race, job, out)


def _delay(kind: str, case: Case, *, dice: random.Random) -> float:
    if "refused" in case.contenders:  # the others are to come as it clears away what it had begun
        return 0.0 if kind == "refused" else dice.uniform(0.0, 0.5)
    return dice.choice(DELAYS)


def _start_together(race: Race, job: RaceJob, out: Path, *, delays: list[float]) -> list[str]:
    """All contenders to their end; what each said on standard error."""
    readers, start = os.pipe()
    ready, writers = os.pipe()
    processes = []
    for kind, delay in zip(race.case.contenders, delays, strict=True):
        arguments = job.arguments(kind, out)
        if race.loaded:
            command = [sys.executable, str(CONTENDER), str(writers), str(readers), str(delay), *arguments]
        else:
            wait = f'printf . >&{writers}; read _ <&{readers}; exec {writers}>&- {readers}<&-; exec "$@"'
            command = ["bash", "-c", wait, "bash", job.batchctl, *arguments]
        processes.append(
            subprocess.Popen(
                command,
                pass_fds=(readers, writers),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        )
    os.close(readers)
    os.close(writers)
    try:
        arrived = 0
        while arrived < len(processes):
            seen = len(os.read(ready, 64))
            if not seen:
                raise RuntimeError("a contender ended before the race")
            arrived += seen
        os.close(start)
        start = -1
        said = [process.communicate(timeout=LIMIT_S)[1].decode(errors="replace") for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
        for fd in (ready, start):
            if fd >= 0:
                os.close(fd)
    race.codes = [process.returncode for process in processes]
    return said


def _check_log(race: Race, job: RaceJob, out: Path) -> None:
    """One winner makes one epoch, and commits every item once."""
    entries = [json.loads(line) for line in job.type("inspect", out).stdout.splitlines()]
    epochs = sum(entry["type"] == "EPOCH" for entry in entries)
    if epochs not in race.case.epochs:
        race.problems.append(f"the log tells of {epochs} epochs, not {race.case.epochs}")
    committed = sum(entry["count"] for entry in entries if entry["type"] == "COMMIT")
    if committed != ITEMS:
        race.problems.append(f"{committed} items were committed, not {ITEMS}")
