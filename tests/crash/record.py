"""The published figures: docs/reliability.json, and the tables that are made of it in docs/reliability.md and README.

A column holds the campaigns that ran on one state of store/ and engine/: a change there starts a new one. Its totals
are the sums of its entries. `python -m tests.crash.record` writes the tables anew; a test compares.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests import published
from tests.crash.findings import COUNTS, HARM
from tests.published import ROOT

FILE = ROOT / "docs" / "reliability.json"
PAGES = (ROOT / "docs" / "reliability.md", ROOT / "README.md")
ROOMS = ("store", "engine")
REPEATABLE = frozenset({"model", "corrupt", "fuzz"})  # the same seed does the same again
BROKEN = "promises broken"


@dataclass(frozen=True, slots=True)
class Entry:
    """One campaign: which, on which commit, from which seed, by which command, with what result."""

    family: str
    commit: str
    seed: int
    command: str
    counts: Mapping[str, int]
    violations: int


def code_digest() -> str:
    """What the figures hold for: the content of store/ and engine/."""
    return published.code_digest(ROOMS)


def is_of_this_tree(batchctl: str) -> bool:
    """Does this command run the code whose digest `code_digest` gives? Only one that stands beside this interpreter and
    imports this tree from anywhere does."""
    if Path(batchctl).absolute() != Path(sys.executable).absolute().parent / "batchctl":
        return False
    asked = [sys.executable, "-I", "-c", "import batchctl; print(batchctl.__file__)"]
    said = subprocess.run(asked, cwd="/", capture_output=True, text=True)
    return said.returncode == 0 and Path(said.stdout.strip()).resolve() == ROOT / "batchctl" / "__init__.py"


def publish(entry: Entry, *, code: str, machine: str, seconds: int, not_run: str = "") -> None:
    """Add a campaign to its column and write the tables anew. Campaigns may end at the same time."""

    def new() -> dict[str, Any]:
        return {"machines": [], "totals": {}, "not_run": {}, "entries": []}

    with published.column_of(FILE, code, new=new, encode=_encoded) as column:
        if machine not in column["machines"]:
            column["machines"].append(machine)
        told = f"{entry.family} {entry.command.partition(' SET=')[2]}".strip()
        if not_run:
            column["not_run"][told] = not_run
        else:
            column["not_run"].pop(told, None)
        if any(entry.counts.values()) or entry.violations:
            made = {**asdict(entry), "seconds": seconds, "machine": machine}
            column["entries"] = [one for one in column["entries"] if not _is_contained(one, made)]
            if not any(_is_contained(made, one) for one in column["entries"]):
                column["entries"].append(made)
        column["totals"] = totals(column["entries"])
    write_tables()


def _encoded(found: Mapping[str, Any]) -> str:
    return json.dumps(found, indent=1) + "\n"


def _is_contained(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Did these two do the same, and the other as much or more? Then both would count it twice. A campaign on real
    processes never does the same twice; one that broke a promise stays."""
    same = all(one[name] == other[name] for name in ("family", "seed")) and _settings(one) == _settings(other)
    less = all(count <= other["counts"].get(name, 0) for name, count in one["counts"].items())
    return one["family"] in REPEATABLE and same and less and one["violations"] <= other["violations"]


def _settings(entry: Mapping[str, Any]) -> str:
    return str(entry["command"]).partition(" SET=")[2]


def totals(entries: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Sums over campaigns; of mutants the largest set, because all campaigns try the same ones."""
    sums: Counter[str] = Counter()
    for entry in entries:
        for name, count in entry["counts"].items():
            if name.startswith("mutants"):
                sums[name] = max(sums[name], count)
            else:
                sums[name] += count
    known = {name: sums[name] for name in COUNTS if name in sums}
    return {**known, "violations": sum(entry["violations"] for entry in entries)}


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """The tables by name, as Markdown."""
    columns = found["columns"]
    return {"figures": _figures(columns), "newest": _newest(columns), "campaigns": _campaigns(columns)}


def _figures(columns: Sequence[Mapping[str, Any]]) -> str:
    heads = [
        f"`{column['code']}` ({column['entries'][-1]['commit'] if column['entries'] else '-'})" for column in columns
    ]
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(columns)]
    for name, words in {**COUNTS, "violations": BROKEN}.items():
        cells = [f"{column['totals'][name]:,}" if name in column["totals"] else "not run" for column in columns]
        if set(cells) != {"not run"}:
            lines.append(f"| {words} | " + " | ".join(cells) + " |")
    lines.append("| machine | " + " | ".join("; ".join(column["machines"]) for column in columns) + " |")
    why = [{f"{family}: {reason}" for family, reason in column["not_run"].items()} for column in columns]
    if any(why):
        lines.append("| not run | " + " | ".join("; ".join(sorted(one)) or "-" for one in why) + " |")
    return "\n".join(lines) + "\n"


def _newest(columns: Sequence[Mapping[str, Any]]) -> str:
    """For a reader in a hurry: what was done to the newest code and to all that is recorded, and what it did to
    results."""
    sums = columns[0]["totals"] if columns else {}
    ever = totals([entry for column in columns for entry in column["entries"]])
    lines = ["| what was done | to the newest code | in all |", "|---|---:|---:|"]
    for name, words in {**COUNTS, "violations": BROKEN}.items():
        if name in ever and name not in HARM and name != "violations":
            lines.append(f"| {words} | {sums.get(name, 0):,} | {ever[name]:,} |")
    for name, words in {**{name: COUNTS[name] for name in HARM}, "violations": BROKEN}.items():
        if name in ever:
            lines.append(f"| **{words}** | **{sums.get(name, 0):,}** | **{ever[name]:,}** |")
    return "\n".join(lines) + "\n"


def _campaigns(columns: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| code | commit | command | counts | promises broken | minutes |", "|---|---|---|---|---:|---:|"]
    for column in columns:
        for entry in column["entries"]:
            counts = ", ".join(f"{name} {count:,}" for name, count in entry["counts"].items() if count)
            cells = (column["code"], entry["commit"], f"`{entry['command']}`", counts, entry["violations"])
            lines.append("| " + " | ".join(map(str, cells)) + f" | {entry['seconds'] / 60:.1f} |")
    return "\n".join(lines) + "\n"


def filled(page: str, made: Mapping[str, str]) -> str:
    """The page with the tables between its marks written anew."""
    return published.filled(page, "reliability", made)


def write_tables() -> None:
    """docs/reliability.md and README from docs/reliability.json."""
    made = tables(json.loads(FILE.read_text(encoding="utf-8")))
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(write_tables())
