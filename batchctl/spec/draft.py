"""What is known of a spec while it is being read: values with their sources, problems and notes, all of them.

A reader never stops at the first problem. Values of higher rank replace those of lower rank; a problem of a field that
a higher rank gives a good value for becomes a note.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path

from batchctl.named_tuple import NamedTuple
from batchctl.spec.fields import Setting
from batchctl.spec.nodes import Node
from batchctl.spec.problems import Problem, Wrong, escaped

MOST_PROBLEMS = 100


class Rank(IntEnum):
    """Who wins: what was typed, then the environment, then the file."""

    DEFAULT = 0
    FILE = 1
    VARIABLE = 2
    SET = 3
    FLAG = 4


class Value(NamedTuple):
    """A field's value, where it comes from in words, and how much that counts."""

    value: object
    source: str
    rank: Rank


class Draft:
    """A spec in the making; written by the readers and by resolve, nobody else."""

    def __init__(self, notes: Iterable[str] = ()) -> None:
        self.values: dict[str, Value] = {}
        self.environment: dict[str, Value] = {}
        self.notes = list(notes)
        self._problems: list[tuple[Problem, Rank]] = []

    def add(self, problem: Problem, *, rank: Rank = Rank.FILE) -> None:
        self._problems.append((problem, rank))

    def note(self, node: Node, text: str) -> None:
        """Something said once to the user about a key."""
        head = f"{node.place.where}:{node.key}" if node.key else node.place.where
        self.notes.append(f"{escaped(head)}: {escaped(text)}")

    def put(self, name: str, value: Value) -> None:
        """Take the value unless one of higher rank is there."""
        old = self.values.get(name)
        if old is None or value.rank >= old.rank:
            self.values[name] = value

    def take(self, setting: Setting, node: Node, *, base: Path, rank: Rank) -> None:
        """Parse the node as the setting's value and keep it, or keep the problem. `--set` raises a file's rank."""
        rank = Rank.SET if node.from_set else rank
        try:
            value = setting.parse(node, base)
        except Wrong as wrong:
            self.add(node.problem(wrong.what, wrong.remedy, field=setting.field), rank=rank)
            return
        if setting.field == "environment":
            assert isinstance(value, dict)
            self._variables(value, node, rank)
        else:
            self.put(setting.field, Value(value, node.source, rank))

    def _variables(self, variables: dict[str, str], node: Node, rank: Rank) -> None:
        for name, text in variables.items():
            child = node.get(name)
            own = child if child is not None else node
            value = Value(text, own.source, Rank.SET if own.from_set else rank)
            old = self.environment.get(name)
            if old is None or value.rank >= old.rank:
                self.environment[name] = value

    def is_wrong(self, name: str) -> bool:
        """Whether some source gave the field a value that it cannot take."""
        return any(problem.field == name for problem, _ in self._problems)

    def settle(self) -> tuple[Problem, ...]:
        """The problems that stand; those that a higher rank made harmless are turned into notes."""
        standing: list[Problem] = []
        for problem, rank in self._problems:
            better = self.values.get(problem.field) if problem.field else None
            if better is not None and better.rank > rank:
                self.notes.append(f"{problem} (not used: {escaped(better.source)} is)")
            else:
                standing.append(problem)
        more = len(standing) - MOST_PROBLEMS
        if more > 0:
            standing = [*standing[:MOST_PROBLEMS], Problem(standing[0].where, f"and {more} more problems")]
        return tuple(standing)
