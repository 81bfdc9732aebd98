"""Laps to figures: medians, spread, and ratios within a round to the ideal and to the best peer."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.contest import HALVES, SERIAL, WORKERS, Found


@dataclass(frozen=True, slots=True)
class Group:
    """The laps of one workload."""

    laps: Sequence[Found]

    @property
    def names(self) -> list[str]:
        """Contestants, ours first, then by median wall time."""
        names = dict.fromkeys(one.name for one in self.laps)
        return sorted(names, key=lambda name: (not is_ours(name), statistics.median(self.walls(name).values())))

    def of(self, name: str) -> list[Found]:
        return [one for one in self.laps if one.name == name]

    def walls(self, name: str) -> dict[int, float]:
        """By round."""
        return {one.round: one.wall_s for one in self.of(name)}

    @property
    def ideal(self) -> dict[int, float]:
        """By round: start and init() of the serial loop, and its work evenly on all workers."""
        return {one.round: one.wall_s - one.work_s + one.work_s / WORKERS for one in self.of(SERIAL.name)}

    @property
    def items(self) -> int:
        return max(one.items for one in self.laps)

    @property
    def best(self) -> str | None:
        """The peer with the lowest median that did all of the work."""
        peers = [name for name in self.names if is_peer(name) and self.of(name)[0].items == self.items]
        return peers[0] if peers else None

    def ratios(self, name: str, other: dict[int, float]) -> list[float]:
        """Wall over `other`'s in the same round."""
        return [wall / other[number] for number, wall in self.walls(name).items() if number in other]


def is_ours(name: str) -> bool:
    return name.startswith("batchctl")


def is_peer(name: str) -> bool:
    """Could a user pick it instead?"""
    return not (is_ours(name) or name.startswith(HALVES.name))


def groups(laps: Sequence[Found]) -> dict[str, Group]:
    """By workload, in the order of their first laps."""
    names = dict.fromkeys(one.workload for one in laps)
    return {name: Group([one for one in laps if one.workload == name]) for name in names}


def table(group: Group) -> str:
    ideal, best = group.ideal, group.best
    lines = [
        "| | rounds | wall s, median (min-max) | over ideal | over the best peer | cpu s | PSS, MiB | others, cores |",
        "|---|" + "---:|" * 7,
    ]
    for name in group.names:
        found = group.of(name)
        partial = found[0].items < group.items
        cells = [
            f"**{name}**" if is_ours(name) else name + (f", first {found[0].items:,} files" if partial else ""),
            str(len(found)),
            spread([one.wall_s for one in found]),
            "-" if partial else spread(group.ratios(name, ideal)),
            "-" if partial or best is None else spread(group.ratios(name, group.walls(best))),
            f"{statistics.median(one.cpu_s for one in found):.2f}",
            f"{statistics.median(one.tree_mb for one in found):.0f}",
            f"{statistics.median(one.others for one in found):.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def spread(figures: Sequence[float]) -> str:
    if not figures:
        return "-"
    middle, low, high = (
        f"{one:.3g}" if one < 100 else f"{one:.0f}" for one in (statistics.median(figures), min(figures), max(figures))
    )
    return middle if len(figures) == 1 else f"{middle} ({low}-{high})"
