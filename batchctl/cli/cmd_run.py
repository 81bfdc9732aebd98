"""`batchctl run`: score the inputs; typed again, resume."""

from __future__ import annotations

import argparse
import sys
import time

from batchctl.cli.ci_summary import CiSummary
from batchctl.cli.job_arguments import add_job_arguments, add_voice_arguments, loaded_job, standard_input
from batchctl.cli.output import emit_json
from batchctl.cli.typed import shareable
from batchctl.model.progress import Summary
from batchctl.report.progress import choose_reporter
from batchctl.report.summary import summary_dict
from batchctl.run.request import RunOptions
from batchctl.run.start import run_job

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
    add_voice_arguments(parser, json_help="print the summary as one JSON object on standard output")
    add_job_arguments(parser, usage="SPEC [INPUT ...] -o OUT [options] [settings]")


def run(args: argparse.Namespace) -> int:
    with CiSummary(args.out) as ci:
        summary, as_json = _score(args)
        ci.finished(summary)
    if as_json:
        render(summary)
    return summary.exit_code


def _score(args: argparse.Namespace) -> tuple[Summary, bool]:
    """The run, told to the terminal; and is its summary to be printed as JSON?"""
    loaded, switches = loaded_job(args)
    spec = loaded.require()
    options = RunOptions(
        fresh=args.fresh,
        accept_changes=args.accept_changes,
        command=("batchctl", *shareable(args.typed)),
        stdin=standard_input(args.inputs),
    )
    reporter = choose_reporter(sys.stderr, clock=time.monotonic, quiet=switches["quiet"], verbose=switches["verbose"])
    with reporter:
        for note in loaded.notes:
            reporter.note(note)
        summary = run_job(spec, options, reporter)
        reporter.finished(summary)
    return summary, switches["json"]


def render(summary: Summary) -> None:
    emit_json(summary_dict(summary))
