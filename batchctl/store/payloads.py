"""What frames carry: fixed binary records where there is one per mini-batch, compact JSON elsewhere.

Whatever stands in a payload, `unpack_*` give what is of the right types and in its range, or raise one of MALFORMED.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import starmap
from pathlib import PurePosixPath
from typing import Any

from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Shortage, StagedFile
from batchctl.model.records import Charged, Committed, EpochOpened, Quarantined, Reopened, Reopening
from batchctl.named_tuple import NamedTuple
from batchctl.store.frames import DONE_PAYLOAD, LOG_FORMAT, MAX_PAYLOAD, FrameType, is_format
from batchctl.store.layout import RUN_DIRECTORY
from batchctl.store.parts import Whole

MALFORMED = (ValueError, TypeError, struct.error)
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
    return b"".join(starmap(CLAIM.pack, leases))


def pack_commits(commits: Iterable[Committed]) -> bytes:
    return b"".join(starmap(COMMIT.pack, commits))


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
    for row in _list(payload):
        batch, first, count, attempt, kind, error, message, traceback, *later = row
        peak = later[1] if len(later) > 1 else None
        CLAIM.pack(batch, first, count, attempt)  # numbers in their range
        texts = (error, message, traceback, *later[:1])
        if not all(isinstance(text, str) for text in texts) or not (peak is None or _is_count(peak)):
            raise ValueError("a failure of other types")
        found = Failure(FailureKind(kind), error, message, traceback, *later[:2], *map(Shortage, later[2:]))
        yield Lease(batch, first, count, attempt), found


def pack_epoch(opened: EpochOpened) -> bytes:
    said = {"boot_id": opened.boot_id, "version": opened.version, "settings": opened.settings}
    return _json({**said, "format": LOG_FORMAT})


def unpack_epoch(payload: bytes, *, number: int) -> EpochOpened:
    boot_id, version, settings = _fields(payload, "boot_id", "version", "settings")
    texts = isinstance(boot_id, str) and isinstance(version, str) and isinstance(settings, str)
    if not texts or not is_format(_loaded(payload).get("format", 1)):
        raise ValueError("an epoch of other types")
    return EpochOpened(number, boot_id, version, settings)


def pack_publication(publication: Publication) -> bytes:
    committed, staged, files, digests, _ = publication
    named = [[file.path, file.size, digest] for file, digest in zip(files, digests, strict=True)]
    return _json({"commit": list(committed), "staged": staged, "files": named})


def unpack_publication(payload: bytes, *, kind: FrameType) -> Publication:
    commit, staged, named = _fields(payload, "commit", "staged", "files")
    committed = Committed._make(COMMIT.unpack(COMMIT.pack(*commit)))  # numbers in their range
    wholes = [_whole(entry) for entry in named]
    if not isinstance(staged, str) or len(_parts_of(staged)) != 1:
        raise ValueError(f"files in {staged!r}")
    files = tuple(StagedFile(whole.path, whole.size) for whole in wholes)
    return Publication(committed, staged, files, tuple(whole.sha256 for whole in wholes), kind)


def pack_wholes(wholes: Sequence[Whole]) -> Iterator[bytes]:
    """JSON lists of [path, size, sha256], each well below the cap."""
    return _split(list(whole) for whole in wholes)


def unpack_wholes(payload: bytes) -> list[Whole]:
    return [_whole(entry) for entry in _list(payload)]


def _whole(entry: Any) -> Whole:
    """[path, size, sha256]. A run directory may come from elsewhere: no path of its leads out of OUT, or into it."""
    path, size, sha256 = entry
    if not isinstance(path, str) or not isinstance(sha256, str) or not _is_count(size) or len(sha256) != 64:
        raise ValueError("a file of other types")
    bytes.fromhex(sha256)
    if _parts_of(path)[0] == RUN_DIRECTORY:
        raise ValueError(f"a file at {path!r}")
    return Whole(path, size, sha256)


def _parts_of(path: str) -> tuple[str, ...]:
    """The components of a relative path that stays where it is put and that a file system can hold; else ValueError."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise ValueError(f"a file at {path!r}")
    os.fsencode(path)
    return parts


def pack_reopened(reopened: Reopened) -> bytes:
    return _GENERATION.pack(reopened.generation, 0) + b"".join(REOPENED.pack(*one) for one in reopened.ranges)


def unpack_reopened(payload: bytes | memoryview) -> Reopened:
    generation, zero = _GENERATION.unpack_from(payload)
    if zero:
        raise ValueError("a reopening with bits where zeros belong")
    return Reopened(generation, tuple(map(Reopening._make, REOPENED.iter_unpack(payload[_GENERATION.size :]))))


def pack_done(done: Done) -> bytes:
    return DONE_PAYLOAD.pack(*done)


def unpack_done(payload: bytes | memoryview) -> Done:
    done = Done._make(DONE_PAYLOAD.unpack(payload))
    Arrangement(done.arrangement)
    return done


def _fields(payload: bytes, *names: str) -> list[Any]:
    """The values of these keys of a JSON object."""
    said = _loaded(payload)
    if not isinstance(said, dict) or not said.keys() >= set(names):
        raise ValueError(f"not an object with {', '.join(names)}")
    return [said[name] for name in names]


def _list(payload: bytes) -> list[list[Any]]:
    """A JSON list of lists."""
    said = _loaded(payload)
    if not isinstance(said, list) or not all(isinstance(entry, list) for entry in said):
        raise ValueError("not a list of lists")
    return said


def _loaded(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _json(value: Any) -> bytes:
    # ASCII: names that are not UTF-8 hold lone surrogates, which only escapes carry.
    return json.dumps(value, separators=(",", ":")).encode("ascii")
