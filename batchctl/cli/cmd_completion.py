"""`batchctl completion`: what a shell needs to complete batchctl's command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from batchctl.cli import completion_bash, completion_fish, completion_zsh
from batchctl.cli.grammar import CommandLine, commands
from batchctl.cli.output import emit
from batchctl.errors import ExitCode

DESCRIPTION = """\
Prints a completion script for SHELL: commands, options, their values, files and folders. Install it so, then start a
new shell (the Debian package has done it already):

  bash  batchctl completion bash > ~/.local/share/bash-completion/completions/batchctl
        (or, without bash-completion, in ~/.bashrc:  source <(batchctl completion bash))
  zsh   batchctl completion zsh > FOLDER/_batchctl, where FOLDER is one of $fpath
        (or, after compinit in ~/.zshrc:  source <(batchctl completion zsh))
  fish  batchctl completion fish > ~/.config/fish/completions/batchctl.fish"""

EXAMPLES = (
    "batchctl completion bash > ~/.local/share/bash-completion/completions/batchctl",
    "batchctl completion fish > ~/.config/fish/completions/batchctl.fish",
)

SHELLS: Mapping[str, Callable[[Sequence[CommandLine]], str]] = MappingProxyType(
    {"bash": completion_bash.script, "zsh": completion_zsh.script, "fish": completion_fish.script}
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=tuple(SHELLS), help="bash, zsh or fish")


def run(args: argparse.Namespace) -> int:
    emit(render(args.shell).rstrip("\n"))
    return ExitCode.OK


def render(shell: str) -> str:
    return SHELLS[shell](commands())
