"""The entry: argv -> one command -> exit code. The only place that turns errors into text and an exit status.

    batchctl: error: what is wrong
      where: the file, line and key, or the flag
      fix: what to type

Nothing of ours ever ends in a traceback: what we did not expect goes into a crash file, and exit code 1 names it.
"""

from __future__ import annotations

import argparse
import errno
import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from batchctl import __version__
from batchctl.cli import commands
from batchctl.cli.crash import write_crash_file
from batchctl.cli.output import ReaderGoneError, emit
from batchctl.errors import (
    EXIT_CODE_MEANING,
    BatchctlError,
    ExitCode,
    NodeTooSmallError,
    ResumeRefusedError,
    SpecError,
    UsageError,
)
from batchctl.report.wording import plural, printable, printable_block

# Where an error itself knows no better.
_REMEDIES = {
    ExitCode.CORRUPTION: "nothing was changed; restore OUT from a copy, or start over with --fresh or another OUT",
    ExitCode.STORAGE: "look at the disk, its free space and the permissions; then the same command again",
}
# Where what lies behind it is a limit on the account: nothing of ours is broken, and the disk is not either.
_FILES = "raise the limit on open files (ulimit -n; LimitNOFILE= of a unit) or ask for fewer --workers"
_PROCESSES = "raise the limit on processes (ulimit -u; TasksMax= of a unit) or ask for fewer --workers"
_LIMITS = {errno.EMFILE: _FILES, errno.ENFILE: _FILES, errno.EAGAIN: _PROCESSES}
READER_GONE = 141  # what a shell reports for a program that SIGPIPE ended: 128 + 13


def entry() -> NoReturn:
    """The command: `main`, then exit at once. To take the interpreter apart, object by object, costs 25 ms after a run;
    every output of ours is flushed where it is written, and every thread that matters by then was waited for."""
    os._exit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Run `batchctl argv...` and return its exit code; never raises, KeyboardInterrupt included."""
    # The short-lived objects here are tuples and bytes that reference counts free; looking for cycles among them every
    # 700 allocations cost 6 % of a run of many small mini-batches.
    gc.set_threshold(100_000, 20, 20)
    # A thread that wants to run waits so long before it asks the other to let go: 5 ms, unless told otherwise, is more
    # than workers of short mini-batches have in hand while a commit group is packed.
    sys.setswitchinterval(0.0003)
    typed = list(sys.argv[1:] if argv is None else argv)
    args = argparse.Namespace()
    try:
        _make_streams_safe()
        return _dispatch(typed, args)
    except BatchctlError as error:
        _say(error_text(error))
        return int(error.exit_code)
    except KeyboardInterrupt:
        _say("batchctl: interrupted")
        return int(ExitCode.INTERRUPTED)
    except ReaderGoneError:
        return READER_GONE
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            return _internal(error, typed, args)
        _say(error_text(NodeTooSmallError(f"a limit of this machine: {error}", remedy=_then_again(_FILES))))
        return int(ExitCode.NODE_TOO_SMALL)
    except Exception as error:  # noqa: BLE001 - the last line of defence: what nobody expected becomes a file
        return _internal(error, typed, args)


def _internal(error: Exception, typed: list[str], args: argparse.Namespace) -> int:
    path = write_crash_file(error, typed, out=getattr(args, "out", None))
    fix = "please report it with that file" if path else "please report it"
    _say(error_text(BatchctlError(f"internal error: {type(error).__name__}: {error}", where=path, remedy=fix)))
    return int(ExitCode.INTERNAL)


def _dispatch(typed: list[str], args: argparse.Namespace) -> int:
    first = typed[0] if typed else ""
    if first in ("--version", "-V"):
        emit(f"batchctl {__version__}")
        return ExitCode.OK
    if first in ("-h", "--help", "help") and (len(typed) == 1 or typed[1] not in commands.HELP):
        emit(_overview())
        return ExitCode.OK
    if first == "help":
        typed = [typed[1], "--help"]
    if not typed:
        _say(_overview())
        return ExitCode.USAGE
    try:
        os.getcwd()  # noqa: PTH109 - only whether there is one
    except OSError as error:
        raise UsageError("the current folder is gone", remedy="cd to a folder that exists") from error
    if typed[0] not in commands.HELP:
        raise UsageError(f"no such command: {typed[0]}", remedy=f"one of {', '.join(commands.HELP)}; batchctl --help")
    command = commands.load(typed[0])
    parser = _parser(typed[0], command)
    if "-h" in typed or "--help" in typed:
        # argparse would print the help itself and leave by SystemExit.
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        emit(parser.format_help().rstrip("\n"))
        return ExitCode.OK
    # Intermixed: `run score.py -o OUT data/` is what people type, with INPUT after the flags.
    args.typed = tuple(typed)
    parser.parse_intermixed_args(typed[1:], args)
    return command.run(args)


class _Parser(argparse.ArgumentParser):
    """argparse with our way of saying what is wrong."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, remedy=f"{self.prog} --help")


class _Unasked(argparse.RawDescriptionHelpFormatter):
    """argparse makes a formatter for each argument that is added, only to see whether it could be formatted. This one
    does not ask how wide the terminal is, which takes an import of 4 ms."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)


def _parser(name: str, command: commands.Command) -> argparse.ArgumentParser:
    # It asks gettext for translations of its words, which Python does not bring: 2 ms, most of it an import.
    argparse._ = str  # type: ignore[attr-defined]
    parser = _Parser(
        prog=f"batchctl {name}",
        description=command.DESCRIPTION,
        epilog="examples:\n" + "\n".join(f"  {example}" for example in command.EXAMPLES) + "\n\n" + exit_codes_text(),
        formatter_class=_Unasked,
        allow_abbrev=False,  # an abbreviation that works today would be ambiguous tomorrow
    )
    command.arguments(parser)
    return parser


def _overview() -> str:
    lines = [
        "usage: batchctl COMMAND ...",
        "",
        "Scores a folder of files with a scoring script, crash-safe: the same command again resumes.",
        "",
        "commands:",
        *(f"  {name:<{max(map(len, commands.HELP))}} {line}" for name, line in commands.HELP.items()),
        "",
        "options:",
        "  -h, --help     this text; batchctl COMMAND --help for a command's",
        "  -V, --version  the version",
        "",
        exit_codes_text(),
    ]
    return "\n".join(lines)


def exit_codes_text() -> str:
    """The table of exit codes, for help texts."""
    return "\n".join(["exit codes:", *(f"  {int(code):<4} {text}" for code, text in EXIT_CODE_MEANING.items())])


def error_text(error: BatchctlError) -> str:
    """An error as it is shown: what, then where and fix on lines of their own. Escaped for terminals."""
    details: tuple[str, ...] = ()
    message = error.message
    if isinstance(error, SpecError):
        details = error.problems
        message = f"the job spec has {plural(len(details), 'problem')}"
    elif isinstance(error, ResumeRefusedError):
        details = error.differences
    first, _, rest = message.partition("\n")
    lines = [f"batchctl: error: {printable(first)}"]
    if rest:
        lines.append(printable_block(rest.rstrip("\n"), indent="  "))
    lines += [printable_block(detail, indent="  ") for detail in details]
    if error.where:
        lines.append(f"  where: {printable(error.where)}")
    remedy = error.remedy or _of_limit(error) or _REMEDIES.get(error.exit_code, "")
    if remedy:
        lines.append(f"  fix: {printable(remedy)}")
    return "\n".join(lines)


def _of_limit(error: BatchctlError) -> str:
    cause = error.__cause__
    limit = _LIMITS.get(cause.errno or 0, "") if isinstance(cause, OSError) else ""
    return _then_again(limit) if limit else ""


def _then_again(remedy: str) -> str:
    return f"{remedy}; then the same command again"


def _say(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # gone, closed, or None: it was closed before we were started
        pass  # nobody is there to be told; the exit code still tells


def _make_streams_safe() -> None:
    # A caller may have closed one of the three; the next file that we open would take its number, and whatever prints
    # there would print into it. Opening takes the lowest free number, so the order matters.
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # A locale without the character, or a name that is not UTF-8, must cost an escape and not the program.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # absent where a test has put a StringIO
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
