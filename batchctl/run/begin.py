"""A new run, from the moment that its interpreter starts: create it, then its first epoch.

Loaded while that interpreter starts (`start.py`), and done at about the same time: what only other runs need
(`resume.py`) is not loaded here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchctl.engine.base import Engine
from batchctl.model.progress import Summary
from batchctl.plan.encode import PlanImage
from batchctl.processes import child_environment
from batchctl.report.progress import Reporter
from batchctl.run.asking import Asking
from batchctl.run.document import new_document
from batchctl.run.epoch import run_epoch
from batchctl.run.prepare import fingerprint_of, plan_inputs, recorded
from batchctl.run.ready import Ready, probe_node
from batchctl.run.request import Call
from batchctl.store.creation import check_vacant, create_run

if TYPE_CHECKING:
    from batchctl.run.existing import Existing


def begin(call: Call, engine: Engine, existing: Existing | None, *, run_id: str) -> Summary:
    """A new run, in place of the existing one if there is one. Raises BatchctlError."""
    spec, disk = call.spec, call.disk
    asking = Asking(call, engine)
    plan = plan_inputs(spec, piped=call.options.piped, meanwhile=asking.look)
    node = probe_node(spec, environ=child_environment(spec.environment))  # the interpreter may be starting yet
    fingerprint = fingerprint_of(spec, asking.facts(), call.interpreter, piped=call.options.piped)
    if existing is not None:
        from batchctl.run.reset import start_over

        check_vacant(disk, call.layout, but_for=existing.layout)  # while nothing is lost
        start_over(disk, existing.layout, run_id=existing.document.run_id)
    document = new_document(spec, fingerprint, run_id=run_id, plan=plan, request=recorded(call))
    create_run(disk, call.layout, job_document=document, plan_chunks=plan.chunks())
    _tell_findings(plan, call.reporter)
    ready = Ready(spec, call.layout, run_id, plan.crc, call.options.command, fingerprint, call.notes, node=node)
    del plan  # its columns are in the plan file now
    return run_epoch(ready, engine, call.reporter, notifier=call.notifier, disk=disk, said=None)


def _tell_findings(plan: PlanImage, reporter: Reporter) -> None:
    for text in plan.findings.warnings():
        reporter.note(text, level="warning")
    for text in plan.findings.notes():
        reporter.note(text)
