"""Small files that monitors read while we replace them: whole or absent, never half, 0600.

Not durable: nothing is synced, because these files only tell what the checkpoint log proves. After a power cut one may
be old, empty or gone, and readers say so.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from batchctl.errors import StorageError
from batchctl.files import FileKind, RealDisk

READ_CAP = 64 << 20  # a file of ours that is larger than this is not ours


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` at `path` by rename from a new temporary file beside it. Raises StorageError."""
    replace_by_chunks(path, (data,))


def replace_by_chunks(path: Path, chunks: Iterable[bytes]) -> None:
    """As `replace_file`, for what is too much to be held at once."""
    disk = RealDisk()
    # One coordinator writes these files, so one fixed temporary name is enough, and a crash leaves no more than one.
    temporary = path.with_name(f".{path.name}.tmp")
    disk.remove(temporary)
    handle = disk.open_append(temporary, create=True)
    try:
        try:
            for chunk in chunks:
                handle.append(chunk)
        finally:
            handle.close()
        disk.replace(temporary, path)
    except StorageError:
        with suppress(StorageError):  # the first error says it
            disk.remove(temporary)
        raise


def read_small(path: Path) -> bytes | None:
    """The bytes of `path`; None where there is none, or none that can be read. Never follows a link, never blocks."""
    disk = RealDisk()
    try:
        found = disk.stat(path)
        if found is None or found.kind is not FileKind.FILE or found.size > READ_CAP:
            return None
        return disk.read(path)
    except StorageError:
        return None
