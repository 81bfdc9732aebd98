"""The end of an epoch: the final file, and what is told of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from batchctl.dispatch.file_queue import FileQueue
from batchctl.errors import (
    BatchctlError,
    ExitCode,
    InitFailedError,
    NoSpaceError,
    StoppedError,
    StorageError,
    UsageError,
)
from batchctl.files import Disk
from batchctl.model.job import OutputAction
from batchctl.model.progress import RunState, Summary
from batchctl.named_tuple import NamedTuple
from batchctl.plan.read import Plan
from batchctl.report.summary import write_summary
from batchctl.run.ending import Verdict, summarise_run
from batchctl.run.foreman import Foreman
from batchctl.run.journal import Journal
from batchctl.run.quarantine import tell_quarantine
from batchctl.run.ready import Ready
from batchctl.run.staffing import Staffing, remember
from batchctl.run.telling import Teller
from batchctl.store.finish import finish
from batchctl.store.recover import Recovered


class Books(NamedTuple):
    """What is known of an epoch when it ends, however it does."""

    ready: Ready
    recovered: Recovered
    queue: FileQueue
    teller: Teller
    foreman: Foreman
    staffing: Staffing
    plan: Plan
    disk: Disk


def _finish(books: Books, journal: Journal, *, see_off: Callable[[], None]) -> None:
    """Bring the final file about while the workers leave; where the disk is full, wait for room as the run itself
    would."""
    (ready, recovered, _, teller, *_), since = books, 0.0
    spec = ready.spec
    bring_about = partial(finish, books.disk, ready.layout, committer=recovered.committer, early=journal.early)
    while True:
        try:
            bring_about(order=spec.order, table=spec.writes_tables, alone=see_off)
            return
        except NoSpaceError as error:
            see_off()  # it may take long
            since = since or time.monotonic()
            teller.paused(error.message)
            teller.tick(force=True)
            if time.monotonic() - since >= spec.pause_max:
                raise StoppedError(
                    f"storage stayed full for {spec.pause_max:g} s: {error.message}",
                    where=error.where,
                    remedy="free some space and run the same command again: it resumes",
                ) from error
            time.sleep(1.0)


def end(books: Books, verdict: Verdict, journal: Journal, *, see_off: Callable[[], None]) -> Summary:
    """`see_off` returns when no worker is there any more."""
    recovered, teller = books.recovered, books.teller
    if verdict.code is ExitCode.OK:
        teller.state = RunState.FINISHING
        teller.tick(force=True)
        try:
            _finish(books, journal, see_off=see_off)
        except (BatchctlError, KeyboardInterrupt):
            see_off()  # their shutdown() is called all the same
            raise
        teller.tally.rows = recovered.committer.ledger.n_rows
    return tell_end(books, verdict)


def tell_error(books: Books, error: BatchctlError) -> StorageError | None:
    """The same for an epoch that ended so. An error is returned where it explains the one that is given."""
    state = RunState.STOPPED if error.exit_code is ExitCode.STOPPED else RunState.FAILED
    try:
        tell_end(books, Verdict(error.exit_code, state, error.message.partition("\n")[0]))
    except StorageError as broken:
        # A worker that cannot read our files on a broken disk looks like a script or an interpreter that is broken.
        return broken if isinstance(error, (InitFailedError, UsageError)) else None
    return None


def tell_end(books: Books, verdict: Verdict) -> Summary:
    """summary.json, quarantine.jsonl and the last status.json, however the epoch ended."""
    ready, teller, queue = books.ready, books.teller, books.queue
    foreman, staffing = books.foreman, books.staffing
    spec, layout = ready.spec, ready.layout
    output = ""
    if spec.output_action is OutputAction.APPEND_ROW:
        output = str(layout.final if verdict.code is ExitCode.OK else layout.partial)
    summary = summarise_run(
        spec,
        verdict,
        run_id=ready.run_id,
        counts=queue.counts,
        tally=teller.tally,
        notes=(*teller.told_notes(), *(foreman.warnings() if not staffing.sizing.warnings else ())),
        elapsed_s=teller.elapsed_s,
        epochs=books.recovered.epoch,
        workers=foreman.most,
        output=output,
        reasons=(*staffing.sizing.reasons, *foreman.reasons()),
        held_back=foreman.held_back(),
        command=ready.command,
        items_added=ready.items_added,
    )
    teller.state = verdict.state
    teller.message = verdict.reason
    teller.tick(force=True)
    with _room_or_note(teller, layout.summary, verdict):
        write_summary(layout.summary, summary)
    done = verdict.code is ExitCode.OK
    forgotten = remember(staffing, layout, foreman=foreman, items_fitted=queue.most_items, done=done)
    if forgotten:
        teller.note(forgotten, level="warning")
    with _room_or_note(teller, layout.quarantine, verdict):
        tell_quarantine(ready, books.plan, disk=books.disk, items=summary.items_quarantined)
    return summary


@contextlib.contextmanager
def _room_or_note(teller: Teller, path: Path, verdict: Verdict) -> Iterator[None]:
    """A full disk does not hide why the run ended early. At a good end it counts: what lies there would tell of another
    one, and the same command writes it anew."""
    try:
        yield
    except NoSpaceError as error:
        if verdict.code is ExitCode.OK:
            raise
        teller.note(f"{path.name} is not up to date: {error.message}", level="warning")
