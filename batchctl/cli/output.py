"""Standard output: data and JSON, whole or not at all."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable

from batchctl.errors import StorageError


class ReaderGoneError(Exception):
    """Whoever read our standard output has left (`| head`): no error of ours, and nothing more to say."""


def emit(text: str) -> None:
    """Print `text` and a line break on standard output and flush. Raises ReaderGoneError, StorageError."""
    if sys.stdout is None:  # closed before we were started
        raise StorageError("standard output is closed", remedy="redirect it to a file or to /dev/null")
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
        raise ReaderGoneError from None
    except OSError as error:
        _silence_stdout()
        raise StorageError(f"standard output cannot be written: {error.strerror}", remedy="free some space") from error


def emit_bytes(chunks: Iterable[bytes]) -> None:
    """Print raw bytes, names as the file system has them, and flush. Raises ReaderGoneError, StorageError."""
    if sys.stdout is None:
        raise StorageError("standard output is closed", remedy="redirect it to a file or to /dev/null")
    try:
        sys.stdout.flush()
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _silence_stdout()
        raise ReaderGoneError from None
    except OSError as error:
        _silence_stdout()
        raise StorageError(f"standard output cannot be written: {error.strerror}", remedy="free some space") from error


def emit_json(value: object, *, compact: bool = False) -> None:
    """One JSON object; `compact`: on one line. ASCII only, so that no locale and no file name can break it; and without
    `##[`, which GitHub's runner obeys wherever it stands in a log (it can only stand in a string)."""
    text = json.dumps(value, separators=(",", ":")) if compact else json.dumps(value, indent=2)
    emit(text.replace("##[", "##\\u005b"))


def _silence_stdout() -> None:
    # The interpreter flushes standard output once more at exit and would print an error of its own.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
