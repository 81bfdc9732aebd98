"""`batchctl man`: the manual page, for `man` to show."""

from __future__ import annotations

import argparse

from batchctl.cli.grammar import commands
from batchctl.cli.man_page import page
from batchctl.cli.output import emit
from batchctl.errors import ExitCode

DESCRIPTION = """\
Prints the manual page batchctl(1) as roff. Looked at with `man -l -`, kept below a folder of $MANPATH."""

EXAMPLES = ("batchctl man | man -l -", "batchctl man > ~/.local/share/man/man1/batchctl.1")


def arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(_args: argparse.Namespace) -> int:
    emit(render().rstrip("\n"))
    return ExitCode.OK


def render() -> str:
    return page(commands())
