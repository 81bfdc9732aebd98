"""`batchctl plan`: what a run would do, by the same code; writes nothing."""

from __future__ import annotations

import argparse

from batchctl.cli.job_arguments import (
    add_job_arguments,
    add_storage_argument,
    add_voice_arguments,
    loaded_job,
    piped_lists,
)
from batchctl.cli.output import emit, emit_json
from batchctl.cli.typed import shareable
from batchctl.errors import ExitCode
from batchctl.model.documents import as_document
from batchctl.report.wording import count_text, plural, printable, size_text
from batchctl.run.preview import PlanReport, plan_job
from batchctl.run.request import RunOptions

DESCRIPTION = """\
Lists the inputs and sizes the workers as `run` would, and says what would happen: items, bytes, mini-batches, slots,
where they are pinned, why so many, and the room on disks. With -o OUT also what a resume would skip. Writes nothing."""

EXAMPLES = ("batchctl plan score.py images/", "batchctl plan deployment.yml images/ -o out --json")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", metavar="OUT", help="output folder of the run, to see what a resume would skip")
    add_storage_argument(parser)
    add_voice_arguments(parser, json_help="print one JSON object", voices=False)
    add_job_arguments(parser, usage="SPEC INPUT ... [-o OUT] [options] [settings]")


def run(args: argparse.Namespace) -> int:
    loaded, switches = loaded_job(args)
    spec = loaded.require()
    options = RunOptions(
        fresh=False,
        accept_changes=False,
        accept_storage=args.accept_storage,
        command=("batchctl", *shareable(args.typed)),
        piped=piped_lists(args.inputs),
    )
    report = plan_job(spec, options)
    if switches["json"]:
        emit_json(as_document(report))
    else:
        emit("\n".join(render(report, out=args.out)))
    return ExitCode.OK


def render(report: PlanReport, *, out: str | None) -> list[str]:
    """Lines for people; `out` as typed, None where none was given."""
    lines = [
        f"items     {count_text(report.items)} in {plural(report.folders, 'folder')}, {size_text(report.bytes)}",
        f"largest   {printable(report.largest_path)}, {size_text(report.largest_bytes)}",
        f"batches   {_batches(report)}",
        f"schedule  {printable(report.schedule)}",
        f"workers   {report.workers}" + ("" if report.first == report.workers else f", {report.first} of them at once"),
        *(f"          {printable(reason)}" for reason in report.reasons),
        *(f"          {printable(slot)}" for slot in report.slots),
        *(f"disk      {printable(disk)}" for disk in report.disks),
    ]
    if out is not None:
        lines.append(f"OUT       {printable(out)}: {_standing(report)}")
        lines += [f"          {printable(difference)}" for difference in report.differences]
    lines += [f"note      {printable(note)}" for note in report.notes]
    return lines


def _batches(report: PlanReport) -> str:
    if not report.partition_keys:
        return plural(report.batches, "mini-batch")
    keys, most = ", ".join(report.partition_keys), report.largest_partition
    partitions = f"{plural(report.batches, 'partition')} by {printable(keys)}, each a mini-batch"
    return f"{partitions}; the largest has {plural(report.largest_partition_items, 'item')}: {printable(most)}"


def _standing(report: PlanReport) -> str:
    if report.state == "new":
        return "no run is there"
    done = f"{report.state}: {plural(report.done_items, 'item')} in {plural(report.done_batches, 'mini-batch')} done"
    if report.differences:
        return f"{done}; a resume would be refused, because this differs:"
    return f"{done}, which a resume would skip"
