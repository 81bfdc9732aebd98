"""A run that is there already, from the moment that its interpreter starts: its next epoch, or what it has come to.

Loaded while that interpreter starts (`start.py`), so what stands here may need as much of batchctl as it likes.
"""

from __future__ import annotations

from batchctl.engine.base import Engine
from batchctl.model.progress import Summary
from batchctl.model.records import Reopening
from batchctl.report.wording import plural
from batchctl.run.drift import LOOKED_FOR, Inputs, count_added
from batchctl.run.epoch import run_epoch
from batchctl.run.existing import Existing, accept
from batchctl.run.finished import tell_complete
from batchctl.run.prepare import checked_fingerprint, recorded
from batchctl.run.ready import Ready, open_plan
from batchctl.run.request import Call
from batchctl.run.retrying import choose
from batchctl.store.reopen import reopen_finished


def resume(call: Call, engine: Engine, existing: Existing) -> Summary:
    """The run goes on, or is complete already. ResumeRefusedError when this is another request."""
    options, reporter, document = call.options, call.reporter, existing.document
    fingerprint = checked_fingerprint(call, engine, old=existing.fingerprint)
    if options.retry is not None:  # lists no inputs: the plan holds them
        fingerprint = fingerprint._replace(inputs=existing.fingerprint.inputs)
    lines = existing.differences(fingerprint)
    if lines:
        request = existing.request if options.retry is not None else recorded(call)
        accept(call.disk, existing, fingerprint, lines=lines, allowed=options.accept_changes, request=request)
        for line in lines:
            reporter.note(f"accepted: {line}", level="warning")
    ready = Ready(
        call.spec, existing.layout, document.run_id, document.plan_crc, options.command, fingerprint, call.notes
    )
    if options.retry is None:
        ready = ready._replace(items_added=_added(call, existing))
    reopening: tuple[Reopening, ...] = ()
    finished = existing.finished
    if options.retry is not None:
        reopening = _reopening(call, existing)
        if finished and reopening:
            finished, reopening = False, ()  # the log says it now
    if finished:
        call.notifier.ready()  # or systemd takes the clean exit for a failed start
        return tell_complete(ready, reporter, disk=call.disk)
    said = Inputs.COMPARED
    if options.accept_changes:
        said = Inputs.ACCEPTED if lines else Inputs.AS_THEY_ARE
    return run_epoch(ready, engine, reporter, notifier=call.notifier, disk=call.disk, said=said, reopening=reopening)


def _added(call: Call, existing: Existing) -> int | None:
    if existing.document.items > LOOKED_FOR:
        return None
    with open_plan(existing.layout, existing.document.plan_crc) as plan:
        return count_added(call.spec, plan, piped=call.options.piped)


def _reopening(call: Call, existing: Existing) -> tuple[Reopening, ...]:
    """What `retry` scores again, none where there is nothing. A finished run is reopened on return."""
    retry, reporter, layout = call.options.retry, call.reporter, existing.layout
    assert retry is not None
    with open_plan(layout, existing.document.plan_crc) as plan:
        chosen = choose(call.disk, existing, retry, plan=plan, spec=call.spec)
        for note in chosen.notes:
            reporter.note(note, level="warning")
        ranges, bounds = chosen.ranges, plan.batch_firsts
        if ranges:
            reporter.note(f"retry: {plural(sum(one.count for one in ranges), 'item')} to be scored again")
        elif not chosen.sealed:
            reporter.note("nothing to retry" if existing.finished else "nothing to retry; the run goes on")
        if ranges and existing.finished:
            reopen_finished(call.disk, layout, run_id=existing.document.run_id, bounds=bounds, ranges=ranges)
        return ranges
