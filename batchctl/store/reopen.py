"""A retry: concluded ranges are open again, and the old final file stays until the new one takes its place.

    finished run -> fresh .partial, its name synced -> REOPEN, sync -> (recover, commit, ...) -> finish: DONE -> replace

The fresh .partial says that somebody meant to reopen: only beside one may a torn frame follow DONE. An open run needs
none of this: `recover` writes REOPEN with its EPOCH.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from batchctl.files import Disk
from batchctl.model.records import Reopened, Reopening
from batchctl.store.checkpoint_log import LogWriter
from batchctl.store.commit import ProtocolError
from batchctl.store.finish import open_finished
from batchctl.store.frames import FrameType
from batchctl.store.layout import RunLayout
from batchctl.store.ledger import ContradictionError
from batchctl.store.payloads import MAX_REOPENED, pack_reopened


def reopen_finished(
    disk: Disk, layout: RunLayout, *, run_id: str, bounds: Sequence[int], ranges: Iterable[Reopening]
) -> None:
    """Begin a retry of a finished run; durable on return, and then `recover` opens it. The caller holds the lock.

    `ProtocolError`, and nothing changed, for a range that was not concluded so, or more ranges than a frame holds.
    Killed in the middle, the run is finished as before, or reopened.
    """
    finished = open_finished(disk, layout, run_id=run_id, bounds=bounds, locked=True)
    reopened = Reopened(finished.generation + 1, tuple(ranges))
    try:
        for one in reopened.ranges:
            finished.ledger.reopen(one)
    except ContradictionError as error:
        raise ProtocolError(str(error)) from error
    if len(reopened.ranges) > MAX_REOPENED:
        raise ProtocolError(f"{len(reopened.ranges)} ranges are more than can be reopened at once")
    if layout.rows:
        disk.open_append(layout.partial, create=True).close()
        disk.sync_dir(layout.out)  # before REOPEN: where that survives a power cut, this has
    log = disk.open_append(layout.log)
    last = finished.last
    writer = LogWriter(
        log, run_id=run_id, epoch=last.epoch, sequence=last.sequence + 1, group=last.group + 1, durable=log.size
    )
    try:
        writer.write([(FrameType.REOPEN, pack_reopened(reopened))], rows_durable=finished.done.end)
        writer.sync()
    finally:
        writer.close()
