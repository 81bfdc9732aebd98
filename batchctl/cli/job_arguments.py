"""The arguments that run, check and plan share: SPEC, INPUT and a flag for each setting of spec/fields.py."""

from __future__ import annotations

import argparse
import stat
import sys
from pathlib import Path

from batchctl.errors import UsageError
from batchctl.spec.fields import FLAGS, SET_DEST, Flag
from batchctl.spec.resolve import Loaded, Overrides, command_switches, load

SETTINGS_TITLE = "settings (each also a key in batchctl.toml and BATCHCTL_<NAME> in the environment)"


def add_job_arguments(parser: argparse.ArgumentParser, *, usage: str) -> None:
    """SPEC, INPUT ... and the settings' flags. A flag that was not given is absent from the namespace.

    `usage` is what follows the program's name in the usage line: argparse would list thirty flags there, and its
    intermixed parsing stumbles over the per cent sign of one of them.
    """
    parser.usage = f"%(prog)s {usage}"
    parser.add_argument(
        "spec",
        metavar="SPEC",
        help="deployment.yml, batchctl.toml, score.py, a model of MLflow's, or a folder that holds one of them",
    )
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="*",
        default=[],
        help="folder, file, glob or @list.txt; - reads the list from standard input",
    )
    add_setting_flags(parser)


def add_setting_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for each setting; one that was not given is absent from the namespace."""
    group = parser.add_argument_group(SETTINGS_TITLE)
    for flag in FLAGS:
        _add_flag(group, flag)


def add_storage_argument(parser: argparse.ArgumentParser) -> None:
    """--accept-storage, which has to be typed: neither a key of a spec nor a variable."""
    parser.add_argument(
        "--accept-storage",
        action="store_true",
        help="go on where the file system of OUT or of the state directory is refused",
    )


def add_voice_arguments(parser: argparse.ArgumentParser, *, json_help: str, voices: bool = True) -> None:
    """--json and, with `voices`, -q and -v; BATCHCTL_JSON, _QUIET and _VERBOSE say the same."""
    parser.add_argument("--json", action="store_true", help=json_help)
    if voices:
        parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary")
        parser.add_argument("-v", "--verbose", action="store_true", help="also what workers do, and why so many")


def _add_flag(group: argparse._ArgumentGroup, flag: Flag) -> None:
    text = flag.help.replace("%", "%%")
    if flag.switch:
        group.add_argument(
            flag.flag, dest=flag.dest, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text
        )
    elif flag.multiple:
        group.add_argument(
            flag.flag, dest=flag.dest, metavar=flag.metavar, action="append", default=argparse.SUPPRESS, help=text
        )
    else:
        group.add_argument(flag.flag, dest=flag.dest, metavar=flag.metavar, default=argparse.SUPPRESS, help=text)


def loaded_job(args: argparse.Namespace, *, folder: Path | None = None) -> tuple[Loaded, dict[str, bool]]:
    """The spec with all that was typed over it, and json, quiet, verbose as typed or set in the environment.

    `folder`: where it was typed, if not here."""
    given = vars(args)
    overrides = Overrides(flags=given, sets=tuple(given.get(SET_DEST, ())))
    switches = {name: on or bool(given.get(name)) for name, on in command_switches().items()}
    if given.get("verbose"):
        switches["quiet"] = bool(given.get("quiet"))  # what was typed wins over the environment
    strict = bool(given.get("strict_azure"))
    loaded = load(args.spec, overrides, inputs=args.inputs, out=given.get("out"), cwd=folder, strict_azure=strict)
    return loaded, switches


def piped_lists(inputs: list[str]) -> dict[str, bytes]:
    """Lists that can be read only once, read to their ends, by INPUT: standard input (`-`, `@-`), and pipes (`@PIPE`,
    as the shell's `@<(find ...)` makes them)."""
    found: dict[str, bytes] = {}
    for given in inputs:
        if given in ("-", "@-"):
            found[given] = found.get("-") or found.get("@-") or _standard_input()
        elif given.startswith("@") and given not in found and _is_read_once(Path(given[1:])):
            try:
                found[given] = Path(given[1:]).read_bytes()
            except OSError as error:
                raise UsageError(
                    f"list cannot be read: {error.strerror}", where=given, remedy="save the list and give @list.txt"
                ) from error
    return found


def _is_read_once(path: Path) -> bool:
    """It is there, and neither a file nor a folder. What is wrong with others the listing says."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise UsageError("standard input is closed", where="INPUT -", remedy="pipe the list in, or give @list.txt")
    return sys.stdin.buffer.read()
