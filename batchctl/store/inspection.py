"""The checkpoint log for people and tools: one plain dict per record, every frame's place with it. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from batchctl.files import Disk
from batchctl.model.column_types import parse_columns
from batchctl.model.records import Committed
from batchctl.store.frames import HEADER_SIZE, Frame, FrameType, scan
from batchctl.store.layout import RunLayout
from batchctl.store.payloads import CLAIM as CLAIM_RECORD
from batchctl.store.payloads import (
    COMMIT,
    MALFORMED,
    Arrangement,
    unpack_done,
    unpack_epoch,
    unpack_failures,
    unpack_publication,
    unpack_reopened,
    unpack_wholes,
)
from batchctl.store.replay import contradiction

_LEASE = ("batch", "first", "count", "attempt")


def inspect_log(disk: Disk, layout: RunLayout, *, run_id: str) -> Iterator[dict[str, Any]]:
    """One JSON-able dict per record, in order; last, where there is one, the torn tail. Names that are not UTF-8 hold
    lone surrogates, which `json.dumps` escapes. `CorruptionError` for damage below what was durable."""
    data = disk.read(layout.log)
    found = scan(memoryview(data), run_id=run_id, where=str(layout.log))
    for frame in found.frames:
        place = {"offset": frame.start, "sequence": frame.sequence, "epoch": frame.epoch, "group": frame.group}
        try:
            told = list(_told(frame, data[frame.start + HEADER_SIZE : frame.end]))
        except MALFORMED as error:
            raise contradiction(layout, frame.start, error) from error
        for said in told:
            yield {"type": FrameType(frame.kind).name, **place, **said}
    if found.torn:
        yield {"type": "TORN", "offset": found.good_end, "bytes": len(data) - found.good_end, "why": found.torn}


def _told(frame: Frame, payload: bytes) -> Iterator[dict[str, Any]]:
    match frame.kind:
        case FrameType.COMMIT:
            yield from (dict(zip(Committed._fields, record, strict=True)) for record in COMMIT.iter_unpack(payload))
        case FrameType.CLAIM:
            yield from (dict(zip(_LEASE, record, strict=True)) for record in CLAIM_RECORD.iter_unpack(payload))
        case FrameType.FAIL | FrameType.QUARANTINE:
            for lease, failure in unpack_failures(payload):
                yield {
                    **lease._asdict(),
                    "kind": failure.kind.value,
                    "error": failure.error,
                    "message": failure.message,
                    "traceback": failure.traceback,
                    "phase": failure.phase,
                    "peak_memory": failure.peak_memory,
                }
        case FrameType.EPOCH:
            opened = unpack_epoch(payload, number=frame.epoch)
            yield {"boot_id": opened.boot_id, "version": opened.version, "settings": opened.settings}
        case FrameType.COLUMNS:
            yield {"columns": payload.decode("utf-8", "surrogateescape")}
        case FrameType.TYPES:
            yield {"types": parse_columns(payload)}
        case FrameType.PUBLISH | FrameType.PART:
            publication = unpack_publication(payload, kind=FrameType(frame.kind))
            files = zip(publication.files, publication.digests, strict=True)
            yield {
                **publication.committed._asdict(),
                "staged": publication.staged,
                "files": [{"path": file.path, "size": file.size, "sha256": digest} for file, digest in files],
            }
        case FrameType.ASSEMBLED:
            yield {"files": [whole._asdict() for whole in unpack_wholes(payload)]}
        case FrameType.REOPEN:
            reopened = unpack_reopened(payload)
            yield from ({"generation": reopened.generation, **one._asdict()} for one in reopened.ranges)
        case FrameType.DONE:
            done = unpack_done(payload)
            yield {
                "log_length": done.log_length,
                "log_sha256": done.log_sha256.hex(),
                "n_rows": done.n_rows,
                "size": done.size,
                "sha256": done.sha256.hex(),
                "arrangement": Arrangement(done.arrangement).name.lower(),
            }
        case _:
            yield {}
