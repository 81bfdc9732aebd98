"""job.json: one JSON object with a format version and its own CRC, so that damage is not mistaken for another request.

The CRC covers the document's canonical text (sorted keys, no spaces), not the bytes on disk: it stays pleasant to read.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchctl.errors import CorruptionError, ResumeRefusedError
from batchctl.files import Disk, write_whole

FORMAT = 1


def write_document(disk: Disk, path: Path, *, document: Mapping[str, Any]) -> None:
    """Durable on return; a crash leaves the whole document or none."""
    write_whole(disk, path, chunks=[text_of(document)])


def text_of(document: Mapping[str, Any]) -> bytes:
    """The content of its file."""
    whole = {"format": FORMAT, "crc32": _checksum(document), "document": document}
    return json.dumps(whole, indent=1).encode("ascii") + b"\n"


def read_document(disk: Disk, path: Path) -> dict[str, Any]:
    """The document; `CorruptionError` where it is damaged, `ResumeRefusedError` where its format is not ours."""
    try:
        whole = json.loads(disk.read(path))
        version, crc, document = whole["format"], whole["crc32"], whole["document"]
        found = _checksum(document)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptionError(f"{path} is damaged: {error}", where=str(path)) from error
    if version != FORMAT:
        raise ResumeRefusedError(
            f"{path} has format {version!r}, this batchctl reads {FORMAT}",
            where=str(path),
            remedy="use the batchctl that began this run or a later one, or choose another OUT",
        )
    if crc != found or not isinstance(document, dict):
        raise CorruptionError(f"{path} is damaged: its CRC does not match", where=str(path))
    return document


def _checksum(document: object) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return f"{zlib.crc32(text.encode('ascii')):08x}"
