"""One life of the command: from its start to its end, and whom the campaign kills in it, and when."""

from __future__ import annotations

import collections
import random
import subprocess
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from batchctl.guest import page
from tests.crash import targets
from tests.crash.checks import STATE, Results
from tests.crash.jobs.job import Job

LIMIT_S = 90.0  # one command that takes longer hangs
POLL_S = 0.001


class Target(StrEnum):
    COORDINATOR = "coordinator"
    SERVER = "fork server"
    WORKER = "worker"
    ALL = "all at once"


class Moment(StrEnum):
    UNIFORM = "any time"
    START = "start, recovery"
    RECOVERY = "recovery"  # of a life after a kill, before any worker is ready
    COMMIT = "as rows appear"
    APPEND = "just as rows appear"
    FINISH = "finish"


_LATEST_S = {Moment.COMMIT: 0.02, Moment.APPEND: 0.0, Moment.FINISH: 0.05}  # after what the moment is named for


@dataclass(slots=True)
class Kill:
    """One that hit. `at_s` after the command began; `state`: a worker's, by its page."""

    target: Target
    moment: Moment
    at_s: float
    state: str = ""
    early: bool = False  # no worker was ready yet


class Stuck(Exception):
    """A command did not end in time or ended as it should not have; the message says how."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What does not change between rounds."""

    job: Job
    batchctl: str
    workers: int
    work: Path
    dice: random.Random
    reference: Results
    undisturbed_s: float
    judge: str  # `batchctl` of `checks.judge`


class Life:
    """One process of the command, from start to its end."""

    def __init__(self, setting: Setting, out: Path, log: Path) -> None:
        self._setting = setting
        self._out = out
        self._log = log
        self._sink = log.open("ab")
        command = setting.job.command(setting.batchctl, out, workers=setting.workers)
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._sink, stderr=self._sink)
        self.hits: collections.Counter[Target] = collections.Counter()

    @property
    def age(self) -> float:
        return time.monotonic() - self.began

    def ended(self) -> bool:
        if self.age > LIMIT_S:
            raise Stuck(f"still running after {LIMIT_S:.0f} s; it said: {self.said()}")
        return self.process.poll() is not None

    def await_moment(self, moment: Moment, *, since: float) -> bool:
        """Wait for the moment, or for the end: False."""
        dice, span = self._setting.dice, self._setting.undisturbed_s
        if moment is Moment.RECOVERY:
            if not self._await_lock():
                return False
            since, due = self.age, dice.uniform(0.0, 0.1 * span)
        elif moment is Moment.START:
            due = dice.uniform(0.0, 0.35 * span)
        elif moment is Moment.UNIFORM:
            due = dice.uniform(0.0, max(0.1, span - since))
        else:
            due = 0.0
            if not self._await_rows(moment):
                return False
            since, due = self.age, dice.uniform(0.0, _LATEST_S[moment])
        while not self.ended():
            if self.age - since >= due:
                return True
            time.sleep(POLL_S)
        return False

    def _await_lock(self) -> bool:
        lock = self._out / STATE / "lock"
        holder = b'"pid": %d,' % self.process.pid
        while not self.ended():
            if lock.exists() and holder in lock.read_bytes():
                return True
            time.sleep(POLL_S)
        return False

    def _await_rows(self, moment: Moment) -> bool:
        reference = self._setting.reference
        partial, whole = self._out / (reference.result + ".partial"), len(reference.rows)
        # Begun when all rows are there. A retry's are fewer than the whole, those of a table have another form.
        sorting = self._out / (reference.result + ".sorting")
        table = reference.result.endswith(".parquet")
        before, growths = _size(partial), self._setting.dice.randrange(1, 5)
        while not self.ended():
            size = _size(partial)
            if moment is Moment.FINISH and (sorting.exists() or (not table and size >= whole)):
                return True
            if moment is not Moment.FINISH and size != before:
                before, growths = size, growths - 1
                if not growths:
                    return True
            time.sleep(POLL_S)
        return False

    def hit(self, target: Target, moment: Moment) -> Kill | None:
        """Kill it now; None where it could not be hit."""
        found = targets.tree(self.process.pid)
        # A worker that says it is idle may not have been heard of yet; one with a lease was.
        early = not any(state > page.IDLE for state in targets.worker_states(found))
        if moment is Moment.RECOVERY and not early:
            moment = Moment.START  # it came too late for that
        kill = Kill(target, moment, round(self.age, 3), early=early)
        dice = self._setting.dice
        if target is Target.COORDINATOR:
            hit = targets.kill(self.process.pid)
        elif target is Target.ALL:
            order = [pid for pid in found.all if pid != self.process.pid]
            dice.shuffle(order)
            hit = targets.kill_all(found, order)
        elif target is Target.SERVER:
            # The second one that dies before it has done anything is taken for an interpreter that does not work.
            again = early and bool(self.hits[target])
            hit = not again and bool(found.server) and targets.kill(found.server, parent=self.process.pid)
        else:
            scratch = self._setting.job.scratch(self._out.name)
            if found.workers:
                pid = dice.choice(found.workers)
                kill.state = targets.kill_worker(pid, parent=found.server, scratch=scratch)
            hit = bool(kill.state)
        if not hit:
            return None
        self.hits[target] += 1
        return kill

    def wait(self) -> int:
        while not self.ended():
            time.sleep(POLL_S)
        self._sink.close()
        return int(self.process.returncode)

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._sink.close()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
