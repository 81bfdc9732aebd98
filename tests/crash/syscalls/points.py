"""Which points there are, and which of them a campaign takes.

A point is a call of an undisturbed life, in one of the states that a job's life begins from. Every state is surveyed
once; runs differ a little (when groups close), so a point may not be met again: it is tried twice, then counted as not
met, never as held.
"""

from __future__ import annotations

import fnmatch
import random
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.crash.findings import OptionError
from tests.crash.syscalls.jobs import SmallJob, Start
from tests.crash.syscalls.strace import CHANGES, OPENS, SYNCS, Call

OUT = "results/out"


@dataclass(frozen=True, slots=True)
class Point:
    """A call and what it meets there: "KILL", "EIO" or "ENOSPC"."""

    job: str
    start: Start
    call: Call
    fault: str

    @property
    def injected(self) -> str:
        """In strace's words."""
        return "signal=KILL" if self.fault == "KILL" else f"error={self.fault}"

    @property
    def stratum(self) -> tuple[str, ...]:
        """Its kind: all but the numbers, in paths too."""
        path = re.sub(r"\d+", "0", self.call.path)
        return (self.job, self.start.name, self.call.thread, self.call.name, path, self.fault)

    def __str__(self) -> str:
        return f"{self.job}, {self.start.name}: {self.fault} at {self.call}"


def kills(job: str, start: Start, calls: Iterable[Call]) -> Iterator[Point]:
    """At every call that changes, syncs or opens."""
    for call in calls:
        if call.name in CHANGES | SYNCS | OPENS:
            yield Point(job, start, call, "KILL")


_MAKES_ROOM = frozenset({"unlink", "unlinkat", "rmdir", "chmod", "fchmod", "fchmodat"})


def errors(job: str, start: Start, calls: Iterable[Call]) -> Iterator[Point]:
    """EIO at every call, reads included; ENOSPC where a file system may want room."""
    for call in calls:
        yield Point(job, start, call, "EIO")
        if call.creates or (call.name in CHANGES | SYNCS and call.name not in _MAKES_ROOM):
            yield Point(job, start, call, "ENOSPC")


def last(calls: Sequence[Call], cut: tuple[str, str, str]) -> list[Call]:
    """Calls that fit (thread, name, pattern of a path in OUT), the last one first. A file system that cannot rename
    without replacing is asked for a link."""
    thread, name, path = cut
    names = {name, "link", "linkat"} if name == "renameat2" else {name}
    return [
        call
        for call in reversed(calls)
        if call.thread == thread and call.name in names and fnmatch.fnmatch(call.path, f"{OUT}/{path}")
    ]


def part_of(text: str) -> tuple[int, int]:
    """(i, m) of "i/m", the i-th of m parts, from 1. OptionError where there is no such part."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise OptionError(f"shard={text}: it is i/m, the i-th of m parts, with i from 1 to m")
    return int(found[1]), int(found[2])


def shard(points: Sequence[Point], part: tuple[int, int]) -> list[Point]:
    """The i-th of m parts, by the points' names, so that it is the same in every survey."""
    number, of = part
    return [point for point in points if zlib.crc32(str(point).encode()) % of == number - 1]


def spread(points: Sequence[Point], dice: random.Random) -> list[Point]:
    """All of them, so that each beginning is as even as can be over their kinds."""
    strata: defaultdict[tuple[str, ...], list[Point]] = defaultdict(list)
    for point in points:
        strata[point.stratum].append(point)
    order = sorted(strata)
    dice.shuffle(order)
    for stratum in order:
        dice.shuffle(strata[stratum])
    found = []
    while any(strata.values()):
        found += [strata[stratum].pop() for stratum in order if strata[stratum]]
    return found


Enumerate = Callable[[str, Start, Iterable[Call]], Iterator[Point]]


def some_starts(job: SmallJob, dice: random.Random, most: int) -> list[Start]:
    """From nothing, and some others: for a campaign that is to be short."""
    fresh, others = job.starts[0], list(job.starts[1:])
    return [fresh, *dice.sample(others, min(most, len(others)))]
