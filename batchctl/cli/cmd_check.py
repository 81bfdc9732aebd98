"""`batchctl check`: every problem of a spec at once, where each value comes from, and does the script import."""

from __future__ import annotations

import argparse
from typing import Any

from batchctl.cli.job_arguments import add_job_arguments, add_storage_argument, add_voice_arguments, loaded_job
from batchctl.cli.output import emit, emit_json
from batchctl.errors import ExitCode
from batchctl.model.documents import as_document
from batchctl.report.wording import printable
from batchctl.run.preview import CheckReport, check_job
from batchctl.spec.check import as_json, as_text
from batchctl.spec.resolve import Loaded

DESCRIPTION = """\
Reads SPEC as `run` would and says what is wrong with it: every problem at once, each with file, line, key and remedy;
where each value comes from; what is ignored and why; which interpreter the script would run in, and whether its imports
resolve there. Runs nothing of the script and writes nothing. Exit code 2 where there are problems."""

EXAMPLES = (
    "batchctl check deployment.yml",
    "batchctl check deployment.yml --strict-azure",
    "batchctl check score.py images/ --python venv/bin/python --json",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--out", metavar="OUT", help="output folder: may a run lie there? What is in it is not looked at"
    )
    parser.add_argument(
        "--strict-azure",
        action="store_true",
        help="what az ml would refuse is a problem too, so that what passes here passes there",
    )
    add_storage_argument(parser)
    add_voice_arguments(parser, json_help="print one JSON object", voices=False)
    add_job_arguments(parser, usage="SPEC [INPUT ...] [options] [settings]")


def run(args: argparse.Namespace) -> int:
    loaded, switches = loaded_job(args)
    report = check_job(loaded.spec, accept_storage=args.accept_storage) if loaded.spec is not None else None
    if switches["json"]:
        emit_json(as_dict(loaded, report))
    else:
        emit("\n".join(render(loaded, report)))
    return ExitCode.OK if is_good(loaded, report) else ExitCode.USAGE


def is_good(loaded: Loaded, report: CheckReport | None) -> bool:
    return not loaded.problems and report is not None and not report.problems


def as_dict(loaded: Loaded, report: CheckReport | None) -> dict[str, Any]:
    """What --json prints: the spec's rows and problems, and what was found out about the interpreter."""
    found = as_json(loaded)
    return {**found, "ok": is_good(loaded, report), "interpreter": as_document(report) if report is not None else None}


def render(loaded: Loaded, report: CheckReport | None) -> list[str]:
    """Lines for people: the table, the interpreter, then a verdict."""
    lines = as_text(loaded)
    if report is not None:
        lines.append("")
        if report.interpreter:
            version = f", Python {report.python_version}" if report.python_version else ""
            libraries = "".join(
                f", {name} {printable(found)}"
                for name, found in (("pandas", report.pandas), ("numpy", report.numpy), ("pyarrow", report.pyarrow))
                if found
            )
            lines.append(
                f"interpreter: {printable(report.interpreter)} ({printable(report.reason)}){version}{libraries}"
            )
        lines += [f"  problem: {printable(problem)}" for problem in report.problems]
        lines += [f"  note: {printable(note)}" for note in report.notes]
    lines += ["", "no problems" if is_good(loaded, report) else "not ready to run"]
    return lines
