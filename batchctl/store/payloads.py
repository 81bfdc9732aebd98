"""What frames carry: fixed binary records where there is one per mini-batch, compact JSON elsewhere."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Shortage, StagedFile
from batchctl.model.records import Charged, Committed, EpochOpened, Quarantined, Reopened, Reopening
from batchctl.store.frames import DONE_PAYLOAD, LOG_FORMAT, MAX_PAYLOAD, FrameType
from batchctl.store.parts import Whole

CLAIM = struct.Struct("<IIII")
COMMIT = struct.Struct("<IIIIQQIIII")
REOPENED = struct.Struct("<IIIIII")
_GENERATION = struct.Struct("<II")  # and four bytes of zero
MAX_REOPENED = (MAX_PAYLOAD - _GENERATION.size) // REOPENED.size  # ranges: one frame, so all of them or none
_SMALL = MAX_PAYLOAD // 16  # lists are split here, far below the cap


class Arrangement(IntEnum):
    """How the final file was made of the rows file."""

    NONE = 0  # summary_only: there is none
    AS_COMMITTED = 1  # renamed: offsets are those of the log
    BY_ITEM = 2  # copied in item order
    COMPACTED = 3  # copied in commit order, dead bytes left out
    TABLE_BY_ITEM = 4  # made as a parquet file, rows in item order
    TABLE_COMPACTED = 5  # made as a parquet file, rows in commit order


_TABLES = frozenset({Arrangement.TABLE_BY_ITEM, Arrangement.TABLE_COMPACTED})


class Done(NamedTuple):
    """The seal: the log's length and digest before this frame, and the rows, size and digest of the final file."""

    log_length: int
    log_sha256: bytes
    n_rows: int
    size: int
    sha256: bytes
    arrangement: int

    @property
    def is_table(self) -> bool:
        """Are old rows found by their number, and vouched for by the file's digest alone?"""
        return self.arrangement in _TABLES

    @property
    def end(self) -> int:
        """Where the rows of a retry go on: behind the bytes of the final file, or behind the number of its rows."""
        return self.n_rows if self.is_table else self.size


class Publication(NamedTuple):
    """A commit that waits for its files: `digests` (SHA-256) are those of `files`, in `stage/<staged>/`.

    `kind` is PUBLISH where they go to OUT, PART where they go to `parts/`.
    """

    committed: Committed
    staged: str
    files: tuple[StagedFile, ...]
    digests: tuple[str, ...]
    kind: FrameType = FrameType.PUBLISH


def pack_claims(leases: Iterable[Lease]) -> bytes:
    return b"".join(CLAIM.pack(*lease) for lease in leases)


def pack_commits(commits: Iterable[Committed]) -> bytes:
    return b"".join(COMMIT.pack(*committed) for committed in commits)


def pack_failures(records: Sequence[Charged] | Sequence[Quarantined]) -> Iterator[bytes]:
    """JSON lists of [mini-batch, first, count, attempt, kind, error, message, traceback, phase, peak memory or null,
    shortage], each well below the cap."""
    return _split(_told(record.lease, record.failure) for record in records)


def _told(lease: Lease, failure: Failure) -> list[Any]:
    words = [failure.kind.value, failure.error, failure.message, failure.traceback]
    return [*lease, *words, failure.phase, failure.peak_memory, failure.shortage.value]


def _split(rows: Iterable[list[Any]]) -> Iterator[bytes]:
    texts: list[bytes] = []
    size = 0
    for row in rows:
        text = _json(row)
        if texts and size + len(text) > _SMALL:
            yield b"[" + b",".join(texts) + b"]"
            texts, size = [], 0
        texts.append(text)
        size += len(text) + 1
    if texts:
        yield b"[" + b",".join(texts) + b"]"


def unpack_failures(payload: bytes) -> Iterator[tuple[Lease, Failure]]:
    # Logs of earlier versions hold neither phase nor peak memory, nor what memory was short.
    for batch, first, count, attempt, kind, error, message, traceback, *later in json.loads(payload):
        found = Failure(FailureKind(kind), error, message, traceback, *later[:2], *map(Shortage, later[2:]))
        yield Lease(batch, first, count, attempt), found


def pack_epoch(opened: EpochOpened) -> bytes:
    said = {"boot_id": opened.boot_id, "version": opened.version, "settings": opened.settings}
    return _json({**said, "format": LOG_FORMAT})


def unpack_epoch(payload: bytes, *, number: int) -> EpochOpened:
    said = json.loads(payload)
    return EpochOpened(number, said["boot_id"], said["version"], said["settings"])


def pack_publication(publication: Publication) -> bytes:
    committed, staged, files, digests, _ = publication
    named = [[file.path, file.size, digest] for file, digest in zip(files, digests, strict=True)]
    return _json({"commit": list(committed), "staged": staged, "files": named})


def unpack_publication(payload: bytes, *, kind: FrameType) -> Publication:
    said = json.loads(payload)
    files = tuple(StagedFile(path, size) for path, size, _ in said["files"])
    digests = tuple(digest for _, _, digest in said["files"])
    return Publication(Committed._make(said["commit"]), said["staged"], files, digests, kind)


def pack_wholes(wholes: Sequence[Whole]) -> Iterator[bytes]:
    """JSON lists of [path, size, sha256], each well below the cap."""
    return _split(list(whole) for whole in wholes)


def unpack_wholes(payload: bytes) -> list[Whole]:
    return [Whole(*entry) for entry in json.loads(payload)]


def pack_reopened(reopened: Reopened) -> bytes:
    return _GENERATION.pack(reopened.generation, 0) + b"".join(REOPENED.pack(*one) for one in reopened.ranges)


def unpack_reopened(payload: bytes | memoryview) -> Reopened:
    generation, _ = _GENERATION.unpack_from(payload)
    return Reopened(generation, tuple(map(Reopening._make, REOPENED.iter_unpack(payload[_GENERATION.size :]))))


def pack_done(done: Done) -> bytes:
    return DONE_PAYLOAD.pack(*done)


def unpack_done(payload: bytes) -> Done:
    return Done._make(DONE_PAYLOAD.unpack(payload))


def _json(value: Any) -> bytes:
    # ASCII: names that are not UTF-8 hold lone surrogates, which only escapes carry.
    return json.dumps(value, separators=(",", ":")).encode("ascii")
