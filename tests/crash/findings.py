"""What a campaign is asked for and what it found; every family of faults speaks these two records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# What is counted, and in which words it is published. A campaign counts only what it has really done.
COUNTS: Mapping[str, str] = {
    "model_states": "modelled crash states, each recovered and driven to the end",
    "mutants": "deliberately broken variants of the protocol",
    "mutants_caught": "of them caught",
    "kills": "random kill -9 of real processes",
    "rounds": "runs that kills were dealt to, each resumed to the end",
    "syscall_points": "kills at a system call",
    "error_points": "ENOSPC or EIO injected at a system call",
    "points_not_met": "system calls that were to be struck and were not made again: nothing was done there",
    "power_cuts": "power cuts of a real file system",
    "torn_tails": "torn tails met after them",
    "block_errors": "errors of the block device under the file system",
    "full_disks": "full disks",
    "oom_kills": "processes killed by the kernel for want of memory",
    "stops": "workers stopped, hung, busy or forking; drains; clocks set back",
    "corruptions": "corruptions of a finished or torn run",
    "fuzz_inputs": "malformed inputs to a reader",
    "lock_races": "races of coordinators for one run",
    "lost": "rows or files lost",
    "duplicated": "rows or files doubled",
    "unequal": "results that differ from an undisturbed run's",
}
HARM = ("lost", "duplicated", "unequal")
NO_WORK = frozenset({*HARM, "points_not_met"})  # counted, and yet nothing that was done to the product


class OptionError(Exception):
    """An option that the family does not know, or a value that it cannot use; nothing has been done."""


@dataclass(frozen=True, slots=True)
class Asked:
    """`n`: how many kills, points, cuts, ...; 0: every one there is. `until`: time.monotonic() after which no new round
    is begun. `work`: an existing empty folder. `options`: the family's own, as text. `short`: a test, whose rounds are
    judged by this process."""

    n: int
    seed: int
    work: Path
    batchctl: str
    until: float = float("inf")
    options: Mapping[str, str] = field(default_factory=dict)
    voice: Callable[[str], None] = lambda _: None
    short: bool = False

    @property
    def judge(self) -> str:
        """Who reads and verifies a finished run: `batchctl` of `checks.judge`."""
        return "" if self.short else self.batchctl

    def knows(self, *names: str) -> None:
        """OptionError where there is an option besides these: what is misspelt must not be passed over."""
        if unknown := sorted(set(self.options) - set(names)):
            raise OptionError(f"no option of this family: {', '.join(unknown)} (there are {', '.join(names)})")

    def number(self, name: str, default: int, *, least: int = 1) -> int:
        """The option `name` as a number."""
        try:
            found = int(self.options.get(name, str(default)))
        except ValueError:
            raise OptionError(f"{name}={self.options[name]}: not a number") from None
        if found < least:
            raise OptionError(f"{name}={found}: at least {least}")
        return found

    def chosen(self, name: str, among: Iterable[str]) -> list[str]:
        """The option `name` as some of these, between commas; all where it is not given."""
        there = list(among)
        found = self.options[name].split(",") if name in self.options else there
        if unknown := sorted(set(found) - set(there)):
            raise OptionError(f"{name}={self.options[name]}: no {', '.join(map(repr, unknown))} in {', '.join(there)}")
        return found

    def one(self, name: str, among: Iterable[str], default: str) -> str:
        """The option `name` as one of these."""
        found = self.options.get(name, default)
        if found not in among:
            raise OptionError(f"{name}={found}: it is one of {', '.join(among)}")
        return found

    def holding(self, name: str, among: Iterable[str]) -> list[str]:
        """Those in whose names the option `name` is found; all where it is not given."""
        part = self.options.get(name, "")
        found = [one for one in among if part in one]
        if not found:
            raise OptionError(f"{name}={part}: nothing has that in its name")
        return found


@dataclass(slots=True)
class Findings:
    """`counts`: keys of COUNTS. `violations` in words; empty: everything held. `not_run`: why the family, or a part of
    it, could not run here. `detail`: JSON-ready, for whoever looks into it."""

    counts: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    not_run: str = ""
    detail: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = set(self.counts) - set(COUNTS)
        if unknown:
            raise ValueError(f"not among what is counted: {sorted(unknown)}")

    @property
    def worked(self) -> bool:
        """Was anything done to the product?"""
        return any(count for name, count in self.counts.items() if name not in NO_WORK)
