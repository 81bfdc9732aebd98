"""`batchctl check`: every field with its value and where it comes from, then notes, then problems; as text or JSON.

Environment variables are shown by name and source, never by value.
"""

from __future__ import annotations

from batchctl.named_tuple import NamedTuple
from batchctl.spec.fields import SETTINGS
from batchctl.spec.identity import Json, plain
from batchctl.spec.problems import Problem, escaped
from batchctl.spec.resolve import Loaded

_ORDER = (
    "scorer",
    "script",
    "code",
    "inputs",
    *(setting.field for setting in SETTINGS if setting.field != "environment"),
)
# What a None means, in words.
_ABSENT = {"workers": "auto", "threads": "auto", "model": "none", "python": "found by rule", "state_dir": "in OUT"}
HIDDEN = "(set)"
SEE_PROBLEMS = "see problems"


class Row(NamedTuple):
    """One field: its name, its value as JSON has it, and the source in words."""

    field: str
    value: Json
    source: str


def rows(loaded: Loaded) -> tuple[Row, ...]:
    """Every field that could be resolved, in the order of the settings table; there may be problems nevertheless."""
    if loaded.dialect is None:
        return ()
    found = [Row("dialect", loaded.dialect.value, escaped(loaded.shown))]
    wrong = {problem.field for problem in loaded.problems}
    for name in _ORDER:
        value = loaded.values.get(name)
        if name in wrong:
            found.append(Row(name, None, SEE_PROBLEMS))
        elif value is not None:
            found.append(Row(name, plain(value.value), escaped(value.source)))
    found += [Row(f"environment.{name}", HIDDEN, escaped(source)) for name, source in loaded.environment.items()]
    return tuple(found)


def as_json(loaded: Loaded) -> dict[str, object]:
    """The same as data: spec, ok, fields, notes, problems."""
    return {
        "spec": loaded.shown,
        "ok": not loaded.problems,
        "fields": [{"field": row.field, "value": row.value, "source": row.source} for row in rows(loaded)],
        "notes": list(loaded.notes),
        "problems": [_problem(problem) for problem in loaded.problems],
    }


def as_text(loaded: Loaded) -> list[str]:
    """The same as lines for a person, aligned, problems last."""
    table = [(row.field, shown(row), row.source) for row in rows(loaded)]
    widths = [max((len(cells[column]) for cells in table), default=0) for column in (0, 1)]
    lines = [f"{name:<{widths[0]}}  {value:<{min(widths[1], 60)}}  {source}" for name, value, source in table]
    if loaded.notes:
        lines += ["", "notes:", *(f"  {note}" for note in loaded.notes)]
    if loaded.problems:
        count = len(loaded.problems)
        lines += ["", f"{count} problem{'s' if count > 1 else ''}:", *(f"  {problem}" for problem in loaded.problems)]
    return lines


def shown(row: Row) -> str:
    """A row's value as a person reads it."""
    if row.source == SEE_PROBLEMS:
        return "-"
    if row.value is None:
        return _ABSENT.get(row.field, "none")
    if isinstance(row.value, bool):
        return "true" if row.value else "false"
    if isinstance(row.value, list):
        return escaped(", ".join(row.value)) or "none"
    if isinstance(row.value, float):
        return f"{row.value:g}"
    return escaped(str(row.value))


def _problem(problem: Problem) -> dict[str, str]:
    return {
        "where": escaped(problem.where),
        "key": escaped(problem.key),
        "what": escaped(problem.what),
        "remedy": escaped(problem.remedy),
        "text": str(problem),
    }
