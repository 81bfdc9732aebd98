"""The family of corruptions: finished and killed runs, damaged in every way that damages.py knows, one at a time.

n corruptions, drawn so that every kind of every subject has its share; 0: all of them, every byte of every log three
times among them. Each is followed to its end on a disk in memory (verdicts.py); `real` of them (default: one in 150)
before the real commands as well.
"""

from __future__ import annotations

import collections
import multiprocessing
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.crash.corrupt.answers import Answers, answers_of
from tests.crash.corrupt.commands import Commands
from tests.crash.corrupt.damages import Damage, damages_of
from tests.crash.corrupt.subjects import Subject, make_subjects
from tests.crash.corrupt.verdicts import Judge, Judgement, Verdict
from tests.crash.findings import Asked, Findings

_REPORTED = 25  # violations of one kind that are told one by one
_TURN = 2000


def campaign(asked: Asked) -> Findings:
    """`real`: how many go before the real commands, too; `processes`: default one for each cpu."""
    asked.knows("real", "processes")
    began, real = time.monotonic(), asked.number("real", asked.n // 150 if asked.n else 300, least=0)
    processes = _processes(asked)
    subjects = make_subjects(asked.batchctl, asked.work)
    answers = {name: answers_of(one) for name, one in subjects.items() if one.finished}
    damages = list(_all(subjects, seed=asked.seed))
    asked.voice(f"{len(subjects)} runs, {len(damages)} corruptions, made in {time.monotonic() - began:.1f} s")
    dice = random.Random(asked.seed)
    readers = [number for number, damage in enumerate(damages) if not damage.guest]
    chosen = _drawn(readers, damages, asked.n or len(readers), dice)
    told = _Told(asked)
    with _Hall(subjects, answers, damages, work=asked.work, processes=processes) as hall:
        for at in range(0, len(chosen), _TURN):
            if time.monotonic() >= asked.until:
                break
            for number, judged in hall.judge(chosen[at : at + _TURN]):
                told.add(damages[number], judged, finished=subjects[damages[number].subject].finished)
            asked.voice(f"{told.done} judged, {len(told.violations)} violations")
    states = {name: one.end for name, one in answers.items()}
    commands = Commands(asked.batchctl, asked.work, states=states)
    guests = [number for number, damage in enumerate(damages) if damage.guest]
    for number in _drawn([*chosen, *dice.sample(guests, len(guests) // 10 if not asked.n else 1)], damages, real, dice):
        if time.monotonic() >= asked.until:
            break
        damage = damages[number]
        told.real(damage, *commands.judge(subjects[damage.subject], damage))
    return told.findings()


def _all(subjects: Mapping[str, Subject], *, seed: int) -> Iterator[Damage]:
    for subject in subjects.values():
        if not subject.name.endswith(".other"):
            yield from damages_of(subject, subjects, seed=seed)


def _drawn(numbers: Sequence[int], damages: Sequence[Damage], n: int, dice: random.Random) -> list[int]:
    """n of them: kinds (of each subject) by turns, so that the rare ones are among them too."""
    if n >= len(numbers):
        return list(numbers)
    by_kind: dict[tuple[str, str], list[int]] = collections.defaultdict(list)
    for number in numbers:
        by_kind[damages[number].kind, damages[number].subject].append(number)
    piles = list(by_kind.values())
    dice.shuffle(piles)
    for pile in piles:
        dice.shuffle(pile)
    found: list[int] = []
    # The flips are most of all there is, and half of what is drawn.
    flips = [number for pile in piles for number in pile if damages[number].kind == "log flip"]
    dice.shuffle(flips)
    found += flips[: n // 2]
    taken = set(found)
    while len(found) < n:
        for pile in piles:
            while pile and pile[-1] in taken:
                pile.pop()
            if pile and len(found) < n:
                found.append(pile.pop())
    return found


def _processes(asked: Asked) -> int:
    here = len(os.sched_getaffinity(0))
    return max(1, min(here, asked.number("processes", here if not asked.n else 1)))


class _Hall:
    """Judges, in processes of their own where there are several: damages are made there, from the same lists."""

    def __init__(
        self,
        subjects: Mapping[str, Subject],
        answers: Mapping[str, Answers],
        damages: Sequence[Damage],
        *,
        work: Path,
        processes: int,
    ) -> None:
        self._damages = damages
        self._processes = processes
        self._judges = {
            name: Judge(one, answers[one.goal], work=work) for name, one in subjects.items() if one.goal in answers
        }
        self._pool = None

    def __enter__(self) -> _Hall:
        if self._processes > 1:
            _HERE.append(self)
            self._pool = multiprocessing.get_context("fork").Pool(self._processes)
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool.join()
            _HERE.clear()

    def judge(self, numbers: Sequence[int]) -> Iterator[tuple[int, Judgement]]:
        if self._pool is None:
            return ((number, self.one(number)) for number in numbers)
        return zip(numbers, self._pool.map(_one, numbers, chunksize=100), strict=True)

    def one(self, number: int) -> Judgement:
        damage = self._damages[number]
        return self._judges[damage.subject].judge(damage)


_HERE: list[_Hall] = []  # as the processes inherit it


def _one(number: int) -> Judgement:
    return _HERE[0].one(number)


class _Told:
    """What is counted, and what did not hold."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._verdicts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self._flips: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self._codes: collections.Counter[str] = collections.Counter()
        self._seen: collections.Counter[str] = collections.Counter()
        self._real: set[str] = set()
        self._refused_later: collections.Counter[str] = collections.Counter()
        self.done = 0
        self.violations: list[str] = []

    def add(self, damage: Damage, judged: Judgement, *, finished: bool) -> None:
        self.done += 1
        verdict = str(judged.verdict) if not judged.problems else "VIOLATION"
        self._verdicts[f"{'finished' if finished else 'unfinished'}: {damage.kind}"][verdict] += 1
        if damage.kind == "log flip" and damage.label.endswith("0x01"):
            self._flips[damage.subject][verdict] += 1
        if judged.verdict is Verdict.REFUSED and judged.verified is True:
            self._refused_later[f"{damage.kind}: {judged.words[:60]}"] += 1
        for problem in judged.problems:
            self._violate(damage, problem)

    def real(self, damage: Damage, codes: Mapping[str, int], problems: list[str]) -> None:
        if damage.guest:
            self.done += 1
        self._real.add(str(damage))
        self._codes[", ".join(f"{name} {code}" for name, code in codes.items())] += 1
        self.violations += problems

    def _violate(self, damage: Damage, problem: str) -> None:
        kind = f"{damage.subject} {damage.kind}: {problem[:60]}"
        self._seen[kind] += 1
        if self._seen[kind] <= _REPORTED:
            self.violations.append(f"{damage}: {problem}")

    def findings(self) -> Findings:
        def shares(counted: collections.Counter[str]) -> dict[str, float]:
            return {name: round(count / counted.total(), 4) for name, count in counted.most_common()}

        detail: dict[str, object] = {
            "verdicts": {kind: dict(counted) for kind, counted in sorted(self._verdicts.items())},
            "single-bit flips of the log": {name: shares(counted) for name, counted in sorted(self._flips.items())},
            "exit codes of the real commands": dict(self._codes.most_common()),
            "before the real commands": len(self._real),
            "refused by the resume, sound to verify": dict(self._refused_later.most_common(20)),
            "violations by kind": dict(self._seen.most_common()),
        }
        return Findings({"corruptions": self.done}, self.violations, detail=detail)
