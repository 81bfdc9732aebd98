"""Everything that stops without dying: `python -m tests.crash stops -n N`.

Workers that stop, hang, spin, fork or vanish by themselves, each time once; workers, fork server, coordinator or all of
them stopped from outside; drains by SIGTERM, SIGINT and SIGHUP at random moments, of runs and of retries; the wall
clock set back and forward under way (libfaketime). Every round has to end, by itself or by the same command typed
again, in the rows that are known beforehand, and nobody is charged for what was not his doing.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.crash.checks import judge, quarantined, results_of, run_id_of
from tests.crash.findings import HARM, Asked, Findings
from tests.crash.jobs.stops import BATCH, BATCHES, ITEMS, MISCHIEF, TIMED, StopsJob, make_stops_job
from tests.crash.stops_rounds import PLAYS, Command, NotHere, Play


@dataclass(slots=True)
class Round:
    """One job and what was done to it."""

    case: str
    did: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    harm: dict[str, int] = field(default_factory=dict)


def campaign(asked: Asked) -> Findings:
    """n stops (default 30), in rounds of all cases in turn; `case`: only those whose name holds this."""
    asked.knows("case")
    dice = random.Random(asked.seed)
    cases = asked.holding("case", PLAYS)
    rounds: list[Round] = []
    not_run = ""
    wanted = asked.n or 30
    while time.monotonic() < asked.until and sum(len(one.did) for one in rounds) < wanted and len(rounds) < 10 * wanted:
        number = len(rounds)
        played = Round(cases[number % len(cases)])
        folder = asked.work / f"round-{number:03d}"
        try:
            _play(played, folder, dice=dice, asked=asked)
        except NotHere as why:
            not_run = str(why)
            cases.remove(played.case)
            shutil.rmtree(folder)
            if not cases:
                break
            continue
        rounds.append(played)
        mark = "FAILED" if played.problems else "ok"
        asked.voice(f"round {number}, {played.case}: {mark}, {', '.join(played.did) or 'nothing'}, {played.codes}")
        if not played.problems:
            shutil.rmtree(folder)
    counts = {"stops": sum(len(one.did) for one in rounds)}
    counts |= {name: sum(one.harm.get(name, 0) for one in rounds) for name in HARM}
    violations = [f"round {n}, {one.case}, {one.did}: {what}" for n, one in enumerate(rounds) for what in one.problems]
    return Findings(counts if rounds else {}, violations, not_run, {"rounds": len(rounds)})


def _play(played: Round, folder: Path, *, dice: random.Random, asked: Asked) -> None:
    play = PLAYS[played.case]
    job = make_stops_job(
        folder,
        seeds=tuple(dice.randrange(10**6) for _ in range(ITEMS)),
        kinds=_kinds(play, dice=dice),
        sleep=play.sleep,
        python=sys.executable,
    )
    command = Command(job, asked.batchctl, dice, codes=played.codes, did=played.did)
    try:
        try:
            play.play(command)
        except TimeoutError as error:
            played.problems.append(f"{error}; it said: {command.said()}")
            return
        finally:
            command.close()
        if played.codes[-1:] != [0]:
            played.problems.append(f"exits {played.codes}; it said: {command.said()}")
            return
        played.problems += command.problems
        _judge(played, job, play, batchctl=asked.judge)
    finally:
        if play.mischief:
            played.did += [name.removeprefix("once.") for name in job.marks("once.*")]


def _kinds(play: Play, *, dice: random.Random) -> dict[int, str]:
    """What some items do: mischief in mini-batches of their own, or what the play asks for."""
    spots = dice.sample(range(BATCHES), BATCHES)
    if not play.mischief:
        return {spots.pop() * BATCH + dice.randrange(BATCH): kind for kind in play.kinds}
    # Those that wait for the deadline take seconds: two of them a round.
    chosen = [*dice.sample(TIMED, 2), *dice.sample(sorted(set(MISCHIEF) - set(TIMED)), 4)]
    return {spots.pop() * BATCH + dice.randrange(BATCH): kind for kind in chosen}


def _judge(played: Round, job: StopsJob, play: Play, *, batchctl: str) -> None:
    given_up = quarantined(job.out, batchctl)
    if given_up and "later" not in play.kinds:
        played.problems.append(f"quarantined: {given_up}")
    reference = replace(
        results_of(job.out, batchctl), rows=job.rows, published={}, quarantined=given_up, succeeded=ITEMS
    )
    verdict = judge(job.out, reference, batchctl=batchctl, run_id=run_id_of(job.out))
    played.harm = {name: getattr(verdict, name) for name in HARM}
    played.problems += verdict.problems
    summary = json.loads((job.out / ".batchctl" / "summary.json").read_text(encoding="utf-8"))
    if play.charged is not None:
        charged = {kind: summary[f"attempts_{kind}"] for kind in ("failed", "lost", "timed_out")}
        unjust = {kind: count for kind, count in charged.items() if count > play.charged.get(kind, 0)}
        if unjust:
            played.problems.append(f"attempts were charged: {unjust}")
    if not 0 <= summary["duration_s"] <= 300:
        played.problems.append(f"it took {summary['duration_s']} s, says the summary")
