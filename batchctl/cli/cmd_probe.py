"""`batchctl probe`: what this machine has and bears."""

from __future__ import annotations

import argparse

from batchctl.cli.output import emit, emit_json
from batchctl.errors import ExitCode
from batchctl.model.node import NodeReport
from batchctl.node.probe import probe
from batchctl.node.render import as_dict, as_text
from batchctl.processes import child_environment

DESCRIPTION = """\
Shows what workers could use here: cpus (affinity, cgroup quota), memory (machine, cgroup limits, available), NUMA nodes
and GPUs. What could not be found out is said."""

EXAMPLES = ("batchctl probe", "batchctl probe --json")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    # The GPUs that a worker would see are those that this variable leaves to our children.
    report = probe(visible_gpus=child_environment({}).get("CUDA_VISIBLE_DEVICES"))
    if args.json:
        emit_json(as_dict(report))
    else:
        emit(render(report))
    return ExitCode.OK


def render(report: NodeReport) -> str:
    return as_text(report).rstrip("\n")
