"""What a new run does while its inputs are still being listed: judge the script, and let the first workers begin.

    listing -> look(mini-batches so far) -> facts are there -> fingerprint -> sizing -> workers: import, init()
    listing is over -> asked()           -> the same, but for the workers: they are the epoch's to start

A model may load for minutes, and so may a listing take. No lease is sent before the plan is durable, and where there
comes to be no run its workers are killed with the engine. Until the epoch begins nobody hears them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from batchctl.engine.base import Engine
from batchctl.model.job import OwnFiles
from batchctl.model.node import NodeReport
from batchctl.named_tuple import NamedTuple
from batchctl.node.oom import OomWatch
from batchctl.plan.fingerprint import Fingerprint
from batchctl.processes import child_environment
from batchctl.report.mask import mask_of
from batchctl.run.engine_job import engine_job
from batchctl.run.prepare import checked_fingerprint
from batchctl.run.ready import probe_node
from batchctl.run.request import Call
from batchctl.run.staffing import Staffing, growth_of, staff

FIRST_EPOCH = 1
_EACH_NS = 5_000_000  # between two looks


class Begun(NamedTuple):
    """Workers that were started before the epoch, in these slots (indexes), and what they are."""

    staffing: Staffing
    slots: tuple[int, ...]


class HeadStart:
    """Of one new run. `alone`: nothing lies in OUT that would have to go first."""

    def __init__(self, call: Call, engine: Engine, *, run_id: str, alone: bool) -> None:
        self._call = call
        self._engine = engine
        self._run_id = run_id
        # A script that writes straight into OUT must not do so before it is certain that there will be a run.
        self._may_start = alone and call.spec.own_files is not OwnFiles.DIRECT
        self._environment: Mapping[str, str] = child_environment(call.spec.environment)
        self._asked: tuple[NodeReport, Fingerprint] | None = None
        self._staffing: Staffing | None = None
        self._wave: list[int] = []  # slots of the first workers
        self._started = 0  # so many of these
        self._next_ns = 0

    def look(self, batches: int) -> None:
        """Called again and again with how many mini-batches there seem to be. Raises what `asked` raises, and
        NodeTooSmallError."""
        now = time.monotonic_ns()
        if now < self._next_ns:
            return
        self._next_ns = now + _EACH_NS
        if self._asked is None and not self._engine.has_facts():
            return
        _, fingerprint = self.asked()
        if not (self._may_start and batches):
            return
        if self._staffing is None:
            self._staffing = self._configured(fingerprint)
        slots = self._staffing.sizing.slots
        for index in self._wave[self._started : batches]:
            self._engine.start_worker(next(slot for slot in slots if slot.index == index))
            self._started += 1

    def asked(self) -> tuple[NodeReport, Fingerprint]:
        """What this node has, and the fingerprint; waits for the interpreter. Raises BatchctlError."""
        if self._asked is None:
            node = probe_node(self._call.spec, environ=self._environment)  # meanwhile the interpreter starts
            self._asked = node, checked_fingerprint(self._call, self._engine, old=None)
        return self._asked

    @property
    def begun(self) -> Begun | None:
        """What the epoch is to go on with; None where it starts everything."""
        return None if self._staffing is None else Begun(self._staffing, tuple(self._wave[: self._started]))

    def _configured(self, fingerprint: Fingerprint) -> Staffing:
        """Sizing; the engine has been told of the job, whose folders hold nothing of a run that never came to be."""
        call, spec = self._call, self._call.spec
        node, _ = self.asked()
        staffing = staff(spec, call.layout, fingerprint, seen=node)
        growth = growth_of(staffing, auto=spec.workers is None)
        self._wave = [one.slot for one in growth.begin(waiting=len(staffing.sizing.slots), now=0.0)]
        for folder in (call.layout.stage, call.layout.spill):
            call.disk.remove_tree(folder)
        self._engine.configure(
            engine_job(
                spec,
                call.layout,
                run_id=self._run_id,
                epoch=FIRST_EPOCH,
                sizing=staffing.sizing,
                mask=mask_of(self._environment, spec.environment),
                was_starved=OomWatch().was_killed,  # from now on, and no worker is there yet
            )
        )
        return staffing
