"""What becomes of a damaged run: the store's own readers, on a disk in memory, and then to its end.

IDENTICAL: nothing that counts had changed, and the end has the reference's bytes. CUT: a torn tail of an unfinished run
was cut and what it held was scored again, to the same bytes. AGAIN: what was left is the run of before its retry,
whole; the retry ends in the same bytes. REFUSED: an error of ours that names the damage. REPORTED: the run went on, as
far as the damage allows, and `verify` names it. Everything else is a violation.
"""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from batchctl.errors import BatchctlError, CorruptionError, ExitCode
from batchctl.plan.read import Plan
from batchctl.run.existing import read_existing
from batchctl.store.finish import open_finished
from batchctl.store.inspection import inspect_log
from batchctl.store.layout import RUN_DIRECTORY, RunLayout
from batchctl.store.publish import FilesRefusedError
from batchctl.store.reopen import reopen_finished
from batchctl.store.replay import read_records
from batchctl.store.verify import verify
from tests.crash.corrupt.answers import (
    OUT,
    Answers,
    State,
    drive,
    image_of,
    recover_run,
    state_of,
    to_reopen,
)
from tests.crash.corrupt.damages import Changes, Damage
from tests.crash.corrupt.subjects import Subject
from tests.doubles.disk import MemoryDisk


class Verdict(StrEnum):
    IDENTICAL = "identical"
    CUT = "cut"
    AGAIN = "retried again"
    REFUSED = "refused"
    REPORTED = "reported by verify"


@dataclass(slots=True)
class Judgement:
    verdict: Verdict | None = None
    code: int = 0  # exit code of the refusal
    words: str = ""
    problems: list[str] = field(default_factory=list)
    verified: bool | None = None  # `verify` finds it sound; None: it was not asked


class Unexpected(Exception):
    """Something that no damage excuses; the message says what."""


# Damage is named (7), or taken for a run of something else, another format (6), or for a file in the way (2, 74).
NAMED = (ExitCode.CORRUPTION, ExitCode.RESUME_REFUSED, ExitCode.USAGE, ExitCode.STORAGE)


class Judge:
    """Of all damages of one subject. `whole` maps relative paths to the undamaged bytes."""

    def __init__(self, subject: Subject, answers: Answers, *, work: Path) -> None:
        self._subject = subject
        self._answers = answers
        self._work = work
        self._plan = f"{RUN_DIRECTORY}/plan"

    def judge(self, damage: Damage) -> Judgement:
        found = Judgement()
        try:
            self._follow(damage, damage.changes(), found)
        except BatchctlError as error:
            found.verdict, found.code, found.words = Verdict.REFUSED, error.exit_code, error.message
            # Files refused are no refusal of the run: items would be given up on that had been committed.
            if error.exit_code not in NAMED or not error.message or isinstance(error, FilesRefusedError):
                found.problems.append(f"exit {error.exit_code:d} {type(error).__name__}: {error.message}")
        except Unexpected as error:
            found.problems.append(str(error))
        except Exception as error:  # that is what is looked for
            where = traceback.extract_tb(error.__traceback__)[-1]
            found.problems.append(f"{type(error).__name__}: {error} at {Path(where.filename).name}:{where.lineno}")
        return found

    def _follow(self, damage: Damage, changes: Changes, found: Judgement) -> None:
        subject = self._subject
        files = {**subject.files, **changes}
        whole = {name: data for name, data in files.items() if data is not None}
        disk = MemoryDisk(image_of(whole))
        existing = read_existing(disk, RunLayout(OUT))
        if existing is None:
            raise Unexpected("the run has vanished without a word")
        if self._plan in changes or existing.document.run_id != subject.run_id:
            self._open_plan(files[self._plan], existing.document.plan_crc)
        layout = existing.layout
        found.verified = self._verified(disk, layout)
        image = disk.image()
        self._go_on(disk, layout, found, finished=existing.finished)
        if found.verdict is Verdict.CUT and subject.finished:
            if subject.rows or not damage.only_behind(subject.log):
                raise Unexpected("something of a finished run was cut")
            if not found.verified:
                raise Unexpected("verify calls damage what the resume cuts")
        if subject.finished and damage.log and found.verdict is Verdict.IDENTICAL:
            raise Unexpected("a finished run's log was accepted, changed")
        if not subject.finished:
            return
        if disk.image().names != image.names and found.verdict is Verdict.REFUSED:
            raise Unexpected("a refusal changed the names in OUT")

    def _verified(self, disk: MemoryDisk, layout: RunLayout) -> bool:
        """As the commands that only read see it. They write nothing, and raise nothing but what they name."""
        subject = self._subject
        before = disk.operations
        sound = verify(disk, layout, run_id=subject.run_id, bounds=subject.bounds).sound
        for read in (self._inspect, self._records):
            try:
                read(disk, layout)
            except CorruptionError:
                if sound:
                    raise Unexpected("the log cannot be read, and verify calls it sound") from None
        if disk.operations != before:
            raise Unexpected("reading wrote something")
        return sound

    def _inspect(self, disk: MemoryDisk, layout: RunLayout) -> None:
        if disk.stat(layout.log) is not None:
            list(inspect_log(disk, layout, run_id=self._subject.run_id))

    def _records(self, disk: MemoryDisk, layout: RunLayout) -> None:
        list(read_records(disk, layout, run_id=self._subject.run_id))

    def _go_on(self, disk: MemoryDisk, layout: RunLayout, found: Judgement, *, finished: bool) -> None:
        """What the same command does: say that it is complete, or recover and score what is left."""
        subject, answers = self._subject, self._answers
        cut = again = False
        if not finished:
            recovered = recover_run(disk, layout, subject, answers)
            cut = bool(recovered.cut_log or recovered.cut_rows)
            drive(disk, layout, recovered, answers)
        done = open_finished(disk, layout, run_id=subject.run_id, bounds=subject.bounds, locked=True)
        state = state_of(disk, layout, done)
        if state != answers.end and done.generation == 0 and subject.name.endswith("retrying"):
            again = True
            ranges = to_reopen(done)
            reopen_finished(disk, layout, run_id=subject.run_id, bounds=subject.bounds, ranges=ranges)
            recovered = recover_run(disk, layout, subject, answers)
            drive(disk, layout, recovered, answers)
            done = open_finished(disk, layout, run_id=subject.run_id, bounds=subject.bounds, locked=True)
            state = state_of(disk, layout, done)
        if state == answers.end:
            found.verdict = Verdict.AGAIN if again else Verdict.CUT if cut else Verdict.IDENTICAL
            return
        if verify(disk, layout, run_id=subject.run_id, bounds=subject.bounds).sound:
            raise Unexpected(f"another result, and verify calls it sound: {_difference(state, answers.end)}")
        found.verdict = Verdict.REPORTED

    def _open_plan(self, data: bytes | None, crc: int) -> None:
        """The plan is mapped from a real file. Raises what opening it raises, or Unexpected."""
        path = self._work / f"{self._subject.name}.{os.getpid()}.plan"  # judges go on side by side
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
        with Plan.open(path) as plan:
            if plan.crc == crc:
                raise Unexpected("another plan was accepted")
        raise CorruptionError("it is not the plan of this run", where=str(path))


def _difference(state: State, end: State) -> str:
    mine, theirs = dict(state.files), dict(end.files)
    names = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
    return f"files {names}, counts {state.counts} for {end.counts}, given up {state.given_up} for {end.given_up}"
