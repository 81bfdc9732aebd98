"""One epoch of a run: recover, replay, size, conduct, finish."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from batchctl import __version__
from batchctl.dispatch.file_queue import FileQueue
from batchctl.dispatch.retry import RetryPolicy
from batchctl.engine.base import Engine
from batchctl.errors import (
    BatchctlError,
    ExitCode,
    NoSpaceError,
    StoppedError,
    StorageError,
)
from batchctl.files import Disk
from batchctl.model.job import JobSpec
from batchctl.model.progress import RunState, Summary
from batchctl.model.records import Reopening
from batchctl.node.oom import OomWatch
from batchctl.plan.read import Plan
from batchctl.processes import child_environment
from batchctl.report.attempts import AttemptsFile
from batchctl.report.mask import mask_of
from batchctl.report.notify import Notifier
from batchctl.report.progress import Reporter
from batchctl.report.status import StatusFile
from batchctl.run.books import Books, end, tell_end, tell_error
from batchctl.run.columns import Columns, ColumnTypes
from batchctl.run.conductor import Conductor
from batchctl.run.ending import Verdict, judge_run
from batchctl.run.engine_job import engine_job, failure_mask
from batchctl.run.journal import Journal
from batchctl.run.near_end import NearEnd
from batchctl.run.plan_order import PlanOrder
from batchctl.run.ready import Ready, open_plan
from batchctl.run.roll import Roll
from batchctl.run.schedule import order_of
from batchctl.run.signals import StopSignals
from batchctl.run.staffing import foreman_of, staff
from batchctl.run.telling import Teller
from batchctl.spec.identity import free_part
from batchctl.store.entries import exposed
from batchctl.store.lock import this_process
from batchctl.store.recover import Recovered, recover

if TYPE_CHECKING:
    from batchctl.run.drift import Inputs, InputsNow


def run_epoch(
    ready: Ready,
    engine: Engine,
    reporter: Reporter,
    *,
    notifier: Notifier,
    disk: Disk,
    said: Inputs | None,
    reopening: Sequence[Reopening] = (),
) -> Summary:
    """Score what is left and finish. `said`: of a resume, what the user has said of inputs that are not as planned;
    None where the plan is new. `reopening`: ranges that a retry of this unfinished run opens again."""
    spec, layout = ready.spec, ready.layout
    notifier.starting("reading the checkpoint log" if said else "starting workers")
    staffing = staff(spec, layout, ready.fingerprint, seen=ready.node)
    sizing = staffing.sizing
    plan = open_plan(layout, ready.plan_crc, ours=said is None)
    settings = json.dumps({**free_part(spec), "slots": len(sizing.slots)}, separators=(",", ":"))
    recovered = recover(
        disk,
        layout,
        run_id=ready.run_id,
        bounds=plan.batch_firsts,
        boot_id=this_process().boot_id,
        version=__version__,
        settings=settings,
        on_collision=spec.on_collision,
        reopening=reopening,
        created=said is None,
    )
    clock = time.monotonic
    isolate = spec.isolate and not spec.partition_keys  # a part of a partition is not what its script was written for
    order = order_of(spec, plan, reporter)
    queue = FileQueue(plan.batch_firsts, RetryPolicy(spec.max_retries, isolate), order=order)
    attempts = AttemptsFile(layout.attempts, epoch=recovered.epoch, name_of=plan.display)
    mask = mask_of(child_environment(spec.environment), spec.environment)
    roll = Roll(engine)
    teller = Teller(
        run_id=ready.run_id,
        epoch=recovered.epoch,
        pid=os.getpid(),
        queue=queue,
        roll=roll,
        reporter=reporter,
        status=StatusFile(layout.status, name=spec.name, command=ready.command, clock=clock, wall=time.time),
        notifier=notifier,
        attempts=attempts,
        name_of=plan.display,
        clock=clock,
        mask=mask.text,
        wall=time.time,
    )
    for note in (*ready.notes, *staffing.notes, *sizing.warnings, *exposed(disk, layout.out)):
        teller.note(note, level="warning")
    foreman, crew = foreman_of(staffing, auto=spec.workers is None, engine=engine, roll=roll, teller=teller)
    books = Books(ready, recovered, queue, teller, foreman, staffing, plan, disk)
    in_order = order is None and spec.wants_plan_order and not recovered.committer.sealed
    journal = Journal(
        recovered.committer,
        clock=clock,
        wake=engine.wake,
        pause_max=spec.pause_max,
        order=PlanOrder(lambda: queue.frontier) if in_order else None,
    )
    clean = False
    try:
        _replay(recovered, queue=queue, teller=teller, journal=journal)
        queue.most_items = staffing.items_fitted
        changed = _changes(said, plan, recovered, out=str(layout.out), teller=teller)
        with StopSignals(engine.wake) as signals:
            was_starved = OomWatch().was_killed  # from now on, and no worker is there yet
            engine.configure(
                engine_job(ready, epoch=recovered.epoch, sizing=sizing, mask=mask, was_starved=was_starved)
            )
            conductor = Conductor(
                spec=spec,
                engine=engine,
                queue=queue,
                crew=crew,
                foreman=foreman,
                journal=journal,
                teller=teller,
                signals=signals,
                columns=_columns(spec, recovered, journal),
                changed=changed,
                near_end=NearEnd(
                    disk,
                    layout,
                    spec=spec,
                    committer=recovered.committer,
                    journal=journal,
                    ready=lambda: crew.ready,
                    room=lambda: foreman.available - staffing.reserve,
                    clock=clock,
                ).look,
                mask=failure_mask(mask),
                clock=clock,
            )
            notifier.ready()  # not when init() is through: a model may load for longer than a start may take
            try:
                verdict = _conduct(books, conductor)
            finally:
                notifier.ending()
        clean = True
        return end(books, verdict, journal, see_off=partial(_see_off, conductor, signals))
    except KeyboardInterrupt:  # outside the loop (recovery, finish): the loop itself counts signals
        verdict = Verdict(ExitCode.INTERRUPTED, RunState.STOPPED, "stopped by SIGINT")
        with contextlib.suppress(StorageError):
            tell_end(books, verdict)
        raise
    except BatchctlError as error:
        clean = clean or not (crew.live or isinstance(error, StorageError))
        broken = tell_error(books, error)
        if broken is not None:
            raise broken from error
        raise
    finally:
        journal.close()
        foreman.close()
        attempts.close()
        _close_log(recovered, clean=clean)
        plan.close()


def _close_log(recovered: Recovered, *, clean: bool) -> None:
    if recovered.committer.done is None:  # else `finish` has closed it
        with contextlib.suppress(NoSpaceError):  # CLOSE is a courtesy: what was committed is on disk
            recovered.committer.close(clean=clean)


def _changes(said: Inputs | None, plan: Plan, recovered: Recovered, *, out: str, teller: Teller) -> InputsNow | None:
    """What looks at the inputs of a resume; None for a run that is new."""
    if said is None:
        return None
    from batchctl.run.drift import inputs_now, other_version

    if other := other_version(recovered, __version__):
        teller.note(other)
    return inputs_now(plan, recovered, out=out, said=said, note=partial(teller.note, level="warning"))


def _columns(spec: JobSpec, recovered: Recovered, journal: Journal) -> Columns | ColumnTypes:
    if spec.writes_tables:
        return ColumnTypes(recovered.types, fix=journal.set_types)
    return Columns(recovered.columns, fix=journal.set_columns)


def _replay(recovered: Recovered, *, queue: FileQueue, teller: Teller, journal: Journal) -> None:
    if recovered.generation:
        teller.tally.expect(recovered.records)
    for record in recovered.records.grouped():
        queue.replay(record)
        teller.replay(record)
    last = recovered.past[-1] if recovered.past else None
    journal.wary = last is not None and not last.closed and last.boot_id not in ("", this_process().boot_id)
    settled = queue.settle()
    journal.add_records(settled)
    teller.settled(settled)


def _conduct(books: Books, conductor: Conductor) -> Verdict:
    """What the run comes to. The workers of a good one are still leaving, others have left."""
    spec = books.ready.spec
    try:
        conducted = conductor.run()
    except StoppedError:  # the disk stayed full
        conductor.see_off(now=True)
        raise
    failed_batches = books.teller.failed_batches.count(spec.error_threshold)
    verdict = judge_run(spec, conducted, books.queue.counts, failed_batches=failed_batches)
    if verdict.code is not ExitCode.OK:
        conductor.see_off()
    return verdict


def _see_off(conductor: Conductor, signals: StopSignals) -> None:
    """Signals do not change the end of a run whose rows are in order: the second one ends workers that do not leave."""
    with signals:
        conductor.see_off()
