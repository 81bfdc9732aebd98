"""The packaged file's footer, and whether launcher and payload are what it says (docs/executable.md has the format)."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import BinaryIO

from batchctl.errors import ExecutableDamagedError, UsageError
from batchctl.executable.manifest import DIGEST_BYTES, digest_of
from batchctl.named_tuple import NamedTuple

MAGIC = b"BATCHCTL-FOOTER1"
SIZE = 256
_SEALED = SIZE - DIGEST_BYTES
_LAYOUT = struct.Struct("<16sQQQQII32s32s64s32sQ")
_CHUNK = 1 << 20
COPY_AGAIN = "copy the file again, and compare it with its .sha256"


class Footer(NamedTuple):
    """Offsets and lengths in bytes, digests in hex."""

    offset: int
    length: int
    unpacked: int
    manifest_length: int
    entries: int
    payload_digest: str
    manifest_digest: str
    build_id: str
    launcher_digest: str


def read_footer(path: Path) -> Footer:
    """Raises ExecutableDamagedError where the file does not end in a sound footer that fits its size, UsageError where
    it cannot be read."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - SIZE))
            data = file.read(SIZE)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    footer = _parsed(data)
    if footer is None:
        raise ExecutableDamagedError(
            "this is no batchctl executable, or the end of it is missing", where=str(path), remedy=COPY_AGAIN
        )
    if footer.offset + footer.length + SIZE != size:
        raise ExecutableDamagedError(
            f"the file has {size} bytes, not {footer.offset + footer.length + SIZE}", where=str(path), remedy=COPY_AGAIN
        )
    return footer


def _parsed(data: bytes) -> Footer | None:
    if len(data) != SIZE or digest_of(data[:_SEALED]) != data[_SEALED:].hex():
        return None
    magic, offset, length, unpacked, manifest_length, entries, _zero, payload, manifest, build_id, launcher, _zeros = (
        _LAYOUT.unpack(data[:_SEALED])
    )
    if magic != MAGIC:
        return None
    return Footer(
        offset,
        length,
        unpacked,
        manifest_length,
        entries,
        payload.hex(),
        manifest.hex(),
        build_id.rstrip(b"\0").decode("ascii", errors="replace"),
        launcher.hex(),
    )


def damages(path: Path, footer: Footer) -> tuple[str, ...]:
    """What of launcher and payload is not as the footer says, a line each. Reads every byte. UsageError."""
    found = []
    try:
        with path.open("rb") as file:
            if _digest(file, footer.offset) != footer.launcher_digest:
                found.append(f"{path}: the launcher (bytes 0 to {footer.offset}) has other content")
            if _digest(file, footer.length) != footer.payload_digest:
                end = footer.offset + footer.length
                found.append(f"{path}: the payload (bytes {footer.offset} to {end}) has other content")
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    return tuple(found)


def _digest(file: BinaryIO, length: int) -> str:
    """Of the next `length` bytes."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    left = length
    while left:
        data = file.read(min(left, _CHUNK))
        if not data:
            break
        digest.update(data)
        left -= len(data)
    return digest.hexdigest()
