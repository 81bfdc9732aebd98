"""The registry of sub-commands: name -> one line of help; `load` imports the one that was asked for.

Each command is one file with the same four parts: help (its docstring-like texts), `arguments(parser)`, `run(args)` and
`render...`. They are imported here, inside functions, and nowhere else: `status` must not pay for what `run` needs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

HELP: Mapping[str, str] = MappingProxyType(
    {
        "run": "score the inputs; type it again to resume",
        "status": "how far a run is, and what to type next",
        "failures": "what was given up on, grouped by cause",
        "retry": "score again what was given up on, into the same output",
        "check": "every problem of a spec at once, and where each value comes from",
        "plan": "what a run would do; writes nothing",
        "inspect": "dump the checkpoint log, one JSON object a line",
        "verify": "check every row, frame and item of a run",
        "probe": "what this machine has and bears",
        "self": "this executable: what is inside, is it whole, what it left in its cache folder",
        "systemd": "print a systemd service, and a timer, for a job",
        "completion": "print a completion script for bash, zsh or fish",
        "man": "print the manual page",
    }
)


class Command(Protocol):
    """What a command's module offers."""

    @property
    def DESCRIPTION(self) -> str:
        """What it does, for its --help."""

    @property
    def EXAMPLES(self) -> tuple[str, ...]:
        """Command lines that work."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments. Those with an OUT call its destination `out`."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; returns the exit code, raises BatchctlError."""


def load(name: str) -> Command:
    """The module of the command `name`, which is one of HELP."""
    # Plain import statements, so that the type checker, import-linter and PyInstaller see them.
    if name == "run":
        from batchctl.cli import cmd_run

        return cmd_run
    if name == "status":
        from batchctl.cli import cmd_status

        return cmd_status
    if name == "failures":
        from batchctl.cli import cmd_failures

        return cmd_failures
    if name == "retry":
        from batchctl.cli import cmd_retry

        return cmd_retry
    if name == "check":
        from batchctl.cli import cmd_check

        return cmd_check
    if name == "plan":
        from batchctl.cli import cmd_plan

        return cmd_plan
    if name == "inspect":
        from batchctl.cli import cmd_inspect

        return cmd_inspect
    if name == "verify":
        from batchctl.cli import cmd_verify

        return cmd_verify
    if name == "self":
        from batchctl.cli import cmd_self

        return cmd_self
    if name == "systemd":
        from batchctl.cli import cmd_systemd

        return cmd_systemd
    if name == "completion":
        from batchctl.cli import cmd_completion

        return cmd_completion
    if name == "man":
        from batchctl.cli import cmd_man

        return cmd_man
    from batchctl.cli import cmd_probe

    return cmd_probe
