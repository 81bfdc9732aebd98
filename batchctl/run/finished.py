"""The run is complete already: say so, from what the log holds."""

from __future__ import annotations

import os
import time

from batchctl.dispatch.pending import Counts
from batchctl.errors import ExitCode
from batchctl.files import Disk
from batchctl.model.progress import Progress, RunState, Summary
from batchctl.model.records import EpochOpened
from batchctl.plan.read import Plan
from batchctl.report.progress import Reporter
from batchctl.report.status import StatusFile, read_status
from batchctl.report.summary import read_summary, write_summary
from batchctl.run.ending import Verdict, summarise_run
from batchctl.run.quarantine import tell_quarantine
from batchctl.run.ready import Ready, open_plan
from batchctl.run.tally import Tally
from batchctl.store.finish import Finished, open_finished


def tell_complete(ready: Ready, reporter: Reporter, *, disk: Disk) -> Summary:
    """The summary of a finished run; nothing is scored and nothing of the result changes.

    Raises CorruptionError when the run is not as it was sealed. summary.json is written anew where a crash took it.
    """
    layout = ready.layout
    with open_plan(layout, ready.plan_crc) as plan:
        bounds = plan.batch_firsts
        finished = open_finished(disk, layout, run_id=ready.run_id, bounds=bounds, locked=True)
        before = read_summary(layout.summary)
        ended = before is not None and before.run_id == ready.run_id and before.state is RunState.FINISHED
        current = ended and before is not None and before.epochs == finished.last.epoch  # not of before a retry
        if before is not None and current:
            output = str(layout.final) if layout.rows else ""
            summary = before._replace(output=output, items_added=ready.items_added)
        else:
            summary = _from_log(ready, finished, plan=plan, batches=len(bounds) - 1)
            write_summary(layout.summary, summary)
        if not current or disk.stat(layout.quarantine) is None:
            tell_quarantine(ready, plan, disk=disk, items=summary.items_quarantined)
        if not current or read_status(layout.status) is None:
            _write_status(ready, summary)
    reporter.note(f"this run is complete: {layout.out}; nothing was left to do (--fresh starts over)")
    return summary


def _write_status(ready: Ready, summary: Summary) -> None:
    """status.json as the run would have left it, where a crash took it."""
    file = StatusFile(
        ready.layout.status, name=ready.spec.name, command=ready.command, clock=time.monotonic, wall=time.time
    )
    done = Progress(
        run_id=summary.run_id,
        state=RunState.FINISHED,
        epoch=summary.epochs,
        pid=os.getpid(),
        items=summary.items,
        items_done=summary.items,
        items_failed=summary.items_failed,
        batches=summary.batches,
        batches_done=summary.batches,
        rows=summary.rows,
        elapsed_s=summary.duration_s,
        rate=0.0,
        eta_s=None,
    )
    file.write(done, force=True)


def _from_log(ready: Ready, finished: Finished, *, plan: Plan, batches: int) -> Summary:
    layout, ledger = ready.layout, finished.ledger
    tally, epochs = Tally(plan.display), 0
    if finished.generation:
        tally.expect(finished.records)
    for record in finished.records.grouped():
        tally.replay(record)
        if isinstance(record, EpochOpened):
            epochs = record.number
    tally.rows = ledger.n_rows
    return summarise_run(
        ready.spec,
        Verdict(ExitCode.OK, RunState.FINISHED),
        run_id=ready.run_id,
        counts=Counts(ledger.items, ledger.ok, ledger.failed, ledger.quarantined, batches, batches, 0, 0),
        tally=tally,
        notes=(),
        elapsed_s=0.0,
        epochs=epochs,
        workers=0,
        output=str(layout.final) if layout.rows else "",
        reasons=(),
        held_back="",
        command=ready.command,
        items_added=ready.items_added,
    )
