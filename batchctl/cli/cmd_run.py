"""`batchctl run`: score the inputs; typed again, resume."""

from __future__ import annotations

import argparse

from batchctl.cli.job_arguments import (
    add_job_arguments,
    add_storage_argument,
    add_voice_arguments,
    loaded_job,
    piped_lists,
)
from batchctl.cli.scoring import Asked, render, score
from batchctl.cli.typed import shareable
from batchctl.run.request import RunOptions

__all__ = ["DESCRIPTION", "EXAMPLES", "arguments", "render", "run"]

DESCRIPTION = """\
Scores every INPUT with the scoring script that SPEC names and writes the rows to OUT.
The same command again resumes where it was cut off, or says that it is complete."""

EXAMPLES = (
    "batchctl run score.py images/ -o out",
    "batchctl run deployment.yml images/ -o out --model model/ --workers 4",
    "find images -name '*.png' -print0 | batchctl run score.py - -o out",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", metavar="OUT", required=True, help="output folder; made if it is not there")
    parser.add_argument("--fresh", action="store_true", help="start over: earlier results in OUT are deleted")
    parser.add_argument(
        "--accept-changes",
        action="store_true",
        help="resume although spec, script, model or inputs changed; what is done stays as it is",
    )
    add_storage_argument(parser)
    add_voice_arguments(parser, json_help="print the summary as one JSON object on standard output")
    add_job_arguments(parser, usage="SPEC [INPUT ...] -o OUT [options] [settings]")


def run(args: argparse.Namespace) -> int:
    return score(args.out, lambda: _asked(args))


def _asked(args: argparse.Namespace) -> Asked:
    loaded, switches = loaded_job(args)
    loaded.require()  # before standard input is read
    options = RunOptions(
        fresh=args.fresh,
        accept_changes=args.accept_changes,
        accept_storage=args.accept_storage,
        command=("batchctl", *shareable(args.typed)),
        piped=piped_lists(args.inputs),
    )
    return Asked(loaded, options, switches)
