"""The grammar as a manual page, batchctl(1), in the man(7) macros that groff and mandoc share.

The text is the same wherever and whenever it is made: no date, no width, nothing of this machine.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from batchctl import __version__
from batchctl.cli.grammar import CommandLine, Option
from batchctl.errors import EXIT_CODE_MEANING

_ABOUT = """\
Scores a folder of files with a scoring script (init() and run(mini_batch)), or an Azure ML batch deployment as it is,
on this machine. It sizes and pins the workers, retries, isolates bad files down to the single one, and writes the
output crash-safely: kill it anywhere, type the same command again, and the output is byte for byte what it would have
been."""

_SIGNALS = """\
SIGTERM and SIGINT (Ctrl-C) let what is under way finish, at most for the time of --grace, and stop the run; a second
one stops it now. Both leave a run that the same command resumes. So does SIGKILL."""

_ENVIRONMENT = (
    ("BATCHCTL_CACHE", "Folder that the executable unpacks itself into, instead of the first good one of those below."),
    ("CACHE_DIRECTORY, XDG_CACHE_HOME, HOME, TMPDIR", "Where that folder is looked for otherwise."),
    ("BATCHCTL_JSON, BATCHCTL_QUIET, BATCHCTL_VERBOSE", "As --json, -q and -v; off with 0, no, off or false."),
    ("VIRTUAL_ENV, CONDA_PREFIX, PATH", "Where the script's interpreter is looked for if none is named."),
    ("CUDA_VISIBLE_DEVICES", "The GPUs that workers are spread over."),
    ("GITHUB_STEP_SUMMARY", "File that `run` appends its summary to, as Markdown (set by GitHub Actions)."),
    ("GITLAB_CI", "Where it is set, `run` also leaves its summary in OUT/.batchctl/summary.md."),
    ("NOTIFY_SOCKET, WATCHDOG_USEC", "Set by systemd, which `run` tells how it goes."),
)

_FILES = (
    ("OUT/predictions.csv", "The result. Appears when the run is complete, whole, in the order of the inputs."),
    ("OUT/predictions.csv.partial", "The rows until then, in the order in which they came."),
    ("OUT/.batchctl/", "The run: plan, checkpoint log, status.json, summary.json, attempts.csv, logs/."),
    ("batchctl.toml, deployment.yml, score.py", "What is looked for, in this order, where SPEC is a folder."),
    ("/var/cache/batchctl, ~/.cache/batchctl", "What the executable unpacked: for root, for everybody else."),
)


def page(commands: Sequence[CommandLine]) -> str:
    """The page. Every command, option, value and exit code is in it."""
    lines = [
        '.\\" Made by `batchctl man`; the parsers are its source.',
        f'.TH BATCHCTL 1 "" "batchctl {_plain(__version__)}" "User Commands"',
        ".nh",  # no word of a command line is divided
        ".ad l",
        ".SH NAME",
        "batchctl \\- score a folder of files with a scoring script, crash\\-safe",
        ".SH SYNOPSIS",
    ]
    for number, command in enumerate(commands):
        lines += [
            *([".br"] if number else []),
            f"\\fBbatchctl {_plain(command.name)}\\fR {_marked(command.usage)}".rstrip(),
        ]
    lines += [".br", "\\fBbatchctl help\\fR [\\fICOMMAND\\fR]", ".br", "\\fBbatchctl \\-\\-version\\fR"]
    lines += [".SH DESCRIPTION", _text(_ABOUT), ".SH COMMANDS"]
    for command in commands:
        lines += _command(command, told=_told_before(command, commands))
    lines += [".SH EXIT STATUS", *_terms((f"{int(code)}", text) for code, text in EXIT_CODE_MEANING.items())]
    lines += [".SH SIGNALS", _text(_SIGNALS)]
    lines += [
        ".SH ENVIRONMENT",
        _text("Each setting is also a variable: BATCHCTL_ and the flag in capitals, as in BATCHCTL_WORKERS=4."),
    ]
    lines += [*_terms(_ENVIRONMENT), ".SH FILES", *_terms(_FILES), ".SH EXAMPLES"]
    lines.append(".nf")
    lines += [f"\\fB{_plain(example)}\\fR" for command in commands for example in command.examples]
    lines.append(".fi")
    return "\n".join(lines) + "\n"


def _told_before(command: CommandLine, commands: Sequence[CommandLine]) -> dict[str, str]:
    """Titles of groups that an earlier command has, option for option, and that command's name."""
    told: dict[str, str] = {}
    for other in commands:
        if other is command:
            break
        for group in other.groups:
            if len(group.options) > 3 and group in command.groups:
                told.setdefault(group.title, other.name)
    return told


def _command(command: CommandLine, *, told: dict[str, str]) -> list[str]:
    lines = [f".SS batchctl {_plain(command.name)}", _description(command.description)]
    lines += _terms((operand.metavar, _told(operand.help, operand.values)) for operand in command.operands)
    for group in command.groups:
        if group.title in told:
            lines += [".PP", _text(f"Settings: those of `batchctl {told[group.title]}`.")]
            continue
        if group.title != "options":
            lines += [".PP", _text(f"{group.title[:1].upper()}{group.title[1:]}:")]
        for option in group.options:
            if option.names != ("-h", "--help"):
                lines += [".TP", _option(option), _text(_told(option.help, option.values))]
    return lines


def _told(text: str, values: Sequence[str]) -> str:
    """The help text, and the values where it does not name each."""
    return text if all(value in text for value in values) else f"{text} ({', '.join(values)})"


def _option(option: Option) -> str:
    value = f" \\fI{_plain(option.metavar)}\\fR" if option.metavar else ""
    return ", ".join(f"\\fB{_plain(name)}\\fR{value}" for name in option.names)


def _terms(terms: Iterable[tuple[str, str]]) -> list[str]:
    return [line for term, text in terms for line in (".TP", f"\\fB{_plain(term)}\\fR", _text(text))]


def _description(text: str) -> str:
    """Paragraphs; what is indented stands as it is."""
    lines: list[str] = []
    for part in text.split("\n\n"):
        if lines:
            lines.append(".PP")
        if part.startswith("  "):
            lines += [".nf", *(_plain(line) for line in part.split("\n")), ".fi"]
        else:
            lines.append(_text(part))
    return "\n".join(lines)


def _text(text: str) -> str:
    """A paragraph, filled: each sentence begins a line, because roff widens the blank after one that ends a line."""
    sentences = re.split(r"(?<=[.?!]) (?=[A-Z])", " ".join(text.split()))
    lines = [
        line
        for sentence in sentences
        for line in textwrap.wrap(sentence, 72, break_long_words=False, break_on_hyphens=False)
    ]
    return "\n".join(_plain(line) for line in lines)


def _marked(usage: str) -> str:
    """A usage line: words in capitals are variable, those with dashes typed as they are."""
    text = _plain(usage)
    text = re.sub(r"(?<![\w-])((?:\\-){1,2}[a-z](?:[a-z]|\\-)*)", r"\\fB\1\\fR", text)
    return re.sub(r"\b([A-Z][A-Z_]+)\b", r"\\fI\1\\fR", text)


def _plain(text: str) -> str:
    """One line of text with everything escaped that roff would obey or draw as another character."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti").replace('"', "\\(dq")
    text = "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in text)
    return f"\\&{text}" if text.startswith(".") else text
