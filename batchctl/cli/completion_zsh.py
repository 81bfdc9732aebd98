"""The grammar as a completion function for zsh 5, for a file `_batchctl` in a folder of $fpath, or to be sourced."""

from __future__ import annotations

from collections.abc import Sequence

from batchctl.cli.grammar import SPEC_SUFFIXES, CommandLine, Operand, Option, Wants

_SCRIPT = r"""#compdef batchctl
# zsh completion for batchctl; made by `batchctl completion zsh`

_batchctl_input() {
    compset -P '@'
    _files
}

_batchctl_commands() {
    local -a commands=(
@COMMANDS@
    )
    _describe -t commands command commands "$@"
}

_batchctl() {
    local curcontext=$curcontext state
    local -a line
    _arguments -S \
        '(- :)'{-h,--help}'[show the help text]' \
        '(- :)'{-V,--version}'[show the version]' \
        '1: :_batchctl_commands' \
        '*:: :->words' && return 0
    [[ $state == words ]] || return 1
    curcontext=${curcontext%:*}-$words[1]:
    case $words[1] in
@TABLE@
        help) _arguments '1: :_batchctl_commands' ;;
        *) return 1 ;;
    esac
}

if [[ ${funcstack[1]} == _batchctl ]]; then
    _batchctl "$@"
else
    compdef _batchctl batchctl
fi
"""
_ACTIONS = {
    Wants.TEXT: " ",
    Wants.FOLDER: "_files -/",
    Wants.PATH: "_files",
    Wants.INPUT: "_batchctl_input",
    Wants.SPEC: f'_files -g "*.({"|".join(SPEC_SUFFIXES)})(-.)"',
}


def script(commands: Sequence[CommandLine]) -> str:
    """The text of the function's file."""
    names = [f"        {_quoted(_escaped(command.name) + ':' + command.summary)}" for command in commands]
    table = []
    for command in commands:
        specs = [spec for option in command.options for spec in _option(option)]
        specs += [_operand(number, operand) for number, operand in enumerate(command.operands, 1)]
        words = " \\\n                ".join(["_arguments -s -S", *specs])
        table.append(f"        {command.name})\n            {words}\n            ;;")
    return _SCRIPT.replace("@COMMANDS@", "\n".join(names)).replace("@TABLE@", "\n".join(table))


def _option(option: Option) -> list[str]:
    """One `_arguments` spec a name; a repeatable one excludes nothing, any other itself under all its names."""
    before = "*" if option.repeatable else f"({' '.join(option.names)})"
    specs = []
    for name in option.names:
        taking = "" if not option.metavar else "=" if name.startswith("--") else "+"
        value = f":{_escaped(option.metavar)}:{_action(option.wants, option.values)}" if option.metavar else ""
        specs.append(_quoted(f"{before}{name}{taking}[{_escaped(option.help)}]{value}"))
    return specs


def _operand(number: int, operand: Operand) -> str:
    where = "*" if operand.many else f"{number}" if operand.required else f"{number}:"
    return _quoted(f"{where}:{_escaped(operand.metavar)}:{_action(operand.wants, operand.values)}")


def _action(wants: Wants, values: Sequence[str]) -> str:
    return f"({' '.join(_escaped(value) for value in values)})" if wants is Wants.CHOICE else _ACTIONS[wants]


def _escaped(text: str) -> str:
    """For a part of a spec: what ends a part there is a backslash and itself."""
    return "".join(f"\\{char}" if char in "\\:[]" else char for char in text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
