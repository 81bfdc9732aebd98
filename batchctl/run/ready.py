"""A run that exists and may go on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from batchctl.errors import CorruptionError
from batchctl.model.job import JobSpec
from batchctl.model.node import Footprint, NodeReport, Sizing
from batchctl.named_tuple import NamedTuple
from batchctl.node.probe import probe
from batchctl.node.sizing import size_node
from batchctl.plan.fingerprint import Fingerprint
from batchctl.plan.read import Plan
from batchctl.store.layout import RunLayout


class Ready(NamedTuple):
    """Its request, its place, and what was typed."""

    spec: JobSpec
    layout: RunLayout
    run_id: str
    plan_crc: int
    command: tuple[str, ...]
    fingerprint: Fingerprint
    notes: tuple[str, ...] = ()  # warnings for the user, known before the epoch
    items_added: int | None = None  # files beside the planned ones, since; None: not looked for
    node: NodeReport | None = None  # what was seen of the node just now; None: not looked at yet


def open_plan(layout: RunLayout, crc: int, *, ours: bool = False) -> Plan:
    """The plan of a run, checked against itself and against job.json; CorruptionError otherwise. `ours`: the CRC is
    that of a plan which this process has made."""
    plan = Plan.open(layout.plan, columns=not ours)
    if plan.crc != crc:
        plan.close()
        text = f"the plan's CRC-32 is {plan.crc:08x}, job.json says {crc:08x}"
        raise CorruptionError(text, where=str(layout.plan))
    return plan


def probe_node(spec: JobSpec, *, environ: Mapping[str, str], paths: Sequence[str] = ()) -> NodeReport:
    """What this node has for this spec; `paths`: whose disks to look at."""
    visible = "" if spec.hide_gpus else environ.get("CUDA_VISIBLE_DEVICES")
    return probe(visible_gpus=visible, paths=paths, environ=environ)


def size_slots(spec: JobSpec, report: NodeReport, *, footprint: Footprint | None) -> Sizing:
    """The places on this node for workers of this spec, and why so many; `footprint` where one is remembered. Raises
    NodeTooSmallError."""
    return size_node(
        report,
        workers=spec.workers,
        threads=spec.threads,
        pin=spec.pin,
        reserve=spec.mem_reserve,
        footprint=footprint,
        model_bytes=bytes_of(spec.model),
    )


def bytes_of(model: Path | None) -> int:
    """What a model takes on disk; 0 where there is none. Links are followed, a folder that is met twice counts once."""
    if model is None:
        return 0
    if not model.is_dir():
        return model.stat().st_size if model.exists() else 0
    total = 0
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(model, followlinks=True):
        here = Path(folder).stat()
        if (here.st_dev, here.st_ino) in seen:
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        for name in names:
            with contextlib.suppress(OSError):  # a dangling link: the model's own affair
                total += Path(folder, name).stat().st_size
    return total
