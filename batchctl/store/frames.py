"""Frames of the checkpoint log: 48 bytes of header, then the payload. docs/formats.md draws them.

    magic 4, type 1, flags 1, zero 2, length 4, epoch 4, sequence 8, rows durable 8, log durable 8, group 4, CRC 4

Little-endian. The CRC-32 covers header and payload and is seeded by the run id: a frame of another run is a bad frame.
`rows durable` and `log durable` are the offsets known to be on disk when the frame was written: they tell a torn tail
from damage. The reader reports where good data ends and never repairs.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum

from batchctl.errors import CorruptionError, ResumeRefusedError
from batchctl.named_tuple import NamedTuple
from batchctl.store.log_bytes import LogBytes

# What an EPOCH says that the frames after it may hold; 1 where it says nothing. To be raised with whatever an older
# reader would take for damage or for a torn tail, a new frame type above all: that one must refuse, and cut nothing.
LOG_FORMAT = 1
MAGIC = b"\xb7Fr1"
HEADER = struct.Struct("<4sBBHIIQQQII")
HEADER_SIZE = HEADER.size
MAX_PAYLOAD = 64 << 20
FIRST_OF_GROUP = 1
DONE_PAYLOAD = struct.Struct("<Q32sQQ32sB7x")
_CRC_AT = HEADER_SIZE - 4
_MOST_GROUPS = (1 << 32) - 1  # a next one must fit into its field


class FrameType(IntEnum):
    """What a payload is. Numbers are never reused."""

    EPOCH = 1
    CLAIM = 2
    FAIL = 3
    COMMIT = 4
    QUARANTINE = 5
    COLUMNS = 6
    PUBLISH = 7
    CLOSE = 8
    DONE = 9
    REOPEN = 10
    PART = 11
    ASSEMBLED = 12
    TYPES = 13


_TYPES = frozenset(FrameType)


class Frame(NamedTuple):
    """A frame found good; its payload is `data[start + 48:end]`."""

    kind: int
    flags: int
    epoch: int
    sequence: int
    rows_durable: int
    log_durable: int
    group: int
    start: int
    end: int


class Scan(NamedTuple):
    """The good frames, where they end, what is known to be durable, and why the reader stopped ("": at the end)."""

    frames: list[Frame]
    good_end: int
    log_durable: int
    rows_durable: int
    torn: str


def seed_of(run_id: str) -> int:
    return zlib.crc32(run_id.encode("utf-8"))


def checksum(head: bytes | memoryview, payload: bytes | memoryview, *, seed: int) -> int:
    return zlib.crc32(payload, zlib.crc32(head, seed))


def encode(frame: Frame, payload: bytes, *, seed: int) -> bytes:
    """The bytes of one frame; `start` and `end` are not stored."""
    kind, flags, epoch, sequence, rows_durable, log_durable, group, _, _ = frame
    head = HEADER.pack(MAGIC, kind, flags, 0, len(payload), epoch, sequence, rows_durable, log_durable, group, 0)[
        :_CRC_AT
    ]
    return b"".join((head, checksum(head, payload, seed=seed).to_bytes(4, "little"), payload))


def frame_at(data: memoryview | LogBytes, offset: int, *, seed: int) -> Frame | str:
    """The frame at `offset`, or why there is none. Judges the frame alone, not its place among others."""
    if len(data) - offset < HEADER_SIZE:
        return "ends within a header"
    magic, kind, flags, zero, length, epoch, sequence, rows, log, group, crc = HEADER.unpack(
        data[offset : offset + HEADER_SIZE]
    )
    if magic != MAGIC or zero or kind not in _TYPES:
        return "no frame begins here"
    end = offset + HEADER_SIZE + length
    if length > MAX_PAYLOAD or end > len(data):
        return "ends within a payload"
    if checksum(data[offset : offset + _CRC_AT], data[offset + HEADER_SIZE : end], seed=seed) != crc:
        return "CRC does not match"
    return Frame(kind, flags, epoch, sequence, rows, log, group, offset, end)


def misplaced(frame: Frame, *, sequence: int, epoch: int, group: int) -> str:
    """Why a good frame does not belong where it stands, "" where it does: remains of an older epoch must not count."""
    expected = epoch + 1 if frame.kind == FrameType.EPOCH else epoch
    if frame.sequence != sequence:
        return f"sequence {frame.sequence} where {sequence} was expected"
    if frame.epoch != expected:
        return f"epoch {frame.epoch} where {expected} was expected"
    if not group <= frame.group < _MOST_GROUPS or frame.log_durable > frame.start:
        return "a frame of another place"
    return ""


def scan(data: memoryview | LogBytes, *, run_id: str, where: str) -> Scan:
    """Read frames until the first bad one. `CorruptionError` where a later frame says that it had been durable;
    `ResumeRefusedError` where an EPOCH is of a later log format."""
    seed = seed_of(run_id)
    frames: list[Frame] = []
    offset = sequence = epoch = group = log_durable = rows_durable = 0
    torn = ""
    while offset < len(data):
        found = frame_at(data, offset, seed=seed)
        torn = found if isinstance(found, str) else misplaced(found, sequence=sequence, epoch=epoch, group=group)
        if torn or isinstance(found, str):
            break
        if found.kind == FrameType.EPOCH:
            _refuse_newer(data[found.start + HEADER_SIZE : found.end], where=where)
        frames.append(found)
        epoch, group = found.epoch, found.group
        if found.log_durable > log_durable:
            log_durable = found.log_durable
            if isinstance(data, LogBytes):
                data.keep_from(log_durable)
        rows_durable = max(rows_durable, found.rows_durable)
        sequence += 1
        offset = found.end
    if torn:
        claimed = max((later.log_durable for later in _later(data, offset, seed=seed)), default=0)
        if claimed > offset:
            raise CorruptionError(
                f"{where} is damaged at byte {offset} ({torn}); its first {claimed} bytes were on disk", where=where
            )
    return Scan(frames, offset, log_durable, rows_durable, torn)


def is_format(number: object) -> bool:
    """Can it be the number of a log format?"""
    return type(number) is int and 1 <= number < 1 << 31


def _refuse_newer(epoch: memoryview, *, where: str) -> None:
    try:
        said = json.loads(bytes(epoch))
        number, version = said.get("format", 1), str(said.get("version", "?"))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return  # whoever reads the frame finds that it contradicts itself
    if is_format(number) and number > LOG_FORMAT:
        raise ResumeRefusedError(
            f"batchctl {version} has worked on this run and writes log format {number}; this one reads {LOG_FORMAT}",
            where=where,
            remedy="use that version or a later one, or choose another OUT; nothing in this one was changed",
        )


def _later(data: memoryview | LogBytes, bad: int, *, seed: int) -> Iterator[Frame]:
    """Good frames anywhere after a bad one."""
    tail = bytes(data[bad + 1 :])
    at = tail.find(MAGIC)
    while at >= 0:
        found = frame_at(data, bad + 1 + at, seed=seed)
        if not isinstance(found, str):
            yield found
        at = tail.find(MAGIC, at + 1)
