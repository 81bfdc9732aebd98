"""`batchctl failures`: what was given up on and why, asked of OUT alone: no inputs, no spec, no lock."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from batchctl.cli.output import emit, emit_bytes, emit_json
from batchctl.cli.run_directory import existing_run
from batchctl.errors import ExitCode, UsageError
from batchctl.files import RealDisk
from batchctl.model.records import Committed, Quarantined
from batchctl.plan.read import Plan
from batchctl.report.quarantine import Cause, grouped, of_cause, traceback_hash
from batchctl.report.wording import clipped, count_text, plural, printable, printable_block
from batchctl.run.ready import open_plan
from batchctl.store.replay import read_records
from batchctl.store.standing import quarantined, short

DESCRIPTION = """\
Lists what the run in OUT has given up on, grouped by cause, each with an example and its traceback, and the
mini-batches for which run() returned fewer elements than it was given files: nobody can tell which are missing.
Reads only; works while the run goes on, and on a copied or moved OUT. `batchctl retry OUT` scores them again."""

EXAMPLES = (
    "batchctl failures out",
    "batchctl failures out --only ValueError --paths",
    "batchctl failures out --paths -0 | xargs -0 ls -l",
)

_SHORT_SHOWN = 20
_TRACEBACK_LINES = 12


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", help="output folder of the run")
    parser.add_argument(
        "--only", metavar="CAUSE", default="", help="only this cause: its id, its class, or failed, lost, timed_out"
    )
    parser.add_argument("--paths", action="store_true", help="print the names of the files and nothing else")
    parser.add_argument("-0", "--null", action="store_true", help="with --paths: a NUL after each name, not a line end")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.null and not args.paths:
        raise UsageError("-0 says how --paths ends its names", remedy="add --paths, or leave -0 out")
    if args.json and args.paths:
        raise UsageError("--json and --paths print different things", remedy="choose one of the two")
    found = existing_run(args.out)
    records = read_records(RealDisk(), found.layout, run_id=found.document.run_id)
    given_up = of_cause(quarantined(records), args.only)
    with open_plan(found.layout, found.document.plan_crc) as plan:
        if args.paths:
            end = b"\0" if args.null else b"\n"
            emit_bytes(name + end for name in _names(given_up, plan))
            return ExitCode.OK
        lacking = [] if args.only else list(short(records))
        causes = grouped(given_up)
        if args.json:
            emit_json(as_dict(causes, lacking, plan=plan))
        else:
            emit("\n".join(render(args.out, causes, lacking, items=plan.items, name_of=plan.display)))
    return ExitCode.OK


def _names(records: Sequence[Quarantined], plan: Plan) -> Iterator[bytes]:
    for record in records:
        yield from map(os.fsencode, plan.paths(record.lease.first, record.lease.count))


def as_dict(causes: Sequence[Cause], lacking: Sequence[Committed], *, plan: Plan) -> dict[str, Any]:
    """What --json prints."""
    return {
        "items": plan.items,
        "quarantined": sum(cause.items for cause in causes),
        "missing": sum(record.failed for record in lacking),
        "causes": [
            {
                "cause": cause.cause,
                "kind": cause.failure.kind.value,
                "phase": cause.failure.phase or None,
                "class": cause.failure.error,
                "message": cause.failure.message,
                "items": cause.items,
                "traceback_sha256": traceback_hash(cause.failure),
                "example": {
                    "path": plan.machine_name(cause.example.first),
                    "item": cause.example.first,
                    "batch": cause.example.batch,
                    "attempts": cause.example.attempt,
                    "traceback": cause.failure.traceback,
                    "peak_memory": cause.failure.peak_memory,
                },
            }
            for cause in causes
        ],
        "short": [
            {"batch": one.batch, "item": one.first, "items": one.count, "missing": one.failed} for one in lacking
        ],
    }


def render(
    out: str, causes: Sequence[Cause], lacking: Sequence[Committed], *, items: int, name_of: Callable[[int], str]
) -> list[str]:
    """Lines for people: the causes, the short returns, and what to type next."""
    lost = sum(cause.items for cause in causes)
    missing = sum(record.failed for record in lacking)
    if not lost and not missing:
        return [f"{printable(out)}: no failures: nothing is quarantined and no element is missing"]
    told = [f"{count_text(lost)} of {plural(items, 'item')} quarantined"] if lost else []
    if missing:
        told.append(f"{plural(missing, 'element')} missing from {plural(len(lacking), 'mini-batch')}")
    lines = [f"{printable(out)}: {'; '.join(told)}"]
    for cause in causes:
        lines += _cause_lines(cause, name_of)
    if lacking:
        lines.append("  short returns: run() returned fewer elements than it was given files")
        lines += [_short_line(one) for one in lacking[:_SHORT_SHOWN]]
        if len(lacking) > _SHORT_SHOWN:
            lines.append(f"    and {count_text(len(lacking) - _SHORT_SHOWN)} more, see --json")
    quoted = printable(shlex.quote(out))
    if lost:
        lines.append(f"  next: batchctl retry {quoted}   (mend the files or the script first)")
    if missing:
        lines.append(f"  next: batchctl retry {quoted} --short   (scores these mini-batches again, as a whole)")
    return lines


def _cause_lines(cause: Cause, name_of: Callable[[int], str]) -> list[str]:
    failure = cause.failure
    what = f"{failure.error}: {failure.message}" if failure.message else failure.error
    kind = failure.kind.value.replace("_", " ")
    tried = f"{plural(cause.example.attempt, 'attempt')}, mini-batch {cause.example.batch}"
    lines = [
        f"  {cause.cause}  {plural(cause.items, 'item')} {kind}: {printable(clipped(what, 300))}",
        f"    e.g. {name_of(cause.example.first)} ({tried})",
    ]
    if failure.traceback:
        tail = failure.traceback.rstrip("\n").split("\n")
        if len(tail) > _TRACEBACK_LINES:
            tail = [tail[0], f"  ... {len(tail) - _TRACEBACK_LINES} more lines ...", *tail[1 - _TRACEBACK_LINES :]]
        lines.append(printable_block("\n".join(clipped(line, 300) for line in tail), indent=" " * 6))
    return lines


def _short_line(one: Committed) -> str:
    whole = f"items {one.first} to {one.first + one.count - 1}" if one.count > 1 else f"item {one.first}"
    return f"    mini-batch {one.batch} ({whole}): {one.failed} of {one.count} missing"
