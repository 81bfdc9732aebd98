"""A run that exists and may go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from batchctl.errors import CorruptionError
from batchctl.model.job import JobSpec
from batchctl.model.node import Sizing
from batchctl.node.probe import probe
from batchctl.node.sizing import size_node
from batchctl.plan.read import Plan
from batchctl.store.layout import RunLayout


@dataclass(frozen=True, slots=True)
class Ready:
    """Its request, its place, and what was typed."""

    spec: JobSpec
    layout: RunLayout
    run_id: str
    plan_crc: int
    command: tuple[str, ...]


def open_plan(layout: RunLayout, crc: int) -> Plan:
    """The plan of a run, checked against itself and against job.json; CorruptionError otherwise."""
    plan = Plan.open(layout.plan)
    if plan.crc != crc:
        plan.close()
        text = f"the plan's CRC-32 is {plan.crc:08x}, job.json says {crc:08x}"
        raise CorruptionError(text, where=str(layout.plan))
    return plan


def size_slots(spec: JobSpec, *, environ: Mapping[str, str]) -> Sizing:
    """The slots of this node for this spec, and why so many. Raises NodeTooSmallError."""
    report = probe(visible_gpus="" if spec.hide_gpus else environ.get("CUDA_VISIBLE_DEVICES"))
    return size_node(report, workers=spec.workers, threads=spec.threads)
