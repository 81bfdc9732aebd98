"""`batchctl verify`: is every item accounted for once, and is every byte what was recorded? Reads only."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from batchctl.cli.output import emit, emit_json
from batchctl.cli.run_directory import existing_run
from batchctl.errors import ExitCode
from batchctl.files import RealDisk
from batchctl.plan.read import Plan
from batchctl.report.wording import count_text, plural, printable, size_text
from batchctl.store.verify import Verification, verify

DESCRIPTION = """\
Reads all of the run in OUT: job, plan, checkpoint log, rows, final file. Checks every CRC and that every item is
accounted for once. Repairs nothing, cuts nothing, needs neither inputs nor the place where OUT was made.
Exit code 0 where it is sound, 7 where it is not. What a crash left at the end of an unfinished run is sound: the next
resume cuts it."""

EXAMPLES = ("batchctl verify out", "batchctl verify out --json")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", help="output folder of the run")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    found = existing_run(args.out)
    layout, document = found.layout, found.document
    with Plan.open(layout.plan) as plan:
        crc = plan.crc
        verification = verify(RealDisk(), layout, run_id=document.run_id, bounds=plan.batch_firsts)
    problems = verification.problems
    if crc != document.plan_crc:
        problems = (f"{layout.plan}: it is not the plan of this run (CRC {crc:08x})", *problems)
    if args.json:
        emit_json(as_dict(verification, problems))
    else:
        emit("\n".join(render(args.out, verification, problems)))
    return ExitCode.CORRUPTION if problems else ExitCode.OK


def as_dict(verification: Verification, problems: tuple[str, ...]) -> dict[str, Any]:
    """What --json prints."""
    return {"sound": not problems, **asdict(verification), "problems": problems}


def render(out: str, verification: Verification, problems: tuple[str, ...]) -> list[str]:
    """One or two lines where all is well, the problems where it is not."""
    if problems:
        return [
            f"{printable(out)}: corrupt: {plural(len(problems), 'problem')}. Nothing was changed",
            *(f"  {printable(problem)}" for problem in problems),
            "  fix: restore OUT from a copy, or start over with `batchctl run ... --fresh`",
        ]
    state = "finished" if verification.finished else "unfinished"
    counts = f"{count_text(verification.committed)} of {plural(verification.items, 'item')} committed"
    if verification.quarantined:
        counts += f", {count_text(verification.quarantined)} quarantined"
    if verification.open_items:
        counts += f", {count_text(verification.open_items)} to do"
    checked = f"every CRC in the job, the plan, {size_text(verification.log_bytes)} of log and the rows was checked"
    lines = [f"{printable(out)}: sound, {state}: {counts}, {plural(verification.n_rows, 'row')}; {checked}"]
    torn = verification.torn_log_bytes + verification.torn_rows_bytes
    if torn and not verification.finished:
        lines.append(f"  {size_text(torn)} after the last commit are not counted; the next resume cuts them")
    return lines
