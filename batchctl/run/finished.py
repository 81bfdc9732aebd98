"""The run is complete already: say so, from what the log holds."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import replace

from batchctl.errors import ExitCode
from batchctl.files import Disk
from batchctl.model.outcome import FailureKind
from batchctl.model.progress import Progress, RunState, Summary
from batchctl.model.records import Charged, Committed, EpochOpened, Quarantined
from batchctl.plan.read import Plan
from batchctl.report.failures import FailureGroups
from batchctl.report.progress import Reporter
from batchctl.report.status import StatusFile, read_status
from batchctl.report.summary import read_summary, write_summary
from batchctl.run.ready import Ready, open_plan
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
        if before is not None and before.run_id == ready.run_id and before.state is RunState.FINISHED:
            summary = replace(before, output=str(layout.final) if layout.rows else "")
        else:
            summary = _from_log(ready, finished, plan=plan, bounds=bounds)
            write_summary(layout.summary, summary)
        if read_status(layout.status) is None:
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


def _from_log(ready: Ready, finished: Finished, *, plan: Plan, bounds: Sequence[int]) -> Summary:
    spec, layout, ledger = ready.spec, ready.layout, finished.ledger
    failures = FailureGroups(plan.display)
    kinds = dict.fromkeys(FailureKind, 0)
    attempts = epochs = 0
    for record in finished.records:
        if isinstance(record, Committed):
            attempts += 1
        elif isinstance(record, Charged):
            attempts += 1
            kinds[record.failure.kind] += 1
            failures.charged(record)
        elif isinstance(record, Quarantined):
            failures.quarantined(record)
        elif isinstance(record, EpochOpened):
            epochs = record.number
    return Summary(
        run_id=ready.run_id,
        name=spec.name,
        state=RunState.FINISHED,
        exit_code=int(ExitCode.OK),
        items=ledger.items,
        items_succeeded=ledger.ok,
        items_failed=ledger.failed + ledger.quarantined,
        items_quarantined=ledger.quarantined,
        batches=len(bounds) - 1,
        attempts=attempts,
        attempts_failed=kinds[FailureKind.FAILED],
        attempts_lost=kinds[FailureKind.LOST],
        attempts_timed_out=kinds[FailureKind.TIMED_OUT],
        rows=ledger.n_rows,
        duration_s=0.0,
        epochs=epochs,
        workers=0,
        output=str(layout.final) if layout.rows else "",
        error_threshold=str(spec.error_threshold),
        causes=failures.groups(),
        next_command=f"batchctl verify {shlex.quote(str(layout.out))}",
    )
