"""Power cuts of real file systems: `python -m tests.crash power -n N [--set fs=ext4,xfs] [--set lanes=2]`.

OUT lies on a file system in an image. While the real command works there, the file system is cut off from its disk
without a flush: what was not yet written is gone, as the next mount shows. Before some cuts a part of what is dirty is
written back, so that tails are torn. The processes are killed with the cut, or left with EIO: then they must say so
(74) and may claim success only for what is complete after the next mount. Then the same command again, until it ends by
itself or is cut again; the result must be the one of an undisturbed run.
"""

from __future__ import annotations

import collections
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from batchctl.errors import ExitCode
from tests.crash import targets
from tests.crash.aftermath import is_complete, look
from tests.crash.campaign import JOBS, undisturbed
from tests.crash.checks import Results, judge, run_id_of
from tests.crash.findings import HARM, Asked, Findings
from tests.crash.images import Image, NotHereError
from tests.crash.lives import Life, Moment, Setting, Stuck
from tests.crash.served import opened
from tests.crash.stirring import stir

NESTED = 4  # cuts of one OUT
SHARES = {"xfs": 2, "ext4": 1, "ext4-writeback": 1, "ext4-cached": 1}
PER_IMAGE = 24  # cuts that one file system lives through
MOMENTS = {Moment.UNIFORM: 3, Moment.START: 1, Moment.COMMIT: 3, Moment.APPEND: 5, Moment.FINISH: 3}
AFTER_THE_END = 0.07  # share of cuts that come right after exit 0
LEFT_ALIVE = 0.3  # share of cuts after which the command is left to find out


@dataclass(slots=True)
class Cut:
    """One that hit. `left`: the exit code of the command where it was left to find out."""

    moment: str
    at_s: float
    stirred: list[str]
    left: int | None = None
    torn_log: int = 0
    torn_rows: int = 0


@dataclass(slots=True)
class Round:
    """What one OUT went through."""

    kind: str
    cuts: list[Cut] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    harm: collections.Counter[str] = field(default_factory=collections.Counter)
    torn: tuple[int, int] = (0, 0)  # bytes of log and rows behind their good ends, when last seen
    seconds: float = 0.0


def campaign(asked: Asked) -> Findings:
    """`fs`: names for served.opened; `job`: of campaign.JOBS; `workers`: 2; `lanes`: file systems at a time, 1."""
    asked.knows("fs", "job", "workers", "lanes")
    kinds = asked.chosen("fs", SHARES)
    job_name, workers, lane_count = (
        asked.one("job", JOBS, "brief"),
        asked.number("workers", 2),
        asked.number("lanes", 1),
    )
    job = JOBS[job_name](asked.work / "job", python=sys.executable, seed=asked.seed)
    reference, span = undisturbed(job, batchctl=asked.batchctl, workers=workers, work=asked.work)
    asked.voice(f"undisturbed: {span:.2f} s, {len(reference.rows)} bytes of rows, {len(reference.published)} files")
    missing: dict[str, str] = {}
    rounds: list[Round] = []
    halted = threading.Event()

    def stretch(number: int, kind: str, cuts: int) -> None:
        folder = asked.work / f"{number:04d}-{kind}"
        setting = Setting(
            job,
            asked.batchctl,
            workers,
            folder,
            random.Random(f"{asked.seed}/{number}"),
            reference,
            span,
            asked.judge,
        )
        try:
            for played in _stretch(setting, kind, cuts=cuts, until=asked.until):
                rounds.append(played)
                if halted.is_set():
                    break
                asked.voice(f"{folder.name}: {_told(played)}")
                for problem in played.problems:
                    asked.voice(f"    {problem}")
        except NotHereError as error:
            missing[kind] = str(error)

    with ThreadPoolExecutor(lane_count) as lanes:
        futures = [lanes.submit(stretch, *one) for one in _stretches(asked.n or 200, kinds)]
        try:
            for future in futures:
                future.result()
        finally:  # interrupted, or one failed: the rounds under way end and clean up
            halted.set()
            lanes.shutdown(cancel_futures=True)
    return _findings(rounds, missing)


def _stretches(n: int, kinds: list[str]) -> Iterator[tuple[int, str, int]]:
    """(number, file system, cuts): by their shares, and by turns, so that what ends early has met them all."""
    whole = sum(SHARES[kind] for kind in kinds)
    left = {kind: n * SHARES[kind] // whole for kind in kinds}
    left[kinds[0]] += n - sum(left.values())
    number = 0
    while any(left.values()):
        for kind in kinds:
            cuts = min(left[kind], PER_IMAGE * SHARES[kind] // 2)
            if cuts:
                yield number, kind, cuts
                left[kind] -= cuts
                number += 1


def _stretch(setting: Setting, kind: str, *, cuts: int, until: float) -> Iterator[Round]:
    """Rounds on one file system until so many cuts have hit."""
    folder, number, dry = setting.work, 0, 0
    with opened(kind, folder).make() as image:
        image.mount()
        while cuts > 0 and dry < 20 and time.monotonic() < until:
            played = _play(setting, image, Round(kind), number=number, budget=cuts)
            cuts -= len(played.cuts)
            dry = 0 if played.cuts else dry + 1
            number += 1
            yield played
    if not any(path.name.startswith("kept-") for path in folder.iterdir()):
        shutil.rmtree(folder)


def _play(setting: Setting, image: Image, played: Round, *, number: int, budget: int) -> Round:
    dice = setting.dice
    name = f"{setting.work.name}-{number:03d}"
    out, log = image.at / name, setting.work / f"{name}.log"
    wanted = min(budget, 1 + dice.choice((0, 0, 1, 1, 2, NESTED - 1)))
    began = time.monotonic()
    try:
        while not _live(setting, image, out, log, played, wanted=wanted):
            image.unmount()
            image.mount()
            _look(out, setting.reference, played)
        run_id = run_id_of(out)
        verdict = judge(out, setting.reference, batchctl=setting.judge, run_id=run_id)
        played.problems += verdict.problems
        played.harm.update({name: getattr(verdict, name) for name in HARM})
    except (Stuck, OSError, subprocess.SubprocessError) as error:
        played.problems.append(f"{type(error).__name__}: {error}")
        image.revive()
    played.seconds = round(time.monotonic() - began, 2)
    if played.problems:
        image.keep(out, setting.work / f"kept-{name}")
    else:
        log.unlink()
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(setting.job.scratch(name))
    return played


def _live(setting: Setting, image: Image, out: Path, log: Path, played: Round, *, wanted: int) -> bool:
    """From the start of the command to its end, or to a cut: False."""
    dice = setting.dice
    life = Life(setting, out, log)
    try:
        if len(played.cuts) >= wanted:
            return _good(life, played)
        if dice.random() < AFTER_THE_END:
            _good(life, played)
            played.cuts.append(Cut("after exit 0", round(life.age, 3), [], left=0))
            image.cut()
            return False
        moment = dice.choices(list(MOMENTS), list(MOMENTS.values()))[0]
        if not life.await_moment(moment, since=0.0):
            return _good(life, played)
        cut = Cut(str(moment), round(life.age, 3), stir(out, dice))
        image.cut()
        played.cuts.append(cut)
        if dice.random() < LEFT_ALIVE:
            cut.left = life.wait()
            if cut.left not in (ExitCode.OK, ExitCode.STORAGE):
                played.problems.append(f"exit {cut.left} after a cut {moment}, not 74; it said: {life.said()}")
        else:
            found = targets.tree(life.process.pid)
            targets.kill_all(found, [pid for pid in found.all if pid != life.process.pid])
            life.process.kill()
            if life.wait() == ExitCode.OK:
                cut.left = ExitCode.OK  # it was faster, and has made its claim
        return False
    finally:
        life.close()


def _good(life: Life, played: Round) -> bool:
    code = life.wait()
    if code != 0:
        raise Stuck(f"exit {code} after {_told(played)}; it said: {life.said()}")
    return True


def _look(out: Path, reference: Results, played: Round) -> None:
    """After the remount: is what there is sound, and is what was claimed there? Counts torn tails."""
    cut = played.cuts[-1]
    if cut.left == ExitCode.OK and not is_complete(out, reference):
        played.problems.append(f"exit 0 was said, and then, after a cut {cut.moment}, the results were not all there")
    problems, torn = look(out)
    played.problems += [f"after a cut {cut.moment}: {problem}" for problem in problems]
    if torn != played.torn:  # else it is the tail of the cut before, which nobody has come to yet
        cut.torn_log, cut.torn_rows = played.torn = torn


def _told(played: Round) -> str:
    cuts = ", ".join(
        f"{cut.moment} at {cut.at_s:.2f} s"
        + f" (exit {cut.left})" * (cut.left is not None)
        + f" torn {cut.torn_log}+{cut.torn_rows}" * bool(cut.torn_log or cut.torn_rows)
        for cut in played.cuts
    )
    return f"{played.seconds:.1f} s, cut {cuts or 'never'}"


def _findings(rounds: list[Round], missing: dict[str, str]) -> Findings:
    cuts = [cut for played in rounds for cut in played.cuts]
    torn = [cut for cut in cuts if cut.torn_log or cut.torn_rows]
    counts = {"power_cuts": len(cuts), "torn_tails": len(torn)}
    counts |= {name: sum(played.harm[name] for played in rounds) for name in HARM}
    by_kind = collections.Counter(dict.fromkeys(SHARES, 0))
    for played in rounds:
        by_kind[played.kind] += len(played.cuts)
    detail = {
        "cuts": dict(by_kind),
        "rounds": len(rounds),
        "moments": dict(collections.Counter(cut.moment for cut in cuts)),
        "nested": dict(collections.Counter(len(played.cuts) for played in rounds)),
        "left_alive": dict(collections.Counter(str(cut.left) for cut in cuts if cut.left is not None)),
        "torn_logs": sum(1 for cut in torn if cut.torn_log),
        "torn_rows": sum(1 for cut in torn if cut.torn_rows),
        "torn_after": dict(collections.Counter("+".join(sorted(cut.stirred)) or "nothing" for cut in torn)),
    }
    violations = [f"{played.kind}: {problem}" for played in rounds for problem in played.problems]
    not_run = "; ".join(f"{kind}: {why}" for kind, why in sorted(missing.items()))
    return Findings(counts, violations, not_run, detail)
