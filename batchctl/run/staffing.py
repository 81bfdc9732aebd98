"""How many workers a run may have here, and who looks after them: made before the epoch, remembered after it.

probe -> NodeReport | learned.json, --hint -> footprint -> size_node -> places -> foreman -> learned.json
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from batchctl.engine.base import Engine
from batchctl.errors import BatchctlError
from batchctl.files import RealDisk
from batchctl.model.job import JobSpec
from batchctl.model.node import Footprint, NodeReport, Sizing
from batchctl.named_tuple import NamedTuple
from batchctl.node.gauge import Gauge
from batchctl.node.growth import Growth
from batchctl.node.sizing import assumed_footprint, reserve_of
from batchctl.plan.fingerprint import Fingerprint
from batchctl.processes import child_environment
from batchctl.run.crew import Crew
from batchctl.run.foreman import Foreman
from batchctl.run.learned import Found, Learned, LearnedKey, learned_key, read_learned, write_learned
from batchctl.run.ready import bytes_of, probe_node, size_slots
from batchctl.run.roll import Roll
from batchctl.run.telling import Teller
from batchctl.store.layout import RunLayout
from batchctl.store.state_directory import find


class Staffing(NamedTuple):
    """The places, and what is known or assumed of a worker. `notes` are for the user."""

    report: NodeReport
    sizing: Sizing
    reserve: int
    guess: Footprint
    key: LearnedKey | None
    learned: Learned | None
    notes: tuple[str, ...] = ()

    @property
    def items_fitted(self) -> int:
        """The size of mini-batch that is known to fit into GPU memory where a larger one did not; 0: nothing is."""
        return (self.learned.items_fitted or 0) if self.learned else 0


def staff(
    spec: JobSpec,
    layout: RunLayout | None,
    fingerprint: Fingerprint | None,
    *,
    seen: NodeReport | None = None,
    paths: Sequence[str] = (),
) -> Staffing:
    """Probe the node, unless it is `seen`, recall what earlier runs have learned, size. `fingerprint` None: nothing can
    be recalled. `paths`: whose disks are looked at. Raises NodeTooSmallError."""
    report = seen or probe_node(spec, environ=child_environment(spec.environment), paths=paths)
    key: LearnedKey | None = None
    learned: Learned | None = None
    notes: tuple[str, ...] = ()
    if fingerprint is not None:
        key = learned_key(fingerprint, gpu_name=report.gpus[0].name if report.gpus else "")
        learned, notes = _recall(spec, layout, key)
    footprint = learned.footprint if learned else None
    return Staffing(
        report,
        size_slots(spec, report, footprint=footprint),
        reserve_of(report.memory_limit, spec.mem_reserve),
        footprint or assumed_footprint(bytes_of(spec.model)),
        key,
        learned,
        notes,
    )


def _recall(spec: JobSpec, layout: RunLayout | None, key: LearnedKey) -> tuple[Learned | None, tuple[str, ...]]:
    """What this output folder knows, else what --hint does; and notes."""
    found = read_learned(layout.learned, key) if layout is not None else Found(None, "")
    notes = [found.note]
    hint = spec.hint
    if found.learned is None and hint is not None:
        path = _learned_in(hint) if hint.is_dir() else hint
        found = read_learned(path, key)
        notes.append(found.note)
        if found.learned is None and not found.note:
            why = "knows nothing of this script and model" if path.exists() else "is missing: nothing was learned there"
            notes.append(f"--hint: {path} {why}")
    return found.learned, tuple(note for note in notes if note)


def _learned_in(out: Path) -> Path:
    """Where the run in that folder keeps it; below it where that cannot be told."""
    bare = RunLayout(out)
    try:
        return find(RealDisk(), bare).learned
    except BatchctlError:
        return bare.learned


def foreman_of(staffing: Staffing, *, auto: bool, engine: Engine, roll: Roll, teller: Teller) -> tuple[Foreman, Crew]:
    """The foreman and the crew of an epoch; nobody is started yet. `auto`: their number was left to us."""
    crew = Crew(engine, staffing.sizing.slots)
    growth = Growth(staffing.sizing, auto=auto, reserve=staffing.reserve, assumed=staffing.guess)
    used = {slot.gpu for slot in staffing.sizing.slots}
    gauge = Gauge([gpu for gpu in staffing.report.gpus if gpu.uuid in used])
    foreman = Foreman(crew=crew, growth=growth, meter=gauge, roll=roll, teller=teller, clock=time.monotonic)
    return foreman, crew


def remember(staffing: Staffing, layout: RunLayout, *, foreman: Foreman, items_fitted: int, done: bool) -> str:
    """Keep what was learned for the next run; in words why that could not be done, or ""."""
    footprint = foreman.footprint
    if footprint is None or staffing.key is None:
        return ""
    fitted = items_fitted or None
    learned = Learned.of(staffing.key, footprint, items_fitted=fitted, workers=foreman.most, seen=time.time())
    return write_learned(layout.learned, learned, done=done)
