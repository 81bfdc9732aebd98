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
Shows what workers could use here: cpus (affinity, cpuset, cgroup quota), memory (machine, cgroup limits, available,
pressure), NUMA nodes, the disks of the given paths, and GPUs with their health and processes. What could not be found
out is said."""

EXAMPLES = ("batchctl probe", "batchctl probe images/ out/ --json")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="*", help="also show the disk of this file or folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    # The GPUs that a worker would see are those that this variable leaves to our children.
    environ = child_environment({})
    report = probe(visible_gpus=environ.get("CUDA_VISIBLE_DEVICES"), paths=args.paths, environ=environ)
    if args.json:
        emit_json(as_dict(report))
    else:
        emit(render(report))
    return ExitCode.OK


def render(report: NodeReport) -> str:
    return as_text(report).rstrip("\n")
