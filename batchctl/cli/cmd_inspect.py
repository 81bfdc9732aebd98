"""`batchctl inspect`: the checkpoint log, one JSON object a line; reads only."""

from __future__ import annotations

import argparse
from typing import Any

from batchctl.cli.output import emit_json
from batchctl.cli.run_directory import existing_run
from batchctl.errors import ExitCode
from batchctl.files import RealDisk
from batchctl.store.inspection import inspect_log

DESCRIPTION = """\
Dumps the checkpoint log of the run in OUT, one JSON object a line: what was committed, charged, quarantined, and where
each frame lies. A torn tail, which the next resume would cut, is the last line. Writes nothing, needs no inputs."""

EXAMPLES = (
    "batchctl inspect out | tail",
    "batchctl inspect out | jq 'select(.type == \"QUARANTINE\")'",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", help="output folder of the run")


def run(args: argparse.Namespace) -> int:
    found = existing_run(args.out)
    disk = RealDisk()
    if disk.stat(found.layout.log) is not None:
        for record in inspect_log(disk, found.layout, run_id=found.document.run_id):
            render(record)
    return ExitCode.OK


def render(record: dict[str, Any]) -> None:
    emit_json(record, compact=True)
