"""`batchctl retry`: which ranges of a run are to be scored again.

Items given up on, or only those of one cause; with `short`, the mini-batches that returned too little, as a whole. A
retry that was cut off goes on: what it has given up on itself is not chosen again, unless that is what ended it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from batchctl.dispatch.threshold import FailedBatches, Standing, judge, judge_batches
from batchctl.errors import ExitCode, UsageError
from batchctl.files import Disk
from batchctl.model.job import JobSpec
from batchctl.model.records import Committed, Quarantined, Record, Reopened, Reopening
from batchctl.named_tuple import NamedTuple
from batchctl.plan.read import Plan
from batchctl.report.quarantine import is_cause, of_cause
from batchctl.report.summary import read_summary
from batchctl.report.wording import plural
from batchctl.run.existing import Existing
from batchctl.run.request import Retry
from batchctl.store.frames import FrameType
from batchctl.store.ledger import Ledger
from batchctl.store.payloads import MAX_REOPENED
from batchctl.store.replay import LogRecords, Replay, read_records, replay
from batchctl.store.standing import committed, quarantined, short

_Concluded = Quarantined | Committed


class Chosen(NamedTuple):
    """What a retry scores again, and what the user should know of the choice. `sealed`: all is committed already, and
    the run only has to be finished."""

    ranges: tuple[Reopening, ...]
    notes: tuple[str, ...] = ()
    sealed: bool = False


def choose(disk: Disk, existing: Existing, retry: Retry, *, plan: Plan, spec: JobSpec) -> Chosen:
    """Look at the log and choose; UsageError for a cause that the run never met, and for a run whose script's files are
    joined already. Writes nothing."""
    layout, run_id = existing.layout, existing.document.run_id
    data = disk.read(layout.log) if disk.stat(layout.log) is not None else b""
    found = replay(memoryview(data), layout, run_id=run_id, bounds=plan.batch_firsts)
    if found.done and not existing.finished:
        told = () if found.generation else ("the run was about to end and does so now; then retry it again",)
        return Chosen((), told, sealed=True)
    records = read_records(disk, layout, run_id=run_id)
    goes_on = not _has_failed(existing, found) and _is_under_way(found, records, spec=spec)
    of_this_retry = _since_reopened(records) if goes_on else frozenset()
    notes: list[str] = []
    concluded: Iterable[_Concluded] = ()
    if retry.only or not retry.short:
        concluded = _of_cause(records, retry.only)
    if retry.short:
        concluded = [*concluded, *_short(records, found, notes=notes)]
    ranges = {_key(record): _reopening(record) for record in concluded if _key(record) not in of_this_retry}
    if len(ranges) > MAX_REOPENED:
        raise UsageError(
            f"{plural(len(ranges), 'range')} of items are too many for one retry", remedy="choose some by --only CAUSE"
        )
    if ranges and found.parts.wholes:
        raise UsageError(
            "the script's files were joined when the run finished, and cannot take up what a retry would write",
            where=str(layout.out),
            remedy="run it into another OUT, or with --fresh; with on_collision = fail a run can be retried",
        )
    return Chosen(tuple(ranges[key] for key in sorted(ranges)), tuple(notes))


def _of_cause(records: LogRecords, only: str) -> Iterator[Quarantined]:
    if only:
        # Of all that was ever given up on: the same command again is no mistake where the first one has mended it.
        ever = (record for record in records.only(FrameType.QUARANTINE) if isinstance(record, Quarantined))
        of_cause(ever, only)
    return (record for record in quarantined(records) if not only or is_cause(only, record.failure))


def _short(records: LogRecords, found: Replay, *, notes: list[str]) -> Iterator[_Concluded]:
    """All of the mini-batches that lack elements. Those whose script published files stay: the files are in OUT."""
    lacking = {record.batch for record in short(records)}
    published = lacking & (found.published.batches | found.parts.batches)
    if published:
        told = plural(len(published), "mini-batch")
        notes.append(f"{told} with missing elements wrote files of their own, which stand: not scored again")
    again = lacking - published
    yield from (record for record in committed(records) if record.batch in again)
    yield from (record for record in quarantined(records) if record.lease.batch in again)


def _has_failed(existing: Existing, found: Replay) -> bool:
    """Did the last start end by a threshold, by its own account? That may be lost; then the log is judged anew."""
    told = read_summary(existing.layout.summary)
    last = found.scan.frames[-1].epoch if found.scan.frames else 0
    said = None if told is None else (told.run_id, told.epochs, told.exit_code)
    return said == (existing.document.run_id, last, ExitCode.THRESHOLD)


def _is_under_way(found: Replay, records: LogRecords, *, spec: JobSpec) -> bool:
    """Was a retry cut off before it had scored everything, other than by a threshold?"""
    if not found.generation or _is_exceeded(found.ledger, records, spec=spec):
        return False
    ledger = found.ledger
    last: tuple[Reopening, ...] = ()
    for record in records.only(FrameType.REOPEN):
        last = record.ranges if isinstance(record, Reopened) else last
    return any(ledger.open_ranges(batch) for batch in {one.batch for one in last})


def _is_exceeded(ledger: Ledger, records: LogRecords, *, spec: JobSpec) -> bool:
    """Has the run, as far as it came, failed by one of its thresholds?"""
    failed, batches = ledger.failed + ledger.quarantined, FailedBatches()
    for record in records.only(FrameType.COMMIT, FrameType.QUARANTINE, FrameType.REOPEN).grouped():
        batches.replay(record)
    judged = (
        judge(spec.error_threshold, ok=ledger.ok, failed=failed, total=ledger.items, finished=False),
        judge_batches(
            failed=batches.count(spec.error_threshold),
            batches=0,
            threshold=spec.mini_batch_error_threshold,
            percent=spec.allowed_failed_percent,
            finished=False,
        ),
    )
    return any(judgement.standing is not Standing.WITHIN for judgement in judged)


def _since_reopened(records: LogRecords) -> frozenset[tuple[int, int]]:
    """What was concluded since the last retry began."""
    since: set[tuple[int, int]] = set()
    for record in records.only(FrameType.REOPEN, FrameType.QUARANTINE, FrameType.COMMIT):
        if isinstance(record, Reopened):
            since.clear()
        elif isinstance(record, Quarantined | Committed):
            since.add(_key(record))
    return frozenset(since)


def _key(record: _Concluded) -> tuple[int, int]:
    return (record.lease.first, record.lease.count) if isinstance(record, Quarantined) else (record.first, record.count)


def _reopening(record: _Concluded) -> Reopening:
    if isinstance(record, Quarantined):
        return Reopening(record.lease.batch, record.lease.first, record.lease.count, 0, 0, 0)
    return Reopening(record.batch, record.first, record.count, record.n_rows, record.ok, record.failed)


def reopened_items(records: Iterable[Record]) -> frozenset[int]:
    """Numbers of the items that retries have reopened: they are scored as they are now, whatever the plan saw."""
    return frozenset(
        item
        for record in records
        if isinstance(record, Reopened)
        for one in record.ranges
        for item in range(one.first, one.first + one.count)
    )
