"""What `make bench` is held to: each bound, the figure that it is for, and whether it is met.

A figure is the median over rounds of a ratio taken within each round. Nothing is asserted: what is missed is said.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.bench import elsewhere
from tests.bench.contest import SERIAL, SIMULATED
from tests.bench.figures import Group, is_ours, spread

Groups = Mapping[str, Group]
Told = Mapping[str, Sequence[float]]  # by other benches: elsewhere.py
ROUNDS = 5
OURS = "batchctl"
_POOL, _POOL_64 = "Pool, chunks of 1", "Pool, chunks of 64"


@dataclass(frozen=True, slots=True)
class Bound:
    """`of` gives the figures of one contestant by round; none where it was not measured."""

    figure: str
    limit: float
    of: Callable[[Groups, str], Sequence[float]]
    least: bool = False  # else the limit is the most that it may be
    unit: str = ""
    is_wall: bool = False  # a ratio of wall times, which every contestant has
    told: str = ""  # the name under which another bench tells the figure, of the command as it is installed

    @property
    def words(self) -> str:
        return f"{'>=' if self.least else '<='} {self.limit:g}{self.unit and ' ' + self.unit}"

    def verdict(self, groups: Groups, name: str, *, told: Told) -> tuple[str, str]:
        """The figure with its spread, and met, missed or not run."""
        found = self.of(groups, name)
        if self.told and name == OURS:
            found = told.get(self.told, ())
        if not found:
            return "-", "not run"
        middle = statistics.median(found)
        good = middle >= self.limit if self.least else middle <= self.limit
        return spread(found), "met" if good else "**missed**"


def _over(workload: str, other: str | None = None) -> Callable[[Groups, str], Sequence[float]]:
    """Wall over that of another contestant (None: the best peer)."""

    def of(groups: Groups, name: str) -> Sequence[float]:
        group = groups.get(workload)
        rival = group and (other or group.best)
        return group.ratios(name, group.walls(rival)) if group and rival else []

    return of


def _over_ideal(workload: str) -> Callable[[Groups, str], Sequence[float]]:
    return lambda groups, name: groups[workload].ratios(name, groups[workload].ideal) if workload in groups else []


def _under(workload: str, other: str) -> Callable[[Groups, str], Sequence[float]]:
    """How many times as fast as another."""
    return lambda groups, name: [1 / ratio for ratio in _over(workload, other)(groups, name)]


def _per_mini_batch(groups: Groups, name: str) -> Sequence[float]:
    """Microseconds, without the start and end of a run of one file."""
    if not {"start", "w1-single"} <= groups.keys() or not groups["start"].walls(name):
        return []
    start, group = statistics.median(groups["start"].walls(name).values()), groups["w1-single"]
    return [(wall - start) / group.items * 1e6 for wall in group.walls(name).values()]


def _start_ms(groups: Groups, name: str) -> Sequence[float]:
    return [wall * 1e3 for wall in groups["start"].walls(name).values()] if "start" in groups else []


def _makespan(groups: Groups, name: str) -> Sequence[float]:
    return [one.spread for one in groups["w3"].of(name)] if "w3" in groups else []


def _identical(groups: Groups, name: str) -> Sequence[float]:
    """1 where azure's bytes are those of pandas' to_csv, 0 where not."""
    if "w4-azure" not in groups:
        return []
    wanted = {one.round: one.digest for one in groups["w4-azure"].of(SERIAL.name)}
    return [float(one.digest == wanted.get(one.round)) for one in groups["w4-azure"].of(name)]


def _memory(groups: Groups, name: str) -> Sequence[float]:
    group = groups.get("w5")
    if group is None or group.best is None:
        return []
    theirs = {one.round: one.tree_mb for one in group.of(group.best)}
    return [one.tree_mb / theirs[one.round] for one in group.of(name) if one.round in theirs]


def _of_no_lap(_groups: Groups, _name: str) -> Sequence[float]:
    """Another bench tells it, which needs other inputs or faults."""
    return []


def _told(figure: str, limit: float, name: str, *, least: bool = False, unit: str = "") -> Bound:
    return Bound(figure, limit, _of_no_lap, least=least, unit=unit, told=name)


def _wall(figure: str, limit: float, of: Callable[[Groups, str], Sequence[float]], *, least: bool = False) -> Bound:
    return Bound(figure, limit, of, least=least, is_wall=True)


_RAY = "Ray Data"
BOUNDS = (
    _wall("W1: wall over Pool's, chunks of 1", 0.4, _over("w1", _POOL)),
    _wall("W1: wall over Pool's, its best chunks", 1.0, _over("w1", _POOL_64)),
    Bound("W1, mini-batches of 1: (wall - start) for each", 30, _per_mini_batch, unit="us"),
    _wall("W2: wall over the best peer's", 1.0, _over("w2")),
    _wall("W2: wall over the ideal", 1.2, _over_ideal("w2")),
    _wall("W3: wall over the ideal", 1.1, _over_ideal("w3")),
    _wall("W3: wall over the best peer's", 1.0, _over("w3")),
    Bound(f"W3: makespan on {SIMULATED} simulated workers, over the ideal", 1.05, _makespan),
    _wall("W4, csv: wall over the best peer's", 1.0, _over("w4")),
    _wall("W4, azure: times as fast as Pool with pandas' to_csv", 2.5, _under("w4-azure", _POOL), least=True),
    Bound("W4, azure: byte for byte pandas' (1: yes)", 1, _identical, least=True),
    _wall("W4, parquet: wall over the best peer's", 1.0, _over("w4-parquet")),
    _wall("W5: wall over the best peer's", 0.9, _over("w5")),
    Bound("W5: peak PSS over the best peer's", 0.8, _memory),
    _wall("W1: times as fast as Ray Data", 20, _under("w1", _RAY), least=True),
    _wall("W2: times as fast as Ray Data", 7, _under("w2", _RAY), least=True),
    _wall("W3: times as fast as Ray Data", 5, _under("w3", _RAY), least=True),
    _wall("W4: times as fast as Ray Data", 3, _under("w4", _RAY), least=True),
    _wall("W5: times as fast as Ray Data", 1.6, _under("w5", _RAY), least=True),
    Bound("one empty file, exec to exit", 250, _start_ms, unit="ms"),
    *(
        _told(
            f"{name.upper()}: syncs on over off{', each 10 ms slower' * slower}",
            (1.3 if slower else 1.15) if name == "w1" else (1.15 if slower else 1.05),
            elsewhere.syncs(name, slower=slower),
        )
        for name in ("w1", "w2", "w3", "w4", "w5")
        for slower in (False, True)
    ),
    _told("coordinator's PSS at rest", 40, elsewhere.AT_REST, unit="MB"),
    _told("coordinator's PSS for a million items more", 40, elsewhere.PER_MILLION, unit="MB"),
    _told("plan of a million warm files, without sizes", 3, elsewhere.PLAN, unit="s"),
    _told("plan of a million warm files, with sizes", 8, elsewhere.PLAN_SIZED, unit="s"),
    _told("resume of a finished run, a million mini-batches", 2, elsewhere.NO_OP, unit="s"),
    _told("ordered finish (or the disk's speed)", 300, elsewhere.FINISH, least=True, unit="MB/s"),
    _told("any cost of 10^7 items, over linear from 10^5", 1.2, elsewhere.OVER_LINEAR),
)


def table(groups: Groups, *, told: Told) -> str:
    """A row for each bound, two columns for each batchctl that ran."""
    names = list(dict.fromkeys(one.name for group in groups.values() for one in group.laps if is_ours(one.name)))
    names = names or [OURS]
    lines = [
        "| figure | bound | " + " | ".join(f"{name} | " for name in names) + " |",
        "|---|---|" + "---:|---|" * len(names),
    ]
    for bound in BOUNDS:
        cells = [cell for name in names for cell in bound.verdict(groups, name, told=told)]
        lines.append(f"| {bound.figure} | {bound.words} | " + " | ".join(cells) + " |")
    rounds = {name: len({one.round for one in group.laps}) for name, group in groups.items()}
    if few := [f"{name} {count}" for name, count in rounds.items() if count < ROUNDS]:
        lines += ["", f"A verdict wants {ROUNDS} rounds; so far there are: {', '.join(few)}."]
    return "\n".join(lines) + "\n"
