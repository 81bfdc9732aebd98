"""The command line as data, read from the parsers themselves: what the completions and the manual page are made of.

`commands()` is every sub-command in the order of its registry; a word of it says what may be typed in its place. An
option that a parser has is in the grammar, and there is no other way into it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

from batchctl.cli import commands as registry
from batchctl.model.job import InputCheck, OnCollision, Order, OutputAction, OutputFormat, OwnFiles, Pin, Schedule
from batchctl.named_tuple import NamedTuple


class Wants(StrEnum):
    """What a shell should offer in a word's place."""

    NOTHING = "nothing"  # a switch
    TEXT = "text"  # a number, a name: nobody can guess it
    CHOICE = "choice"  # one of `values`
    FOLDER = "folder"
    PATH = "path"  # a file or a folder
    INPUT = "input"  # as PATH, or @ and a path
    SPEC = "spec"  # a file with one of SPEC_SUFFIXES, or a folder


class Option(NamedTuple):
    """A flag: `names` as argparse lists them (`-o`, `--out`); `metavar` is "" for a switch."""

    names: tuple[str, ...]
    metavar: str
    help: str
    wants: Wants
    values: tuple[str, ...]
    repeatable: bool


class Operand(NamedTuple):
    """A word without a dash. `many`: the last one, which may be typed any number of times; `required` at least once."""

    metavar: str
    help: str
    wants: Wants
    values: tuple[str, ...]
    many: bool
    required: bool


class Group(NamedTuple):
    """Options under one title."""

    title: str
    options: tuple[Option, ...]


class CommandLine(NamedTuple):
    """One sub-command. `summary` is its line in the overview; `usage` what follows its name."""

    name: str
    summary: str
    description: str
    usage: str
    examples: tuple[str, ...]
    groups: tuple[Group, ...]
    operands: tuple[Operand, ...]

    @property
    def options(self) -> tuple[Option, ...]:
        """Those of all groups."""
        return tuple(option for group in self.groups for option in group.options)


SPEC_SUFFIXES = ("py", "yml", "yaml", "toml")
# Settings take their values as text and check them later, so argparse knows no choices for them.
VALUES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "output_action": tuple(map(str, OutputAction)),
        "output_format": tuple(map(str, OutputFormat)),
        "order": tuple(map(str, Order)),
        "on_collision": tuple(map(str, OnCollision)),
        "own_files": tuple(map(str, OwnFiles)),
        "input_check": tuple(map(str, InputCheck)),
        "schedule": tuple(map(str, Schedule)),
        "pin": tuple(map(str, Pin)),
        "logging_level": ("debug", "info", "warning", "error", "critical"),
    }
)
_BY_METAVAR: Mapping[str, Wants] = MappingProxyType(
    {
        "OUT": Wants.FOLDER,
        "DIR": Wants.FOLDER,
        "FOLDER": Wants.FOLDER,
        "PATH": Wants.PATH,
        "FILE": Wants.PATH,
        "INPUT": Wants.INPUT,
        "SPEC": Wants.SPEC,
    }
)


def commands() -> tuple[CommandLine, ...]:
    """Every sub-command."""
    return tuple(_command(name, summary) for name, summary in registry.HELP.items())


def _command(name: str, summary: str) -> CommandLine:
    command = registry.load(name)
    parser = argparse.ArgumentParser(prog=f"batchctl {name}")
    command.arguments(parser)
    usage = parser.format_usage().removeprefix(f"usage: batchctl {name}")
    groups = [Group(group.title or "", _options(group._group_actions)) for group in parser._action_groups]
    return CommandLine(
        name=name,
        summary=summary,
        description=command.DESCRIPTION,
        usage=" ".join(usage.split()),
        examples=command.EXAMPLES,
        groups=tuple(group for group in groups if group.options),
        operands=tuple(_operand(action) for action in parser._actions if not action.option_strings),
    )


def _options(actions: Iterable[argparse.Action]) -> tuple[Option, ...]:
    return tuple(_option(action) for action in actions if action.option_strings)


def _option(action: argparse.Action) -> Option:
    switch = action.nargs == 0
    metavar = "" if switch else _metavar(action)
    wants, values = (Wants.NOTHING, ()) if switch else _wanted(action, metavar)
    return Option(
        names=tuple(action.option_strings),
        metavar=metavar,
        help=_help(action),
        wants=wants,
        values=values,
        repeatable=isinstance(action, argparse._AppendAction),
    )


def _operand(action: argparse.Action) -> Operand:
    metavar = _metavar(action)
    wants, values = _wanted(action, metavar)
    many = action.nargs in ("*", "+")
    return Operand(metavar, _help(action), wants, values, many=many, required=action.nargs not in ("*", "?"))


def _wanted(action: argparse.Action, metavar: str) -> tuple[Wants, tuple[str, ...]]:
    values = tuple(map(str, action.choices)) if action.choices is not None else VALUES.get(action.dest, ())
    if not values:
        values = tuple(word for word in metavar.split("|") if word.islower())  # N|auto
    return (Wants.CHOICE, values) if values else (_BY_METAVAR.get(metavar, Wants.TEXT), ())


def _metavar(action: argparse.Action) -> str:
    return str(action.metavar) if action.metavar else action.dest.upper()


def _help(action: argparse.Action) -> str:
    """What --help says of it, on one line."""
    if isinstance(action, argparse._HelpAction):
        return "show the help text"
    return " ".join((action.help or "").replace("%%", "%").split())
