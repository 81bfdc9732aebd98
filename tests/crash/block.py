"""Errors of the block device under a file system: `python -m tests.crash block -n N`.

OUT lies on an ext4 whose disk is a file served by nbdkit, through nbdfuse and a loop device. While the real command
works, nbdkit begins to refuse writes with EIO, for good or for a moment: the kernel then drops what it could not write
and says so once. The command has to stop with 74, or its claim of success has to be true of what is on the disk. Then a
mount of a disk that works again, nothing cached, and the same command: it recovers from what is there, to an equal end.
"""

from __future__ import annotations

import collections
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from batchctl.errors import ExitCode
from tests.crash.aftermath import is_complete, look
from tests.crash.campaign import JOBS, undisturbed
from tests.crash.checks import judge, run_id_of
from tests.crash.findings import HARM, Asked, Findings
from tests.crash.images import KINDS, NotHereError
from tests.crash.lives import Life, Moment, Setting, Stuck
from tests.crash.served import ServedImage

MOMENTS = {Moment.UNIFORM: 3, Moment.COMMIT: 3, Moment.APPEND: 3, Moment.FINISH: 2}
FOR_A_MOMENT = 0.5  # share of rounds in which the disk works again soon
_MOMENT_S = 0.1
_DRY = 20  # rounds in a row in which nobody met the error


@dataclass(slots=True)
class Round:
    """One OUT and its broken disk."""

    moment: str = ""
    code: int | None = None
    momentary: bool = False
    problems: list[str] = field(default_factory=list)
    harm: collections.Counter[str] = field(default_factory=collections.Counter)
    seconds: float = 0.0


def campaign(asked: Asked) -> Findings:
    """`n`: how many errors the command has to meet (50). `job`: of campaign.JOBS; `workers`: 2."""
    asked.knows("job", "workers")
    workers = asked.number("workers", 2)
    job = JOBS[asked.one("job", JOBS, "brief")](asked.work / "job", python=sys.executable, seed=asked.seed)
    reference, span = undisturbed(job, batchctl=asked.batchctl, workers=workers, work=asked.work, times=1)
    dice = random.Random(asked.seed)
    rounds: list[Round] = []
    met = dry = 0
    not_run = ""
    while met < (asked.n or 50) and dry < _DRY and time.monotonic() < asked.until:
        folder = asked.work / f"block-{len(rounds):04d}"
        setting = Setting(job, asked.batchctl, workers, folder, dice, reference, span, asked.judge)
        try:
            played = _play(setting)
        except NotHereError as error:
            not_run = str(error)
            break
        rounds.append(played)
        dry = 0 if played.code == ExitCode.STORAGE else dry + 1
        met += played.code == ExitCode.STORAGE
        told = f"{played.moment}{', for a moment' * played.momentary}"
        asked.voice(f"{folder.name}: {played.seconds:.1f} s, EIO {told}: exit {played.code}")
        for problem in played.problems:
            asked.voice(f"    {problem}")
    counts = {"block_errors": met} | {name: sum(played.harm[name] for played in rounds) for name in HARM}
    violations = [f"EIO {played.moment}: {problem}" for played in rounds for problem in played.problems]
    detail: dict[str, object] = {
        "rounds": len(rounds),
        "codes": dict(collections.Counter(str(played.code) for played in rounds)),
        "moments": dict(collections.Counter(played.moment for played in rounds)),
        "momentary": sum(played.momentary for played in rounds),
    }
    return Findings(counts, violations, not_run, detail)


def _play(setting: Setting) -> Round:
    played, began, dice, folder = Round(), time.monotonic(), setting.dice, setting.work
    flag, log = folder / "broken", folder / "log"
    faults = ("error=EIO", *(f"error-{what}-rate=100%" for what in ("pwrite", "zero", "trim")), f"error-file={flag}")
    with ServedImage(KINDS["ext4"], folder, filters=("error",), settings=faults).make() as image:
        out = image.at / folder.name
        try:
            image.mount()
            life = Life(setting, out, log)
            try:
                _break(life, played, dice, flag)
            finally:
                life.close()
            image.unmount()
            flag.unlink(missing_ok=True)
            image.mount()  # of a disk served anew: what the kernel had cached is gone
            _judge(setting, out, log, played)
            if played.problems:
                image.keep(out, folder / "kept")
        except (Stuck, OSError, subprocess.SubprocessError) as error:
            played.problems.append(f"{type(error).__name__}: {error}")
    shutil.rmtree(setting.job.scratch(folder.name), ignore_errors=True)
    if not played.problems:
        shutil.rmtree(folder)
    played.seconds = round(time.monotonic() - began, 2)
    return played


def _break(life: Life, played: Round, dice: random.Random, flag: Path) -> None:
    moment = dice.choices(list(MOMENTS), list(MOMENTS.values()))[0]
    played.moment = str(moment)
    if life.await_moment(moment, since=0.0):
        flag.touch()
        played.momentary = dice.random() < FOR_A_MOMENT
        if played.momentary:
            time.sleep(_MOMENT_S)
            flag.unlink()
    played.code = life.wait()
    if played.code not in (ExitCode.OK, ExitCode.STORAGE):
        played.problems.append(f"exit {played.code}, not 74; it said: {life.said()}")


def _judge(setting: Setting, out: Path, log: Path, played: Round) -> None:
    """On the disk that works again."""
    if played.code == ExitCode.OK and not is_complete(out, setting.reference):
        played.problems.append("exit 0 was said, and the results are not all on the disk")
    played.problems += look(out)[0]
    again = Life(setting, out, log)
    try:
        code = again.wait()
    finally:
        again.close()
    if code != 0:
        raise Stuck(f"exit {code} on the disk that works again; it said: {again.said()}")
    verdict = judge(out, setting.reference, batchctl=setting.judge, run_id=run_id_of(out))
    played.problems += verdict.problems
    played.harm.update({name: getattr(verdict, name) for name in HARM})
