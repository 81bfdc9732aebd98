"""`batchctl verify`: is every item accounted for once, and is every byte what was recorded? Reads only."""

from __future__ import annotations

import argparse
from typing import Any

from batchctl.cli.output import emit, emit_json
from batchctl.cli.run_directory import existing_run
from batchctl.errors import ExitCode
from batchctl.files import RealDisk
from batchctl.model.documents import as_document
from batchctl.plan.read import Plan
from batchctl.report.wording import count_text, plural, printable, size_text
from batchctl.run.inputs_verified import InputsVerified, verify_inputs
from batchctl.store.verify import Verification, verify

_SHOWN = 20  # inputs that differ

DESCRIPTION = """\
Reads all of the run in OUT: job, plan, checkpoint log, rows, final file. Checks every CRC and that every item is
accounted for once. Repairs nothing, cuts nothing, needs neither inputs nor the place where OUT was made.
Exit code 0 where it is sound, 7 where it is not. What a crash left at the end of an unfinished run is sound: the next
resume cuts it. With --inputs the input files are compared with the plan, too: 6 where one is gone or has changed."""

EXAMPLES = ("batchctl verify out", "batchctl verify out --inputs", "batchctl verify out --json")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", help="output folder of the run")
    parser.add_argument("--inputs", action="store_true", help="compare the input files with the plan, scored ones too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    found = existing_run(args.out)
    layout, document = found.layout, found.document
    disk, inputs = RealDisk(), None
    with Plan.open(layout.plan) as plan:
        crc = plan.crc
        verification = verify(disk, layout, run_id=document.run_id, bounds=plan.batch_firsts)
        if args.inputs and verification.sound:
            inputs = verify_inputs(disk, found, plan)
    problems = verification.problems
    if crc != document.plan_crc:
        problems = (f"{layout.plan}: it is not the plan of this run (CRC {crc:08x})", *problems)
    if args.json:
        emit_json(as_dict(verification, problems, inputs))
    else:
        emit("\n".join([*render(args.out, verification, problems), *(render_inputs(inputs) if inputs else ())]))
    if problems:
        return ExitCode.CORRUPTION
    return ExitCode.RESUME_REFUSED if inputs and inputs.changes else ExitCode.OK


def as_dict(
    verification: Verification, problems: tuple[str, ...], inputs: InputsVerified | None = None
) -> dict[str, Any]:
    """What --json prints; `inputs` only where they were looked at."""
    said = {"sound": not problems, **as_document(verification), "problems": problems}
    if inputs is None:
        return said
    changes = [
        {"path": one.path, "change": one.kind, "detail": one.detail, "scored": one.scored} for one in inputs.changes
    ]
    return {**said, "inputs": {"looked_at": inputs.looked_at, "retried": inputs.retried, "changes": changes}}


def render_inputs(inputs: InputsVerified) -> list[str]:
    """A line where all inputs are as planned, the first of those that are not where they are not."""
    left_out = f"; {count_text(inputs.retried)} that were retried are not compared" if inputs.retried else ""
    if not inputs.changes:
        return [f"  inputs: {plural(inputs.looked_at, 'file')} as they were planned{left_out}"]
    missing = inputs.missing
    told = f"{count_text(len(inputs.changes) - missing)} changed, {count_text(missing)} missing"
    lines = [f"  inputs: {told} of {plural(inputs.looked_at, 'file')}{left_out}"]
    lines += [
        f"    {printable(one.display)}: {one.detail} ({'scored before' if one.scored else 'still to be scored'})"
        for one in inputs.changes[:_SHOWN]
    ]
    if len(inputs.changes) > _SHOWN:
        lines.append(f"    and {count_text(len(inputs.changes) - _SHOWN)} more, which --json lists")
    return lines


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
    if torn:
        lines.append(f"  {size_text(torn)} after the last commit are not counted; the next resume cuts them")
    return lines
