"""How near batchctl is to what the machine allows, beside the bounds that are ratios of wall times.

Two kinds of limit, both of laps that were measured in the same rounds:

    two loops   plain loops that share nothing, half of the work each (contest.HALVES); also with what batchctl's start
                and end, of one empty file, take longer than a plain loop's
    own time    the processor time of all of batchctl's own processes, on all cores at once; with what of its start and
                end is no processor time, or on one core only

Below the second nothing can be had by doing more at the same time: it needs less work.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace

from tests.bench.bounds import BOUNDS, OURS, Groups
from tests.bench.contest import HALVES, SERIAL, WORKERS, Found
from tests.bench.figures import Group, is_ours

_STARTED = f"{HALVES.name}, and batchctl's start"
_ALL_CORES = "batchctl on all cores at once"
_HEADS = {HALVES.name: "two loops", _STARTED: "with batchctl's start", _ALL_CORES: "own time"}


def table(groups: Groups) -> str:
    """A row for each bound that is a ratio of wall times and was measured; medians of ratios taken within rounds."""
    supposed = _with_supposed(groups)
    names = list(dict.fromkeys(one.name for group in groups.values() for one in group.laps if is_ours(one.name)))
    names += _HEADS
    lines = [
        "| figure | bound | " + " | ".join(_HEADS.get(name, name) for name in names) + " |",
        "|---|---|" + "---:|" * len(names),
    ]
    for bound in BOUNDS:
        figures = [bound.of(supposed, name) for name in names] if bound.is_wall else []
        if any(figures):
            cells = [f"{statistics.median(found):.3g}" if found else "-" for found in figures]
            lines.append(f"| {bound.figure} | {bound.words} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _with_supposed(groups: Groups) -> Groups:
    """The same with laps of contestants that nobody ran, made of those that somebody did."""
    start = groups.get("start")
    if start is None or not (start.of(OURS) and start.of(SERIAL.name)):
        return groups
    walls = {name: statistics.median(start.walls(name).values()) for name in (OURS, SERIAL.name)}
    later = walls[OURS] - walls[SERIAL.name]
    alone = max(0.0, walls[OURS] - statistics.median(one.cpu_s for one in start.of(OURS)) / WORKERS)

    def started(one: Found) -> Found:
        return replace(one, name=_STARTED, wall_s=one.wall_s + later)

    def on_all_cores(one: Found) -> Found:
        return replace(one, name=_ALL_CORES, wall_s=one.cpu_s / WORKERS + alone)

    return {
        name: Group([*group.laps, *_made(group, HALVES.name, started), *_made(group, OURS, on_all_cores)])
        for name, group in groups.items()
    }


def _made(group: Group, name: str, make: Callable[[Found], Found]) -> list[Found]:
    return [make(one) for one in group.of(name)]
