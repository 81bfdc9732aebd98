"""A run's own command line, as job.json has kept it: what `retry` resolves the spec from."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from batchctl.cli import commands
from batchctl.cli.typed import MASKED
from batchctl.errors import UsageError
from batchctl.run.document import RecordedRequest
from batchctl.spec.fields import FLAGS, Flag


class _Parser(argparse.ArgumentParser):
    """argparse that raises."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(
            f"the command that began this run cannot be read: {message}", remedy="use the batchctl that began the run"
        )


def recorded_job(request: RecordedRequest, given: Mapping[str, object], *, out: str) -> argparse.Namespace:
    """The arguments of `batchctl run` as they were typed, laid over by those flags of `given` that are settings.

    UsageError where a value was masked and is not given again. INPUTs become absolute.
    """
    parser = _Parser(prog="batchctl run", allow_abbrev=False)
    commands.load("run").arguments(parser)
    recorded = vars(parser.parse_intermixed_args(list(request.command[2:])))
    recorded.pop("state_dir", None)  # OUT says where it is by now
    missing = []
    for flag in FLAGS:
        typed = given.get(flag.dest)
        if not flag.multiple:
            recorded.update({flag.dest: _typed_here(flag, typed)} if typed is not None else {})
            continue
        before, again = _texts(recorded.get(flag.dest)), _texts(typed)
        named = {text.partition("=")[0] for text in again}
        masked = [text.partition("=")[0] for text in before if text.endswith(f"={MASKED}")]
        missing += [f"{flag.flag} {name}=..." for name in masked if name not in named]
        kept = [text for text in before if not text.endswith(f"={MASKED}")]
        if kept or again:
            recorded[flag.dest] = kept + again
    if missing:
        raise UsageError(
            f"this run was given values that are not recorded: {', '.join(missing)}",
            where=out,
            remedy=f"give them again: batchctl retry OUT {' '.join(missing)}",
        )
    folder = Path(request.folder)
    recorded.update(out=out, inputs=[_absolute(text, folder) for text in recorded["inputs"]])
    return argparse.Namespace(**{**recorded, **{name: given.get(name, False) for name in ("json", "quiet", "verbose")}})


def _typed_here(flag: Flag, typed: object) -> object:
    """A path that is typed now is meant from here, not from where the run was begun. A bare name may be a command's."""
    text = str(typed)
    if (
        flag.metavar not in ("PATH", "DIR", "OUT")
        or text.startswith("~")
        or (flag.dest == "python" and "/" not in text)
    ):
        return typed
    return str(Path.cwd() / text)


def _texts(value: object) -> list[str]:
    return [str(text) for text in value] if isinstance(value, (list, tuple)) else []


def _absolute(given: str, folder: Path) -> str:
    if given in ("-", "@-"):
        return given
    prefix, path = ("@", given[1:]) if given.startswith("@") else ("", given)
    return prefix + str(folder / path)
