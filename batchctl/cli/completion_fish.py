"""The grammar as a completion script for fish 3."""

from __future__ import annotations

from collections.abc import Sequence

from batchctl.cli.grammar import SPEC_SUFFIXES, CommandLine, Operand, Option, Wants

_SCRIPT = r"""# fish completion for batchctl; made by `batchctl completion fish`

# Is the command $argv[1]? With two arguments: and is it its operand number $argv[2] (or a later one: 2+) that is being
# typed? The rest are the options that take a value.
function __batchctl_at
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test "$words[2]" = "$argv[1]"; or return 1
    set -q argv[2]; or return 0
    set -l operand 1
    set -l skip 0
    set -l dashes 0
    for word in $words[3..-1]
        if test $skip = 1
            set skip 0
        else if test $dashes = 1
            set operand (math $operand + 1)
        else if test "$word" = --
            set dashes 1
        else if contains -- $word $argv[3..-1]
            set skip 1
        else if not string match -q -- '-?*' $word
            set operand (math $operand + 1)
        end
    end
    if string match -q -- '*+' $argv[2]
        test $operand -ge (string trim -c + -- $argv[2])
    else
        test $operand = $argv[2]
    end
end

function __batchctl_bare
    test (count (commandline -opc)) -lt 2
end

# Folders, and with an argument the files that fit it, as they would complete what is being typed
function __batchctl_paths
    set -l token (commandline -ct)
    for found in (complete -C "__batchctl_none $token")
        set -l name (string split -m 1 \t -- $found)[1]
        if string match -q -- '*/' $name; or begin; set -q argv[1]; and string match -qr -- $argv[1] $name; end
            string replace -r -- '^--[a-z-]+=' '' $name
        end
    end
end

function __batchctl_lists
    set -l token (commandline -ct)
    string match -q -- '@*' $token; or return
    for found in (complete -C "__batchctl_none "(string sub -s 2 -- $token))
        printf '@%s\n' (string split -m 1 \t -- $found)[1]
    end
end

complete -c batchctl -f
complete -c batchctl -n __batchctl_bare -s h -l help -d 'show the help text'
complete -c batchctl -n __batchctl_bare -s V -l version -d 'show the version'
@COMMANDS@
complete -c batchctl -n '__batchctl_at help 1' -a '@NAMES@ '
@TABLE@
"""


def script(commands: Sequence[CommandLine]) -> str:
    """The text of the script, for a folder that fish looks into or to be sourced."""
    overview = [
        f"complete -c batchctl -n __batchctl_bare -a {_quoted(command.name)} -d {_quoted(command.summary)}"
        for command in commands
    ]
    overview.append("complete -c batchctl -n __batchctl_bare -a help -d 'show the help text of a command'")
    table = [line for command in commands for line in _command(command)]
    return (
        _SCRIPT.replace("@COMMANDS@", "\n".join(overview))
        .replace("@NAMES@", " ".join(command.name for command in commands))
        .replace("@TABLE@", "\n".join(table))
    )


def _command(command: CommandLine) -> list[str]:
    lines = ["", f"# {command.name}"]
    lines += [_option(command.name, option) for option in command.options]
    valued = " ".join(name for option in command.options if option.metavar for name in option.names)
    for number, operand in enumerate(command.operands, 1):
        condition = f"__batchctl_at {command.name} {number}{'+' if operand.many else ''} {valued}".rstrip()
        lines.append(_operand(condition, operand))
    return lines


def _option(command: str, option: Option) -> str:
    words = [f"complete -c batchctl -n {_quoted(f'__batchctl_at {command}')}"]
    words += [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    words.append(f"-d {_quoted(option.help)}")
    if option.metavar:
        words += ["-r", _offered(option.wants, option.values)]
    return " ".join(words).rstrip()


def _operand(condition: str, operand: Operand) -> str:
    line = f"complete -c batchctl -n {_quoted(condition)} {_offered(operand.wants, operand.values)}"
    return f"{line} -d {_quoted(operand.metavar)}" if operand.wants is Wants.CHOICE else line


def _offered(wants: Wants, values: Sequence[str]) -> str:
    specs = f"(__batchctl_paths '\\.({'|'.join(SPEC_SUFFIXES)})$')"
    return {
        Wants.CHOICE: f"-f -a {_quoted(' '.join(values))}",
        Wants.FOLDER: "-f -a '(__batchctl_paths)'",
        Wants.SPEC: f"-f -a {_quoted(specs)}",
        Wants.PATH: "-F",
        Wants.INPUT: "-F -a '(__batchctl_lists)'",
    }.get(wants, "-f")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
