"""Random kill -9 of real processes: `python -m tests.crash kill -n N [--set job=JOB] [--seed S]`.

One undisturbed run gives the reference. Then rounds: the real command in a fresh OUT, killed at random moments, the
same command again until it ends by itself; then `checks.judge`. Where the coordinator died the command is typed again
(and may be killed again); where only the fork server or a worker died the run has to go on by itself. Rounds are made
until N kills have hit. The folders of rounds in which anything did not hold are kept.
"""

from __future__ import annotations

import collections
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from tests.crash import targets
from tests.crash.checks import Results, judge, results_of, run_id_of
from tests.crash.jobs.job import Job
from tests.crash.jobs.mixed import make_brief_job, make_mixed_job
from tests.crash.jobs.own_files import make_appending_job, make_parquet_job
from tests.crash.jobs.retry import make_retry_job
from tests.crash.jobs.state import make_state_job
from tests.crash.jobs.table import make_table_job
from tests.crash.lives import LIMIT_S, POLL_S, Kill, Life, Moment, Setting, Stuck, Target

Choice = TypeVar("Choice")
JOBS: Mapping[str, Callable[..., Job]] = {
    "mixed": make_mixed_job,
    "brief": make_brief_job,
    "parquet": make_parquet_job,
    "appending": make_appending_job,
    "state": make_state_job,
    "table": make_table_job,
    "jsonl": partial(make_mixed_job, output_format="jsonl"),
    "azure": partial(make_mixed_job, output_format="azure"),
    "retry": make_retry_job,
}
NESTED = 4  # kills that may follow the first of a round
EARLY_EXIT = 4  # before any worker is ready, the loss of one ends the command, as a failed init() does
TARGETS = {Target.COORDINATOR: 4, Target.SERVER: 2, Target.WORKER: 3, Target.ALL: 2}
MOMENTS = {Moment.UNIFORM: 6, Moment.START: 2, Moment.COMMIT: 2, Moment.FINISH: 3}
RESUMED = {**MOMENTS, Moment.RECOVERY: 5}
# More in one life of the coordinator would, rightly, be taken for a machine that cannot bear the job.
PER_LIFE = {Target.SERVER: 2, Target.WORKER: 3}


@dataclass(slots=True)
class Round:
    """What one OUT went through."""

    number: int
    kills: list[Kill] = field(default_factory=list)
    lives: int = 0
    early_exits: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    lost: int = 0
    duplicated: int = 0
    unequal: int = 0
    orphans: int = 0
    leftovers: int = 0
    seconds: float = 0.0


def play(setting: Setting, number: int, *, budget: int) -> Round:
    """One round with at most `budget` kills."""
    dice = setting.dice
    played = Round(number)
    out = setting.work / f"out-{number:04d}"
    log = setting.work / f"out-{number:04d}.log"
    wanted = min(budget, 1 + dice.choice((0, 0, 1, 1, 2, 3, NESTED)))
    began = time.monotonic()
    try:
        setting.job.lay(out)
        while True:
            played.lives += 1
            life = Life(setting, out, log)
            try:
                if _live(life, played, wanted=wanted, dice=dice):
                    break
            finally:
                life.close()
        verdict = judge(out, setting.reference, batchctl=setting.judge, run_id=run_id_of(out))
        for name in ("lost", "duplicated", "unequal", "orphans", "leftovers"):
            setattr(played, name, getattr(verdict, name))
        played.problems += verdict.problems
    except (Stuck, OSError, subprocess.SubprocessError) as error:
        played.problems.append(f"{type(error).__name__}: {error}")
    finally:
        played.seconds = round(time.monotonic() - began, 2)
        _sweep(run_id_of(out))
        if not played.problems:
            shutil.rmtree(out, ignore_errors=True)
            shutil.rmtree(setting.job.scratch(out.name), ignore_errors=True)
            log.unlink(missing_ok=True)
    return played


def _live(life: Life, played: Round, *, wanted: int, dice: random.Random) -> bool:
    """From the start of the command to its end; True where it was a good one."""
    since = 0.0
    fatal = excused = False
    while len(played.kills) < wanted and not fatal:
        target = _draw(dice, {t: w for t, w in TARGETS.items() if life.hits[t] < PER_LIFE.get(t, 99)})
        moment = _draw(dice, RESUMED if played.lives > 1 and not life.hits else MOMENTS)
        if not life.await_moment(moment, since=since):
            break
        kill = life.hit(target, moment)
        since = life.age
        if kill is None:
            time.sleep(POLL_S)
            continue
        played.kills.append(kill)
        fatal = target in (Target.COORDINATOR, Target.ALL)
        excused = excused or (kill.early and target is Target.WORKER)
    code = life.wait()
    if fatal and code == -signal.SIGKILL:
        return False
    if code == 0:
        return True
    if excused and code == EARLY_EXIT:
        played.early_exits.append(f"exit {code} after {played.kills[-1].target} {played.kills[-1].state}".strip())
        return False
    raise Stuck(f"exit {code} in life {played.lives} after {_told(played.kills)}; it said: {life.said()}")


def _draw(dice: random.Random, weights: dict[Choice, int]) -> Choice:
    return dice.choices(list(weights), list(weights.values()))[0]


def _told(kills: list[Kill]) -> str:
    return (
        ", ".join(f"{kill.target} {kill.state} at {kill.at_s:.2f} s".replace("  ", " ") for kill in kills) or "nothing"
    )


def _sweep(run_id: str) -> None:
    for pid in targets.carriers(run_id) if run_id else ():
        targets.end(pid)


def undisturbed(job: Job, *, batchctl: str, workers: int, work: Path, times: int = 2) -> tuple[Results, float]:
    """The reference, from one of two (or `times`) runs that must agree, and the shortest time."""
    found, spans = [], []
    for letter in "ab"[:times]:
        out = work / f"reference-{letter}"
        job.lay(out)
        began = time.monotonic()
        command = job.command(batchctl, out, workers=workers)
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LIMIT_S)
        spans.append(time.monotonic() - began)
        if done.returncode != 0:
            raise SystemExit(f"the undisturbed run exited {done.returncode}: {done.stderr.strip()}")
        found.append(results_of(out, batchctl))
    if found[0] != found[-1]:
        raise SystemExit(f"two undisturbed runs differ: see {work}")
    return found[0], min(spans)


def campaign(
    *,
    kills: int,
    seed: int,
    workers: int,
    batchctl: str,
    work: Path,
    job_name: str = "mixed",
    python: str = sys.executable,
    voice: Callable[[str], None] = lambda _: None,
    until: float = float("inf"),
    short: bool = False,
) -> dict[str, object]:
    """Run it; the findings as one JSON-ready object, with `violations` in words. `python`: see make_mixed_job. No round
    is begun after `until` (time.monotonic()). `short`: rounds are judged by this process, not by the command."""
    job = JOBS[job_name](work / "job", python=python, seed=seed)
    reference, span = undisturbed(job, batchctl=batchctl, workers=workers, work=work)
    voice(
        f"undisturbed: {span:.2f} s, {len(reference.rows)} bytes of rows, {len(reference.published)} files, "
        f"{len(reference.quarantined)} quarantined"
    )
    setting = Setting(job, batchctl, workers, work, random.Random(seed), reference, span, "" if short else batchctl)
    rounds: list[Round] = []
    dealt = dry = 0
    while dealt < kills and dry < 20 and time.monotonic() < until:
        played = play(setting, len(rounds), budget=kills - dealt)
        rounds.append(played)
        dealt += len(played.kills)
        dry = 0 if played.kills else dry + 1
        mark = "FAILED" if played.problems else "ok"
        voice(f"round {played.number}: {mark}, {played.seconds:.1f} s, {_told(played.kills)}")
        for problem in played.problems:
            voice(f"    {problem}")
    return _findings(rounds, setting, seed=seed, wanted=kills if dry >= 20 else dealt)


def _findings(rounds: list[Round], setting: Setting, *, seed: int, wanted: int) -> dict[str, object]:
    kills = [kill for played in rounds for kill in played.kills]
    violations = [f"round {played.number}: {problem}" for played in rounds for problem in played.problems]
    if len(kills) < wanted:
        violations.append(f"only {len(kills)} of {wanted} kills hit")
    by_target = collections.Counter(str(kill.target) for kill in kills)
    return {
        "seed": seed,
        "workers": setting.workers,
        "undisturbed_s": round(setting.undisturbed_s, 3),
        "rounds": sum(bool(played.kills) for played in rounds),
        "kills": len(kills),
        "by_target": {str(target): by_target[target] for target in Target},
        "by_moment": dict(collections.Counter(str(kill.moment) for kill in kills)),
        "worker_states": dict(collections.Counter(kill.state for kill in kills if kill.state)),
        "nested": dict(collections.Counter(str(len(played.kills)) for played in rounds)),
        "early_exits": [text for played in rounds for text in played.early_exits],
        **{
            name: sum(getattr(played, name) for played in rounds)
            for name in ("lost", "duplicated", "unequal", "orphans", "leftovers")
        },
        "median_round_s": statistics.median([played.seconds for played in rounds] or [0.0]),
        "violations": violations,
        "detail": [asdict(played) for played in rounds],
    }


def render(found: dict[str, object]) -> str:
    """The table."""
    lines = [f"seed {found['seed']}, {found['workers']} workers, undisturbed {found['undisturbed_s']} s", ""]
    for title, key in (
        ("kills by target", "by_target"),
        ("by moment", "by_moment"),
        ("worker was in", "worker_states"),
    ):
        counts = found[key]
        assert isinstance(counts, dict)
        lines.append(f"{title:<18}" + ", ".join(f"{name} {count}" for name, count in counts.items()))
    early = found["early_exits"]
    assert isinstance(early, list)
    lines += [
        f"{'rounds by kills':<18}{found['nested']}",
        f"{'early exits':<18}{len(early)} {sorted(set(early)) if early else ''}".rstrip(),
        "",
        "| kills | rounds | lost | duplicated | unequal | orphans | leftovers | violations |",
        "|---|---|---|---|---|---|---|---|",
    ]
    violations = found["violations"]
    assert isinstance(violations, list)
    cells = [found[name] for name in ("kills", "rounds", "lost", "duplicated", "unequal", "orphans", "leftovers")]
    lines.append("| " + " | ".join(str(cell) for cell in (*cells, len(violations))) + " |")
    return "\n".join([*lines, "", *violations] if violations else lines)


def beside_python() -> str:
    """The command installed beside this interpreter."""
    return str(Path(sys.executable).parent / "batchctl")
