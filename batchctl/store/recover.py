"""From whatever a crash left to an open run: cut, check, make durable, and only then trust.

    read log, check recent rows -> cut the log's torn tail -> write its last part again, sync all
        -> finish publications -> EPOCH, sync -> cut the rows' torn tail

Every step may be interrupted and begun again. The caller holds the lock and has ended the workers of earlier epochs.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from batchctl.errors import CorruptionError
from batchctl.files import Disk
from batchctl.handles import AppendFile, give_up
from batchctl.model.column_types import Columns
from batchctl.model.job import OnCollision
from batchctl.model.records import Committed, EpochOpened, Record, Reopened, Reopening
from batchctl.named_tuple import NamedTuple
from batchctl.store.checkpoint_log import LogWriter
from batchctl.store.commit import Committer, ProtocolError
from batchctl.store.entries import check_written
from batchctl.store.frames import HEADER_SIZE, FrameType, Scan
from batchctl.store.layout import RunLayout
from batchctl.store.ledger import Ledger
from batchctl.store.log_bytes import LogBytes
from batchctl.store.payloads import COMMIT, Done, pack_commits, pack_epoch, pack_reopened, unpack_publication
from batchctl.store.publish import place_files
from batchctl.store.replay import LogRecords, PastEpoch, Replay, replay
from batchctl.store.rows import RowsFile, WrittenRows


class Recovered(NamedTuple):
    """An open run. Everything here is durable. `records` may be iterated more than once. `done`: all is committed and
    sealed, only `finish` is left to call. `cut_log`, `cut_rows`: bytes of torn tails that were cut."""

    committer: Committer
    records: LogRecords
    ledger: Ledger
    columns: bytes
    types: Columns
    epoch: int
    past: tuple[PastEpoch, ...]
    done: Done | None
    cut_log: int
    cut_rows: int
    generation: int = 0  # how often concluded ranges were reopened


def recover(
    disk: Disk,
    layout: RunLayout,
    *,
    run_id: str,
    bounds: Sequence[int],
    boot_id: str,
    version: str,
    settings: str = "{}",
    on_collision: OnCollision = OnCollision.FAIL,
    reopening: Sequence[Reopening] = (),
    created: bool = False,
) -> Recovered:
    """Open a started run, its first time included. `on_collision` is what the run was begun with. `reopening`: ranges
    that are open again from here on, in an unsealed run; as durable as the epoch. `created`: this process has just come
    back from `create_run`, so all there is is durable.

    `CorruptionError` for damage that no crash explains; nothing is repaired then. `ProtocolError` for a finished one:
    that is for `open_finished` and `reopen_finished`.
    """
    has_final = layout.rows and disk.stat(layout.final) is not None
    if has_final and disk.stat(layout.log) is None:
        raise ProtocolError("a finished run is not recovered")
    log = _open_log(disk, layout, created=created)
    rows: AppendFile | None = None
    try:
        with disk.open_read(layout.log) as source:
            data = LogBytes(source)
            found = replay(data, layout, run_id=run_id, bounds=bounds)
            if (has_final and not found.sealed) or (reopening and found.done):
                raise ProtocolError("a finished run is not recovered")
            rows = _open_rows(disk, layout, found=found)
            check_rows(disk, layout, found=found, data=data)
            cut_log = cut_tail(log, good_end=found.scan.good_end)
            rows_end = found.rows_end
            make_durable(disk, layout, log=log, rows=rows, tail=tail_of(data, found.scan))
        del data
        settle_files(disk, layout, found=found)
        frames = found.scan.frames
        last = frames[-1] if frames else None
        writer = LogWriter(
            log,
            run_id=run_id,
            epoch=(last.epoch if last else 0) + (0 if found.done else 1),
            sequence=len(frames),
            group=last.group + 1 if last else 0,
            durable=found.scan.good_end,
        )
        told: Sequence[Record] = ()
        if not found.done:
            opened = EpochOpened(writer.epoch, boot_id, version, settings)
            told = _open_epoch(writer, opened=opened, found=found, rows_durable=rows_end, reopening=reopening)
            _sync_epoch(disk, writer, folders=() if frames else (*layout.folders, layout.out))
        # Only now: had a power cut undone the cut of the log, its tail might still have named these rows.
        base = found.sealed.end if found.sealed else 0
        cut_rows = cut_tail(rows, good_end=rows_end - base) if rows else 0
    except BaseException:
        give_up(log, rows)
        raise
    committer = Committer(
        disk,
        layout,
        log=writer,
        rows=RowsFile(disk, rows, spill=layout.spill, base=base, synced=not cut_rows) if rows else None,
        ledger=found.ledger,
        columns=found.columns,
        types=found.types,
        published=found.published,
        parts=found.parts,
        on_collision=on_collision,
        done=found.done,
        sealed=found.sealed,
    )
    return Recovered(
        committer,
        LogRecords(disk, layout, frames=frames, then=told),
        found.ledger,
        found.columns,
        found.types,
        writer.epoch,
        tuple(found.past),
        found.done,
        cut_log,
        cut_rows,
        found.generation,
    )


def _open_log(disk: Disk, layout: RunLayout, *, created: bool) -> AppendFile:
    if disk.stat(layout.log) is not None:
        return disk.open_append(layout.log)
    rows = disk.stat(layout.partial) if layout.rows else None
    if rows and rows.size:
        raise CorruptionError(f"{layout.log} is gone, its rows are not", where=str(layout.log))
    if not created:
        disk.sync_dir(layout.directory)  # job.json's name first: creating the run may have been killed before its sync
    return disk.open_append(layout.log, create=True)


def _open_rows(disk: Disk, layout: RunLayout, *, found: Replay) -> AppendFile | None:
    if not layout.rows:
        return None
    there = disk.stat(layout.partial)
    if there is not None:
        check_written(disk, layout.partial)  # OUT may be open to others, the run directory never is
        if there.size and not found.scan.frames:  # the first frame is durable before the first row is written
            raise CorruptionError(f"{layout.log} holds no frame of this run, its rows are there", where=str(layout.log))
        return disk.open_append(layout.partial)
    if found.sealed or found.rows_end:  # else a power cut may have taken its name, but not the first EPOCH
        raise CorruptionError(f"{layout.partial} is gone, its log is not", where=str(layout.partial))
    return disk.open_append(layout.partial, create=True)


def check_rows(disk: Disk, layout: RunLayout, *, found: Replay, data: LogBytes) -> None:
    """The rows that the log vouches for are there; those of the last groups are read and their CRC compared."""
    if not layout.rows:
        return
    recent: list[Committed] = []
    for frame in found.scan.frames:
        if frame.end > found.scan.log_durable:
            payload = data[frame.start + HEADER_SIZE : frame.end]
            if frame.kind == FrameType.COMMIT:
                recent += map(Committed._make, COMMIT.iter_unpack(payload))
            elif frame.kind in {FrameType.PUBLISH, FrameType.PART}:
                recent.append(unpack_publication(bytes(payload), kind=FrameType(frame.kind)).committed)
    with WrittenRows(disk, layout, sealed=found.sealed) as rows:
        if rows.size < found.rows_end:
            raise CorruptionError(
                f"{layout.partial} has {rows.size} bytes of {found.rows_end}", where=str(layout.partial)
            )
        if rows.size and rows.pread(0, min(len(found.columns), rows.size)) != found.columns:
            raise CorruptionError(f"{layout.partial} does not begin with its header", where=str(layout.partial))
        for record in recent:
            if zlib.crc32(rows.pread(record.offset, record.length) if record.length else b"") != record.crc:
                raise CorruptionError(
                    f"{layout.partial}: the rows of mini-batch {record.batch} are damaged", where=str(layout.partial)
                )


def tail_of(data: LogBytes | memoryview, scan: Scan) -> tuple[int, memoryview]:
    """Where what is known to be durable ends, and the good bytes behind it, as they were checked."""
    return scan.log_durable, data[scan.log_durable : scan.good_end]


def cut_tail(file: AppendFile, *, good_end: int) -> int:
    """Cut a file back to its good end; how much was cut. Not durable yet."""
    surplus = file.size - good_end
    if surplus:
        file.truncate(good_end)
    return surplus


def make_durable(
    disk: Disk, layout: RunLayout, *, log: AppendFile, rows: AppendFile | None, tail: tuple[int, memoryview]
) -> None:
    """What was read may sit in the page cache only; after this it does not.

    The log's tail is written again first: where an earlier process saw its sync fail, the kernel holds those pages as
    clean, and a sync alone would promise what is not on disk. (Rows need no such care: a commit record is written only
    after the sync of its rows succeeded.) Of a first start there is nothing yet.
    """
    if not log.size:
        return
    durable, unsure = tail
    if unsure:
        log.overwrite(durable, unsure)
    if rows:
        rows.datasync()
    log.datasync()
    for folder in (*layout.folders, layout.out):
        disk.sync_dir(folder)


def settle_files(disk: Disk, layout: RunLayout, *, found: Replay) -> None:
    """Bring announced files to their places; then nothing of earlier epochs is left in stage and spill."""
    place_files(disk, layout, publications=[*found.waiting.values()])
    for folder in (layout.stage, layout.spill):
        for name in disk.listdir(folder):
            disk.remove_tree(folder / name)


def _sync_epoch(disk: Disk, log: LogWriter, *, folders: Sequence[Path]) -> None:
    """Before the first row is written, and before a script may take the machine down: EPOCH, and of a first start the
    names of the log and of the rows."""
    disk.together([log.sync, *(partial(disk.sync_dir, folder) for folder in folders)])


def _open_epoch(
    log: LogWriter, *, opened: EpochOpened, found: Replay, rows_durable: int, reopening: Sequence[Reopening]
) -> Sequence[Record]:
    """Write EPOCH and, with it, the commits whose files have just come to OUT, and what is reopened; all these are
    returned. Not durable."""
    frames = [(FrameType.EPOCH, pack_epoch(opened))]
    completed = sorted((one.committed for one in found.waiting.values()), key=lambda record: record.offset)
    if completed:
        frames.append((FrameType.COMMIT, pack_commits(completed)))
    found.ledger.commit(completed)
    found.waiting.clear()
    if not reopening:
        log.write(frames, rows_durable=rows_durable)
        return [opened, *completed]
    reopened = Reopened(found.generation + 1, tuple(reopening))
    try:
        found.reopen(reopened)  # first: what cannot be reopened must not be written
    except ValueError as error:
        raise ProtocolError(str(error)) from error
    log.write([*frames, (FrameType.REOPEN, pack_reopened(reopened))], rows_durable=rows_durable)
    return [opened, *completed, reopened]
