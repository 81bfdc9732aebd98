"""`batchctl retry`: score again what was given up on, into the same output."""

from __future__ import annotations

import argparse
from pathlib import Path

from batchctl.cli.job_arguments import add_setting_flags, add_storage_argument, add_voice_arguments, loaded_job
from batchctl.cli.recorded import recorded_job
from batchctl.cli.run_directory import existing_run
from batchctl.cli.scoring import Asked, render, score
from batchctl.cli.typed import shareable
from batchctl.errors import UsageError
from batchctl.run.request import Retry, RunOptions

__all__ = ["DESCRIPTION", "EXAMPLES", "arguments", "render", "run"]

DESCRIPTION = """\
Scores the quarantined files of the run in OUT again, as they are now, and nothing else; the output is then as if they
had been so from the start. An earlier result stays in place until the new one is complete. Cut off, the same command
goes on, and so does the command that began the run. An unfinished run (exit code 3) goes on with what it had left.
Spec, script, model and settings are those of the run, whose command is recorded; values of secrets are not, and have to
be given again (--env). BATCHCTL_ variables are read anew."""

EXAMPLES = (
    "batchctl retry out",
    "batchctl retry out --only TimeoutError --timeout 5m",
    "batchctl retry out --short",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s OUT [options] [settings]"
    parser.add_argument("out", metavar="OUT", help="output folder of the run")
    parser.add_argument(
        "--only", metavar="CAUSE", default="", help="only this cause: its id, its class, or failed, lost, timed_out"
    )
    parser.add_argument(
        "--short",
        action="store_true",
        help="the mini-batches that returned too few elements, each as a whole; its rows are replaced",
    )
    parser.add_argument(
        "--accept-changes",
        action="store_true",
        help="go on although spec, script or model changed; what is done stays as it is",
    )
    add_storage_argument(parser)
    add_voice_arguments(parser, json_help="print the summary as one JSON object on standard output")
    add_setting_flags(parser)


def run(args: argparse.Namespace) -> int:
    return score(args.out, lambda: _asked(args))


def _asked(args: argparse.Namespace) -> Asked:
    found = existing_run(args.out)
    request = found.request
    if request is None:
        raise UsageError(
            "this run was begun by a batchctl that did not record its command",
            where=str(found.layout.job),
            remedy="score the files with `batchctl run` into another OUT",
        )
    out = str(Path(args.out).absolute())
    recorded = recorded_job(request, vars(args), out=out)
    loaded, switches = loaded_job(recorded, folder=Path(request.folder))
    options = RunOptions(
        accept_changes=args.accept_changes,
        accept_storage=args.accept_storage or recorded.accept_storage,
        command=("batchctl", *shareable(args.typed)),
        retry=Retry(args.only, args.short),
    )
    return Asked(loaded, options, switches)
