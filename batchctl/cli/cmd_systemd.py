"""`batchctl systemd`: a service, and a timer, for the very job that was typed."""

from __future__ import annotations

import argparse
import os
import pwd
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from batchctl.cli.job_arguments import add_job_arguments, add_storage_argument, add_voice_arguments, loaded_job
from batchctl.cli.output import emit
from batchctl.cli.typed import shareable
from batchctl.errors import ExitCode, SpecError, UsageError
from batchctl.frozen import executable_path
from batchctl.model.job import JobSpec
from batchctl.report.atomic import read_small, replace_file
from batchctl.report.unit_words import unit_name
from batchctl.report.units import (
    MADE,
    JobUnit,
    checked_calendar,
    checked_span,
    install_lines,
    service_text,
    timer_text,
    unit_folder,
)
from batchctl.run.preview import check_job
from batchctl.spec.draft import Rank
from batchctl.spec.fields import FLAGS, SET_DEST, Flag
from batchctl.spec.resolve import Loaded

DESCRIPTION = """\
Prints a systemd service that runs the job as `batchctl run` would, and with --every or --on-calendar a timer that
starts it. The job is checked first, as `check` does. Paths become absolute. What was given with --env is not written
down: the unit reads a file for it, which the comments name. A timer takes up an unfinished run again and leaves a
finished one alone. Nothing is installed: the comments say how."""

EXAMPLES = (
    "batchctl systemd score.py /data/images -o /srv/out",
    "batchctl systemd deployment.yml /data/images -o /srv/out --every 1h --write /etc/systemd/system",
    "batchctl systemd score.py images/ -o out --user --on-calendar 'Mon..Fri 02:30'",
)

_MODE = 0o644
_PATHS = ("model", "python", "state_dir")  # settings whose value is a path


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", metavar="OUT", required=True, help="output folder of the run")
    when = parser.add_mutually_exclusive_group()
    when.add_argument(
        "--every", metavar="SPAN", default="", help="also a timer: so long after the last run (30min, 1h)"
    )
    when.add_argument("--on-calendar", metavar="WHEN", default="", help="also a timer: at these times (daily, 02:30)")
    parser.add_argument("--user", action="store_true", help="for your own service manager instead of the system's")
    parser.add_argument("--write", metavar="DIR", default="", help="write the files into DIR instead of printing them")
    add_storage_argument(parser)
    add_voice_arguments(parser, json_help="not for this command")
    add_job_arguments(parser, usage="SPEC INPUT ... -o OUT [--every SPAN | --on-calendar WHEN] [options] [settings]")


def run(args: argparse.Namespace) -> int:
    if args.json:
        raise UsageError("units are text: there is no --json for them", remedy="leave --json out")
    every = checked_span(args.every) if args.every else ""
    calendar = checked_calendar(args.on_calendar) if args.on_calendar else ""
    loaded, _ = loaded_job(args)
    spec = loaded.require()
    _refuse(args, spec)
    unit = _unit(args, loaded, spec)
    files = {f"{unit.name}.service": service_text(unit)}
    if every or calendar:
        files[f"{unit.name}.timer"] = timer_text(unit, every=every, calendar=calendar)
    if args.write:
        _write(Path(args.write), files)
        emit("\n".join(str(Path(args.write) / name) for name in files))
    else:
        emit("\n".join(render(unit, files)).rstrip("\n"))
    return ExitCode.OK


def render(unit: JobUnit, files: dict[str, str]) -> Iterator[str]:
    """Lines: how to install, then each file under its name."""
    yield f"# {', '.join(files)}: save in {unit_folder(unit)}/ (--write DIR does), then:"
    yield from (f"#   {line}" for line in install_lines(unit, tuple(files)))
    for name, text in files.items():
        yield f"\n# --- {name}\n{text}"


def _refuse(args: argparse.Namespace, spec: JobSpec) -> None:
    """What `check` would find, and what has no meaning in a unit."""
    if not spec.inputs:
        raise UsageError("no INPUT was given", remedy="give a folder, a file, a glob or @list.txt after SPEC")
    if "-" in args.inputs or "@-" in args.inputs:
        raise UsageError("a service has no standard input", where="INPUT -", remedy="save the list and give @list.txt")
    for given in args.inputs:
        path = Path(given[1:])
        if given.startswith("@") and path.exists() and not path.is_file():
            told = "a service cannot read this list, which is no regular file"
            raise UsageError(told, where=f"INPUT {given}", remedy="save the list and give @list.txt")
    problems = check_job(spec, accept_storage=args.accept_storage).problems
    if problems:
        raise SpecError(problems, where=str(spec.script))


def _unit(args: argparse.Namespace, loaded: Loaded, spec: JobSpec) -> JobUnit:
    name = unit_name(f"batchctl-{spec.name}")
    own = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() and not args.user else ""
    inputs = tuple(_input(given) for given in args.inputs)
    paths = (_absolute(args.spec), spec.script, spec.model, spec.python, *inputs, *spec.inputs)
    needs = dict.fromkeys(filter(None, (_needed(str(path)) for path in paths if path)))
    flags = tuple(_flags(args))
    return JobUnit(
        name=name,
        title=spec.name,
        command=(*_program(), "run", *flags, "-o", str(spec.out), "--", _absolute(args.spec), *inputs),
        folder=str(Path.cwd()),
        out=str(spec.out),
        state=str(spec.state_dir or ""),
        needs=tuple(needs),
        grace=spec.grace,
        account=own,
        user=args.user,
        environment_file=f"%E/batchctl/{re.sub(r'[^A-Za-z0-9_.-]', '_', spec.name)}.env",
        left_out=tuple(dict.fromkeys((*_hidden(args), *_from_variables(loaded)))),
    )


def _needed(path: str) -> str:
    """The folder or file that has to be there before a start: of a glob what stands before its first wildcard; "" for
    what is looked up by its name."""
    path = path.removeprefix("@")
    if not path.startswith("/"):
        return ""
    fixed = re.split(r"[*?\[]", path, maxsplit=1)[0] if not os.path.lexists(path) else path
    return path if fixed == path else fixed.rpartition("/")[0] or "/"


def _program() -> tuple[str, ...]:
    path = executable_path()
    if path.name == "__main__.py":  # python -m batchctl
        return (sys.executable, "-m", "batchctl")
    return (str(path.resolve()),)


def _flags(args: argparse.Namespace) -> Iterator[str]:
    """The flags as they were typed, in the settings' order; paths absolute, variables of the script left out."""
    given = vars(args)
    yield from (f"--{voice}" for voice in ("quiet", "verbose") if given[voice])
    if given["accept_storage"]:
        yield "--accept-storage"
    for flag in FLAGS:
        if flag.dest in given and flag.dest != "environment":
            yield from _flag(flag, given[flag.dest])


def _flag(flag: Flag, value: object) -> Iterator[str]:
    if flag.switch:
        yield flag.flag if value else f"--no-{flag.flag.removeprefix('--')}"
        return
    for text in map(str, value if isinstance(value, list) else [value]):
        if flag.dest == SET_DEST and _is_hidden(text):
            continue
        # One word: a value that begins with a dash would be taken for a flag.
        path = _absolute(str(Path(text).expanduser())) if flag.dest == "state_dir" else _setting_path(text)
        yield f"{flag.flag}={path if flag.dest in _PATHS else text}"


def _is_hidden(assignment: str) -> bool:
    return shareable(("--set", assignment))[1] != assignment


def _hidden(args: argparse.Namespace) -> Iterator[str]:
    """What the environment file has to bring, as it is written there: names only."""
    given = vars(args)
    assignments = [*given.get("environment", ()), *filter(_is_hidden, given.get(SET_DEST, ()))]
    for assignment in assignments:
        name = assignment.partition("=")[0].rpartition(".")[2]
        yield f"BATCHCTL_ENV={name}=..."


def _from_variables(loaded: Loaded) -> Iterator[str]:
    """Settings that came from this shell's environment, which the unit will not have."""
    yield from (value.source for value in loaded.values.values() if value.rank is Rank.VARIABLE)
    yield from (source for source in loaded.environment.values() if source == "BATCHCTL_ENV")


def _setting_path(text: str) -> str:
    path = Path(text).expanduser()
    return _absolute(str(path)) if "/" in text or path.exists() else text  # python3.12: a name to look up


def _input(given: str) -> str:
    return f"@{_absolute(given[1:])}" if given.startswith("@") else _absolute(given)


def _absolute(given: str) -> str:
    return os.path.normpath(Path.cwd() / given) if ".." not in Path(given).parts else str(Path.cwd() / given)


def _write(folder: Path, files: dict[str, str]) -> None:
    """All or none of what is there already may be replaced: only units that were made here are."""
    for name in files:
        there = read_small(folder / name)  # nothing of a link, which masks a unit, or is an administrator's
        if os.path.lexists(folder / name) and not (there or b"").startswith(MADE.encode()):
            raise UsageError(
                f"{folder / name} was not made by batchctl", where="--write", remedy="move it away, or give --name"
            )
    for name, text in files.items():
        replace_file(folder / name, text.encode())
        (folder / name).chmod(_MODE)
