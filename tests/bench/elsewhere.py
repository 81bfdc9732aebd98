"""Figures of other benches that have a bound: `durability.py` and `scale.py`, by the name that bounds.py knows them by.

They are published beside the laps, in the column of the code that they were measured on.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

AT_REST, PER_MILLION = "PSS at rest, MB", "PSS per million items, MB"
PLAN, PLAN_SIZED = "plan of a million, s", "plan of a million with sizes, s"
NO_OP, FINISH = "no-op resume of a million, s", "finish, MB/s"
OVER_LINEAR = "10^7 over linear"

# Costs in cpu seconds of scale.py that are not within the noise of a start at 10^5 items. The others (resume, no-op,
# verify, finish) take 0.1 s more for a million: books.py has them without the start.
COSTS = ("plan_sized_cpu_s", "coordinator_cpu_s")
BOOKS = (100_000, 1_000_000)  # mini-batches, as 10^6 and 10^7 items have

Figures = dict[str, list[float]]
Costs = Mapping[int, Mapping[str, float]]  # cpu seconds by items (or mini-batches), by name
CURVE = (100_000, 1_000_000, 10_000_000)  # items


def syncs(workload: str, *, slower: bool) -> str:
    """The name of the wall time with syncs over that without, each sync 10 ms `slower` or as it is."""
    return f"{workload}: syncs{', each 10 ms slower,' if slower else ''} over off"


def of_scale(rows: Sequence[Mapping[str, Any]]) -> Figures:
    """What the rows of scale.py say, in wall seconds; of a size or a shape that was not measured, nothing."""
    curve = {row["items"]: row for row in rows if not row["shape"]}
    shapes = {row["shape"]: row for row in rows}
    found: Figures = {}
    if 1_000 in curve:
        found[AT_REST] = [curve[1_000]["run_pss_mb"]]
    if {1_000, 1_000_000} <= curve.keys():
        found[PER_MILLION] = [max(_pss(curve[1_000_000])) - curve[1_000]["run_pss_mb"]]
    if 1_000_000 in curve:
        found[PLAN], found[PLAN_SIZED] = [curve[1_000_000]["plan_in_run_s"]], [curve[1_000_000]["plan_sized_s"]]
    if single := shapes.get("mini-batches of 1"):
        found[NO_OP] = [single["resume_finished_s"]]
    if (large := shapes.get("rows of 10 KB")) and large["finish_s"]:
        found[FINISH] = [large["items"] * 10_240 / 1e6 / large["finish_s"]]
    return found


def over_linear(rounds: Sequence[Costs], books: Sequence[Costs]) -> list[float]:
    """How much dearer an item is among many, round by round, for the cost of which the median of that is the highest.

    `rounds` of scale.py: between 10^6 and 10^7 over between 10^5 and 10^6, which leaves the start out. `books`: runs of
    books.py, the larger of BOOKS over the smaller.
    """
    low, high = BOOKS
    ratios = [[_over_linear(curve, cost) for curve in rounds] for cost in COSTS]
    ratios += [[run[high][step] / high / (run[low][step] / low) for run in books] for step in books[0][low]]
    return max(ratios, key=statistics.median)


def _pss(row: Mapping[str, Any]) -> list[float]:
    return [row[key] for key in ("run_pss_mb", "rest_pss_mb", "plan_sized_pss_mb") if key in row]


def _over_linear(curve: Costs, cost: str) -> float:
    low, middle, high = (float(curve[items][cost]) for items in CURVE)
    return ((high - middle) / 9_000_000) / ((middle - low) / 900_000)
