"""The published figures: docs/performance.json, and what is made of it: tables in docs/performance.md and a picture.

A column holds the laps of one state of batchctl's code: a change there starts a new one, and a campaign can be run in
pieces, each of which adds whole rounds. `python -m tests.bench.record` writes tables and picture anew; a test compares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from tests import published
from tests.bench import bounds, figures, limits, picture
from tests.bench.contest import Found
from tests.bench.workloads import WORKLOADS
from tests.published import ROOT

FILE = ROOT / "docs" / "performance.json"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.svg"


def publish(laps: Sequence[Found], *, command: str, versions: Mapping[str, str], not_run: Mapping[str, str]) -> None:
    """Add the whole rounds of a piece to the column of the code that is checked out, under round numbers of their own;
    write the page and the picture anew. Pieces may end at the same time."""
    with _column(command) as column:
        column["versions"].update(versions)
        column["not_run"].update(not_run)
        column["laps"] += [_slim(one) for one in _renumbered(laps, column["laps"])]
    write()


def tell(told: Mapping[str, Sequence[float]], *, command: str) -> None:
    """The same with figures of another bench (elsewhere.py); they replace what it had told of this code."""
    with _column(command) as column:
        column.setdefault("told", {}).update({name: [round(one, 4) for one in found] for name, found in told.items()})
    write()


@contextmanager
def _column(command: str) -> Iterator[dict[str, Any]]:
    """That of the code that is checked out, with machine and command noted."""

    def new() -> dict[str, Any]:
        column = {"commit": published.commit_of(), "machines": [], "commands": [], "versions": {}}
        return {**column, "not_run": {}, "told": {}, "laps": []}

    with published.column_of(FILE, published.code_digest([""]), new=new, encode=_encoded) as column:
        column["machines"] = sorted({*column["machines"], published.machine()})
        column["commands"] = sorted({*column["commands"], command})
        yield column


def _renumbered(laps: Sequence[Found], there: Sequence[Mapping[str, Any]]) -> list[Found]:
    first = dict.fromkeys(WORKLOADS, 0)
    for one in there:
        first[one["workload"]] = max(first[one["workload"]], one["round"] + 1)
    lowest = {one.workload: min(other.round for other in laps if other.workload == one.workload) for one in laps}
    return [replace(one, round=one.round - lowest[one.workload] + first[one.workload]) for one in laps]


def _slim(one: Found) -> dict[str, Any]:
    """Without what is not known."""
    return {name: value for name, value in asdict(one).items() if value not in ("", 0.0) or name == "round"}


def _encoded(found: Mapping[str, Any]) -> str:
    """JSON with one lap a line: a campaign adds lines to a file that is kept in git, and nothing else."""
    columns = []
    for column in found["columns"]:
        head = json.dumps({name: value for name, value in column.items() if name != "laps"}, indent=1)[:-2]
        laps = ",\n".join("  " + json.dumps(one) for one in column["laps"])
        columns.append(f'{head},\n "laps": [\n{laps}\n ]\n}}')
    return f'{{"format": {found["format"]}, "columns": [\n' + ",\n".join(columns) + "\n]}\n"


def laps_of(column: Mapping[str, Any]) -> list[Found]:
    defaults = {"cpu_s": 0.0, "tree_mb": 0.0, "others": 0.0}
    return [Found(**{**defaults, **one}) for one in column["laps"]]


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """The tables by name, as Markdown: of the newest column, but for `columns`."""
    if not found["columns"]:
        return dict.fromkeys(
            ("bounds", "limits", "peers", "origin", "columns"), "Nothing has been published yet: all is not run.\n"
        )
    newest = found["columns"][0]
    return {
        "bounds": _bounds(newest),
        "limits": limits.table(figures.groups(laps_of(newest))),
        "peers": _peers(newest),
        "origin": _origin(newest),
        "columns": _columns(found),
    }


def _bounds(column: Mapping[str, Any]) -> str:
    return bounds.table(figures.groups(laps_of(column)), told=column.get("told", {}))


def _peers(column: Mapping[str, Any]) -> str:
    found = figures.groups(laps_of(column))
    parts = []
    for name, workload in WORKLOADS.items():
        if name in found:
            parts.append(f"**{name.upper()}**: {workload.title}\n\n{figures.table(found[name])}")
    return "\n".join(parts)


def _origin(column: Mapping[str, Any]) -> str:
    """What it was measured with."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(column["versions"].items()))
    lines = ["| | |", "|---|---|", f"| code of batchctl | `{column['code']}`, first at {column['commit']} |"]
    lines += [f"| machine | {'; '.join(column['machines'])} |", f"| versions | {versions} |"]
    lines += [f"| commands | {'; '.join(f'`{one}`' for one in column['commands'])} |"]
    lines += [f"| not run | {name}: {reason} |" for name, reason in sorted(column["not_run"].items())]
    return "\n".join(lines) + "\n"


def _columns(found: Mapping[str, Any]) -> str:
    """How figures have moved: medians by state of the code, newest first."""
    groups = [figures.groups(laps_of(column)) for column in found["columns"]]
    heads = [f"`{column['code']}` ({column['commit']})" for column in found["columns"]]
    lines = ["| figure | bound | " + " | ".join(heads) + " |", "|---|---|" + "---:|" * len(heads)]
    for bound in bounds.BOUNDS:
        cells = [
            bound.verdict(one, bounds.OURS, told=column.get("told", {}))[0].split(" ")[0]
            for one, column in zip(groups, found["columns"], strict=True)
        ]
        lines.append(f"| {bound.figure} | {bound.words} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def filled(page: str, found: Mapping[str, Any]) -> str:
    return published.filled(page, "performance", tables(found))


def drawn(found: Mapping[str, Any]) -> str:
    """The picture of the newest column, as SVG."""
    return picture.draw(figures.groups(laps_of(found["columns"][0])) if found["columns"] else {})


def write() -> None:
    """Page and picture from the data."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    PICTURE.write_text(drawn(found), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(write())
