"""Is all of it there and unharmed? Reads everything, cuts nothing, repairs nothing; needs no lock and no inputs."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from batchctl.errors import BatchctlError, ResumeRefusedError, UsageError
from batchctl.files import Disk
from batchctl.handles import ReadFile
from batchctl.model.lease import Lease
from batchctl.named_tuple import NamedTuple
from batchctl.store.creation import is_result
from batchctl.store.documents import read_document
from batchctl.store.extents import damaged
from batchctl.store.finish import is_sealed, not_this_runs
from batchctl.store.frames import HEADER_SIZE, FrameType
from batchctl.store.layout import RunLayout
from batchctl.store.ledger import Extent
from batchctl.store.payloads import Arrangement, Done, unpack_publication, unpack_wholes
from batchctl.store.publish import digest_of, home_of
from batchctl.store.replay import Replay, replay
from batchctl.store.rows import WrittenRows
from batchctl.store.table import rows_in

_BLOCK = 1 << 20


class Verification(NamedTuple):
    """What `verify` found. `problems` empty: sound (exit 0), else corruption (exit 7). Torn tails of an unfinished run
    are no problem: the next resume cuts them. Counts of items; sizes in bytes."""

    problems: tuple[str, ...]
    finished: bool
    items: int
    committed: int
    quarantined: int
    n_rows: int
    epochs: int
    log_bytes: int
    torn_log_bytes: int
    torn_rows_bytes: int

    @property
    def sound(self) -> bool:
        return not self.problems

    @property
    def open_items(self) -> int:
        return self.items - self.committed - self.quarantined


def verify(
    disk: Disk, layout: RunLayout, *, run_id: str, bounds: Sequence[int], opaque: Sequence[tuple[Path, int]] = ()
) -> Verification:
    """Check job.json, the log, all rows, the final file, the script's published files, and that each of the `opaque`
    files has its CRC-32. Raises ResumeRefusedError where the run is of a later format, UsageError where somebody's file
    has the result's name.

    A run may be going on, and end meanwhile: what seems wrong while its files change is looked at again.
    """
    for _ in range(2):
        seen = _sizes(disk, layout)
        try:
            found = _verify(disk, layout, run_id=run_id, bounds=bounds, opaque=opaque)
            if not found.problems or _sizes(disk, layout) == seen:
                return found
        except UsageError:
            if _sizes(disk, layout) == seen:
                raise
    return _verify(disk, layout, run_id=run_id, bounds=bounds, opaque=opaque)


def _sizes(disk: Disk, layout: RunLayout) -> tuple[int | None, ...]:
    """Of the files that come, grow and go as a run does; None for one that is not there."""
    found = [disk.stat(path) for path in (layout.log, layout.partial, layout.sorting, layout.final)]
    return tuple(one.size if one is not None else None for one in found)


def _verify(
    disk: Disk, layout: RunLayout, *, run_id: str, bounds: Sequence[int], opaque: Sequence[tuple[Path, int]]
) -> Verification:
    problems = [problem for path, crc in opaque for problem in _crc_problems(disk, path, crc=crc)]
    try:
        read_document(disk, layout.job)
        data = disk.read(layout.log) if disk.stat(layout.log) is not None else b""
        found = replay(memoryview(data), layout, run_id=run_id, bounds=bounds)
    except ResumeRefusedError:  # a later format: nobody here can tell whether it is sound
        raise
    except BatchctlError as error:
        problems.append(error.message)
        return Verification(tuple(problems), False, bounds[-1], 0, 0, 0, 0, 0, 0, 0)
    rows = disk.stat(layout.partial) if layout.rows else None
    if not found.scan.frames and rows is not None and rows.size:
        problems.append(f"{layout.log} {'holds no frame of this run' if data else 'is gone'}, its rows are there")
    if layout.rows:
        finished = is_result(disk, layout, done=found.done, sealed=found.sealed)
        if finished and rows is not None and not is_sealed(disk, layout, done=found.done):
            raise not_this_runs(layout)
    else:
        finished = found.done is not None
    torn_log, torn_rows = len(data) - found.scan.good_end, 0
    if finished:
        problems += _finished_problems(disk, layout, found=found)
    else:
        torn_rows = _torn_rows(disk, layout, found=found, problems=problems)
    problems += _file_problems(disk, layout, found=found, data=data, finished=finished)
    return Verification(
        tuple(problems),
        finished,
        found.ledger.items,
        found.ledger.committed,
        found.ledger.quarantined,
        found.ledger.n_rows,
        len(found.past),
        len(data),
        torn_log,
        torn_rows,
    )


def _finished_problems(disk: Disk, layout: RunLayout, *, found: Replay) -> list[str]:
    done, ledger = found.done, found.ledger
    problems = []
    # A REOPEN that was cut off is no damage, the next command cuts it: with rows it has new ones beside it, without
    # rows nothing tells it from other bytes behind DONE.
    cut_off = done is not None and (not layout.rows or disk.stat(layout.partial) is not None)
    if found.scan.torn and not cut_off:
        problems.append(f"{layout.log}: {found.scan.torn} at byte {found.scan.good_end} of a finished run")
    if not ledger.complete:
        missing = ledger.items - ledger.committed - ledger.quarantined
        problems.append(f"{layout.log}: {missing} items are accounted for nowhere")
    if done is None:
        return [*problems, f"{layout.log}: a finished run is not sealed"]
    if ledger.n_rows != done.n_rows and layout.rows:
        problems.append(f"{layout.log}: {ledger.n_rows} rows committed, {done.n_rows} sealed")
    if not layout.rows:
        return problems
    try:
        if digest_of(disk, layout.final) != (done.size, done.sha256):
            problems.append(f"{layout.final}: size or digest is not what was sealed")
        with disk.open_read(layout.final) as rows:
            if done.is_table:  # its digest answers for the rows; the file has to say how many there are
                found_rows = rows_in(rows)
                told = f"{layout.final}: it says {found_rows} rows, {done.n_rows} were sealed"
                return [*problems, told] if found_rows != done.n_rows else problems
            problems += _row_problems(rows, layout.final, extents=partial(_placed, found, done=done))
    except BatchctlError as error:
        problems.append(error.message)
    return problems


def _file_problems(disk: Disk, layout: RunLayout, *, found: Replay, data: bytes, finished: bool) -> Iterable[str]:
    """The script's own files, of committed attempts, where the log says that they are."""
    for frame in found.scan.frames:
        payload = data[frame.start + HEADER_SIZE : frame.end]
        if frame.kind == FrameType.ASSEMBLED and finished:
            for path, size, sha256 in unpack_wholes(payload):
                yield from _file_problem(disk, layout.out / path, size=size, sha256=sha256)
        elif frame.kind == FrameType.PUBLISH or (frame.kind == FrameType.PART and not found.parts.wholes):
            publication = unpack_publication(payload, kind=FrameType(frame.kind))
            if Lease(*publication.committed[:4]) not in found.waiting:
                home = home_of(layout, publication)
                for file, digest in zip(publication.files, publication.digests, strict=True):
                    yield from _file_problem(disk, home / file.path, size=file.size, sha256=digest)


def _file_problem(disk: Disk, path: Path, *, size: int, sha256: str) -> Iterable[str]:
    try:
        if disk.stat(path) is None:
            yield f"{path}: published by the run, and gone"
        elif digest_of(disk, path) != (size, bytes.fromhex(sha256)):
            yield f"{path}: size or digest is not what was published"
    except BatchctlError as error:
        yield error.message


def _torn_rows(disk: Disk, layout: RunLayout, *, found: Replay, problems: list[str]) -> int:
    if not layout.rows or (disk.stat(layout.partial) is None and not (found.sealed or found.rows_end)):
        return 0  # a first start was cut off: see recover.py
    sealed = found.sealed
    try:
        if sealed and digest_of(disk, layout.final) != (sealed.size, sealed.sha256):
            problems.append(f"{layout.final}: size or digest is not what was sealed")
        with WrittenRows(disk, layout, sealed=sealed) as rows:
            if rows.size < found.rows_end:
                problems.append(f"{layout.partial}: {rows.size} bytes of {found.rows_end}")
            elif found.columns and rows.pread(0, len(found.columns)) != found.columns:
                problems.append(f"{layout.partial}: does not begin with its header")
            else:
                counted = sealed.end if sealed and sealed.is_table else 0
                problems += _row_problems(rows, layout.partial, extents=partial(_written, found, counted=counted))
            return max(0, rows.size - found.rows_end)
    except BatchctlError as error:
        problems.append(error.message)
        return 0


def _placed(found: Replay, *, done: Done) -> Iterable[Extent]:
    """The extents where they lie in the final file; overlaps would show as a wrong size, which the seal rules out."""
    if done.arrangement == Arrangement.AS_COMMITTED:
        yield from found.ledger.extents()
        return
    extents: Iterable[Extent] = found.ledger.extents()
    if done.arrangement == Arrangement.COMPACTED:
        extents = sorted(extents, key=lambda extent: extent.offset)
    at = len(found.columns)
    for extent in extents:
        yield extent._replace(offset=at)
        at += extent.length


def _written(found: Replay, *, counted: int) -> Iterable[Extent]:
    """The extents in the rows file; `counted`: those below are rows of a sealed table."""
    return (extent for extent in found.ledger.extents() if extent.offset >= counted)


def _row_problems(rows: ReadFile, path: Path, *, extents: Callable[[], Iterable[Extent]]) -> list[str]:
    try:
        bad = list(damaged(rows, extents()))
    except BatchctlError:  # a sector that cannot be read: which rows lie there?
        bad = [extent for extent in extents() if not _is_good(rows, extent)]
    return [f"{path}: the rows of items {one.first} to {one.first + one.items - 1} are damaged" for one in bad]


def _is_good(rows: ReadFile, extent: Extent) -> bool:
    try:
        return _crc(rows, extent.offset, length=extent.length) == extent.crc
    except BatchctlError:
        return False


def _crc_problems(disk: Disk, path: Path, *, crc: int) -> list[str]:
    try:
        with disk.open_read(path) as source:
            good = _crc(source, 0, length=source.size) == crc
    except BatchctlError as error:
        return [error.message]
    return [] if good else [f"{path}: its CRC is not what was recorded"]


def _crc(source: ReadFile, offset: int, *, length: int) -> int:
    crc = 0
    for at in range(offset, offset + length, _BLOCK):
        crc = zlib.crc32(source.pread(at, min(_BLOCK, offset + length - at)), crc)
    return crc
