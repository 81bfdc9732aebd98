"""Real OOM kills in a memory cgroup: `python -m tests.crash oom -n N` goes on until the kernel has killed N processes.

Each round is one job under one limit. Files that are too large for it, a script that leaks, or a victim of our choice:
while a hungry item waits, the coordinator's or the fork server's oom_score_adj is raised from outside and that of all
others lowered, so that the kernel takes just that one. A coordinator that was killed is started again by the same
command. In the end all rows must be there but those of the files that are too large, which are quarantined one by one,
as out of memory, after a bounded number of kills.
"""

from __future__ import annotations

import collections
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.crash import targets
from tests.crash.checks import judge, quarantined, results_of, run_id_of
from tests.crash.findings import HARM, Asked, Findings
from tests.crash.jobs.memory import MIB, MemoryJob, Task, make_memory_job
from tests.doubles.memory_cgroup import MemoryCgroup, memory_cgroup

LIMIT_S = 120.0
MOST_SCORE = 1000  # oom_score_adj: counts as if the process held all that there is
# A file that is too large: its mini-batch uncharged, alone, twice; then halves of at most 6 items; the crew beside it.
KILLS_PER_FILE = 12
ITEMS = 24


@dataclass(slots=True)
class Round:
    """What was asked of it and what came."""

    kind: str
    limit: int
    workers: str
    kills: int = 0
    codes: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    harm: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind} in {self.limit} MiB, {self.workers} workers: {self.kills} kills, exits {self.codes}"


KINDS = ("large", "coordinator", "leak", "server", "several")


def campaign(asked: Asked) -> Findings:
    """n kills by the kernel (default 10), in rounds of all kinds in turn; `kind`: only of that kind."""
    asked.knows("kind")
    dice = random.Random(asked.seed)
    kinds = asked.chosen("kind", KINDS)
    rounds: list[Round] = []
    not_run = ""
    wanted = asked.n or 10
    while time.monotonic() < asked.until and (sum(one.kills for one in rounds) < wanted or len(rounds) < len(kinds)):
        number = len(rounds)
        played = Round(kinds[number % len(kinds)], dice.randrange(220, 400), dice.choice(("1", "2", "auto")))
        folder = asked.work / f"round-{number:03d}"
        try:
            with memory_cgroup(played.limit * MIB) as group:
                _play(played, folder, group, dice=dice, asked=asked)
        except pytest.skip.Exception as why:
            not_run = str(why)
            break
        rounds.append(played)
        asked.voice(f"round {number}: {'FAILED' if played.problems else 'ok'}, {played}")
        if not played.problems:
            shutil.rmtree(folder)
        if len(rounds) > 3 * wanted + len(kinds):
            break
    kills = sum(one.kills for one in rounds)
    counts = {"oom_kills": kills, **{name: sum(one.harm.get(name, 0) for one in rounds) for name in HARM}}
    violations = [f"round {n} ({played}): {what}" for n, played in enumerate(rounds) for what in played.problems]
    by_kind: collections.Counter[str] = collections.Counter()
    for one in rounds:
        by_kind[one.kind] += one.kills
    return Findings(
        counts if rounds else {}, violations, not_run, {"rounds": len(rounds), "kills by kind": dict(by_kind)}
    )


def _play(played: Round, folder: Path, group: MemoryCgroup, *, dice: random.Random, asked: Asked) -> None:
    job = _job(played, folder, dice=dice)
    victim = played.kind if played.kind in ("coordinator", "server") else ""
    try:
        played.codes.append(_live(job, played, group, victim=victim, batchctl=asked.batchctl))
        if victim == "coordinator":
            if played.codes != [-signal.SIGKILL]:
                played.problems.append("the kernel did not take the coordinator")
            _check_orphans(job, played)
            played.codes.append(_live(job, played, group, victim="", batchctl=asked.batchctl))
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        played.problems.append(f"{type(error).__name__}: {error}; it said: {_said(job)}")
    played.kills = group.oom_kills
    if played.problems:
        return
    if played.codes[-1] != 0:
        played.problems.append(f"exit {played.codes[-1]}; it said: {_said(job)}")
        return
    _judge(played, job, batchctl=asked.judge)
    least = len(job.guilty) + bool(victim)
    # The kernel takes somebody more where a killed worker's memory is not free yet.
    most = 2 + KILLS_PER_FILE * len(job.guilty) + 2 * bool(victim) + _of_the_leak(job, played)
    if not least <= played.kills <= most:
        played.problems.append(f"{played.kills} kills by the kernel, not {least} to {most}")


def _job(played: Round, folder: Path, *, dice: random.Random) -> MemoryJob:
    seeds = [dice.randrange(10**6) for _ in range(ITEMS)]
    guilty = tuple(sorted(dice.sample(range(ITEMS), {"leak": 0, "several": 3}.get(played.kind, 1))))
    leak = dice.randrange(played.limit // 12, played.limit // 5) if played.kind == "leak" else 0
    tasks = [
        Task(seed, hold=dice.choice((1024, 3 * played.limit)) if number in guilty else 0, leak=leak)
        for number, seed in enumerate(seeds)
    ]
    # Where a run leaks, each mini-batch has one file, which alone must fit.
    batch = 1 if leak else dice.randrange(1, 7)
    return make_memory_job(folder, tasks, batch=batch, guilty=guilty, python=sys.executable)


def _of_the_leak(job: MemoryJob, played: Round) -> int:
    """Each kill of a leaking worker must have cost it a third of the limit."""
    leaked = sum(task.leak for task in job.tasks)
    return leaked // (played.limit // 3) + 2 if leaked else 0


def _live(job: MemoryJob, played: Round, group: MemoryCgroup, *, victim: str, batchctl: str) -> int:
    """One life of the command, in the cgroup; `victim` is made the kernel's first choice."""
    if victim:
        job.gate.touch()
    command = [*group.prefix, *job.command(batchctl, "--workers", played.workers)]
    with (job.folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        if victim:
            _choose(victim, job, process)
            job.gate.unlink()
        return process.wait(LIMIT_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _choose(victim: str, job: MemoryJob, process: subprocess.Popen[bytes]) -> None:
    """Wait until a hungry worker waits, then have the kernel prefer `victim` to all others."""
    until = time.monotonic() + LIMIT_S
    while not list(job.scratch.glob("waiting.*")):
        if time.monotonic() > until or process.poll() is not None:
            raise TimeoutError("no worker came to the item that is too large")
        time.sleep(0.005)
    tree = targets.tree(process.pid)
    chosen = tree.coordinator if victim == "coordinator" else tree.server
    own = int(Path("/proc/self/oom_score_adj").read_text(encoding="ascii"))  # back to this needs no privilege
    for pid in tree.all:
        score = MOST_SCORE if pid == chosen else own
        Path(f"/proc/{pid}/oom_score_adj").write_text(f"{score}\n", encoding="ascii")


def _check_orphans(job: MemoryJob, played: Round) -> None:
    until = time.monotonic() + 60
    while (left := targets.carriers(run_id_of(job.out))) and time.monotonic() < until:
        time.sleep(0.02)
    if left:
        played.problems.append(f"processes outlived the coordinator: {left}")


def _judge(played: Round, job: MemoryJob, *, batchctl: str) -> None:
    given_up = quarantined(job.out, batchctl)
    if [one[:4] for one in given_up] != [(number, 1, "lost", "OutOfMemory") for number in job.guilty]:
        played.problems.append(f"quarantined: {given_up}, not the items {job.guilty}, as out of memory")
    reference = replace(
        results_of(job.out, batchctl),
        rows=job.rows,
        published={},
        quarantined=given_up,
        succeeded=len(job.tasks) - len(job.guilty),
    )
    verdict = judge(job.out, reference, batchctl=batchctl, run_id=run_id_of(job.out))
    played.harm = {name: getattr(verdict, name) for name in HARM}
    played.problems += verdict.problems
    summary = json.loads((job.out / ".batchctl" / "summary.json").read_text(encoding="utf-8"))
    if summary["items_quarantined"] != len(job.guilty):
        played.problems.append(f"the summary has {summary['items_quarantined']} items quarantined")


def _said(job: MemoryJob) -> str:
    return (job.folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:].strip()
