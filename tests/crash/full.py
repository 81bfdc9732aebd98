"""Full disks: `python -m tests.crash full [-n N]`: rounds through a table of cases, each on a small ext4 of its own.

A ballast takes the room while the real command works. It has to pause, say so in status.json, and go on by itself once
the ballast is gone; with `pause_max` it has to stop with 75, and the same command resumes. Nobody is charged for it:
the result is that of an undisturbed run.
"""

from __future__ import annotations

import collections
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from batchctl.errors import ExitCode
from tests.crash.campaign import undisturbed
from tests.crash.checks import RESULT, STATE, Results, judge, run_id_of
from tests.crash.findings import HARM, Asked, Findings
from tests.crash.images import KINDS, Image, Kind, NotHereError
from tests.crash.jobs.job import Job
from tests.crash.jobs.mixed import make_filling_job
from tests.crash.lives import LIMIT_S, POLL_S, Stuck

_BLOCK, _MIB = 4096, 1 << 20
_SMALL = Kind((*KINDS["ext4"].make, "-J", "size=4"), "commit=1", 48 * _MIB)
_FEW_NODES = Kind((*KINDS["ext4"].make, "-J", "size=4", "-N", "200"), "commit=1", 48 * _MIB)
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Case:
    """`job`: see make_filling_job. `free`: bytes that the ballast leaves, beside `rows` times all rows; None: it takes
    inodes. `before`: it is there when the command starts. `stays`: with a short pause_max, until the command has ended
    with one of `codes`; `term`: by a SIGTERM while it pauses, instead."""

    job: str = "rows"
    free: int | None = 256 << 10
    rows: int = 0
    before: bool = False
    stays: bool = False
    term: bool = False
    codes: tuple[int, ...] = (ExitCode.STOPPED,)
    kind: Kind = _SMALL


CASES: Mapping[str, Case] = {
    "rows": Case(),
    "rows-stay": Case(stays=True),
    "rows-term": Case(stays=True, term=True),
    "start": Case(free=0, before=True, stays=True, codes=(ExitCode.STOPPED, ExitCode.STORAGE)),
    "sorting": Case(free=512 << 10, rows=1),
    "sorting-stay": Case(free=512 << 10, rows=1, stays=True),
    "files": Case("files"),
    "files-stay": Case("files", stays=True),
    "spills": Case("spills", free=1 << 20),
    "inodes": Case("files", free=None, kind=_FEW_NODES),
}


@dataclass(slots=True)
class Played:
    """One case, once."""

    case: str
    paused: bool = False
    codes: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    harm: collections.Counter[str] = field(default_factory=collections.Counter)
    seconds: float = 0.0


def campaign(asked: Asked) -> Findings:
    """`case`: some of CASES (default: all), by turns; `workers`: 2."""
    asked.knows("case", "workers")
    names = asked.chosen("case", CASES)
    workers = asked.number("workers", 2)
    references: dict[str, tuple[Job, Results]] = {}
    played: list[Played] = []
    not_run = ""
    for number in range(asked.n or len(names)):
        name = names[number % len(names)]
        if time.monotonic() >= asked.until:
            break
        job_name = CASES[name].job
        if job_name not in references:
            work = asked.work / job_name
            job = make_filling_job(work / "job", python=sys.executable, seed=asked.seed, what=job_name)
            found, _ = undisturbed(job, batchctl=asked.batchctl, workers=workers, work=work, times=1)
            references[job_name] = (job, found)
        try:
            one = _Round(asked, name, number, *references[job_name], workers=workers).play()
        except NotHereError as error:
            not_run = str(error)
            break
        played.append(one)
        told = f"{one.seconds:.1f} s, {'paused, ' * one.paused}exit {', '.join(map(str, one.codes))}"
        asked.voice(f"{number:04d} {name}: {told}")
        for problem in one.problems:
            asked.voice(f"    {problem}")
    counts = {"full_disks": len(played)} | {harm: sum(one.harm[harm] for one in played) for harm in HARM}
    violations = [f"{one.case}: {problem}" for one in played for problem in one.problems]
    return Findings(counts, violations, not_run, {"cases": dict(collections.Counter(one.case for one in played))})


class _Round:
    """One case on one fresh file system."""

    def __init__(self, asked: Asked, name: str, number: int, job: Job, reference: Results, *, workers: int) -> None:
        self._asked = asked
        self._case = CASES[name]
        self._played = Played(name)
        self._folder = asked.work / f"full-{number:04d}"
        self._image = Image(self._case.kind, self._folder)
        self._job = job
        self._reference = reference
        self._workers = workers
        self._out = self._image.at / self._folder.name
        self._ballast = self._image.at / "ballast"
        self._log = self._folder / "log"

    def play(self) -> Played:
        played, began = self._played, time.monotonic()
        with self._image.make() as image:
            image.mount()
            try:
                self._run()
                verdict = judge(self._out, self._reference, batchctl=self._asked.judge, run_id=run_id_of(self._out))
                played.problems += verdict.problems
                played.harm.update({name: getattr(verdict, name) for name in HARM})
            except (Stuck, OSError, subprocess.SubprocessError) as error:
                played.problems.append(f"{type(error).__name__}: {error}")
            if played.problems:
                image.keep(self._out, self._folder / "kept")
        if not played.problems:
            shutil.rmtree(self._folder)
        played.seconds = round(time.monotonic() - began, 2)
        return played

    def _run(self) -> None:
        case, played = self._case, self._played
        if case.before:
            self._fill()
        with self._command(*(("--pause-max", "1s") if case.stays and not case.term else ())) as process:
            try:
                if not case.before:
                    self._await("rows", process, lambda: _size(self._out / f"{RESULT}.partial") > 0)
                    process.send_signal(signal.SIGSTOP)  # nothing is committed while the disk is being filled
                    self._fill()
                    process.send_signal(signal.SIGCONT)
                    # Where `pause_max` ends the pause before it is seen, the exit code proves it.
                    ended = case.stays and not case.term
                    played.paused = self._await(
                        "the pause", process, lambda: _state(self._out) == "paused", ended=ended
                    )
                if case.term:
                    process.send_signal(signal.SIGTERM)
                if not case.stays:
                    self._empty()
                self._await("the end", process, lambda: False, ended=True)
            finally:
                process.kill()
        played.codes.append(process.returncode)
        if case.stays:
            if process.returncode not in case.codes:
                raise Stuck(f"exit {process.returncode}, not {case.codes}; it said: {self._said()}")
            self._empty()
            with self._command() as process:
                self._await("the end", process, lambda: False, ended=True)
            played.codes.append(process.returncode)
        if process.returncode != 0:
            raise Stuck(f"exit {process.returncode}; it said: {self._said()}")

    def _command(self, *more: str) -> subprocess.Popen[bytes]:
        command = [*self._job.command(self._asked.batchctl, self._out, workers=self._workers), *more]
        with self._log.open("ab") as sink:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)

    def _await(
        self, what: str, process: subprocess.Popen[bytes], is_so: Callable[[], bool], *, ended: bool = False
    ) -> bool:
        """Wait until it is so; Stuck where that takes too long, or the command ends before (unless that is awaited)."""
        deadline = time.monotonic() + LIMIT_S
        while not is_so():
            if process.poll() is not None:
                if ended:
                    return True
                raise Stuck(f"exit {process.returncode} before {what} came; it said: {self._said()}")
            if time.monotonic() > deadline:
                raise Stuck(f"{what} did not come within {LIMIT_S:.0f} s; it said: {self._said()}")
            time.sleep(POLL_S)
        return True

    def _said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()

    def _fill(self) -> None:
        """Leave as much as the case says: what is written meanwhile is taken from that."""
        case = self._case
        if case.free is None:
            self._ballast.mkdir()
            for number in range(100_000):
                try:
                    (self._ballast / str(number)).touch()
                except OSError as error:
                    if error.errno not in _FULL:
                        raise
                    return
        left = (case.free or 0) + case.rows * (len(self._reference.rows) - _size(self._out / f"{RESULT}.partial"))
        handle = os.open(self._ballast, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            size = 0
            while (room := _free(self._image.at) - left) > 0:
                try:
                    os.posix_fallocate(handle, size, room)
                except OSError as error:
                    if error.errno not in _FULL:
                        raise
                    if room < 4 * _BLOCK:
                        break
                    room //= 2  # for what the file system needs to keep the books
                    os.posix_fallocate(handle, size, room)
                size += room
        finally:
            os.close(handle)

    def _empty(self) -> None:
        if self._ballast.is_dir():
            shutil.rmtree(self._ballast)
        else:
            self._ballast.unlink()


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize // _BLOCK * _BLOCK


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _state(out: Path) -> str:
    try:
        return str(json.loads((out / STATE / "status.json").read_text(encoding="utf-8"))["progress"]["state"])
    except (OSError, ValueError, KeyError):
        return ""
