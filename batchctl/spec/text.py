"""A spec file's text: regular, readable, at most 1 MiB, UTF-8, without control characters; or the problem."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from batchctl.spec.nodes import MAX_BYTES
from batchctl.spec.problems import Problem

# What neither YAML nor TOML allows in a file: C0 and C1 controls other than tab, line feed, carriage return and NEL.
_CONTROL = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]"


def read_text(path: Path, shown: str) -> str | Problem:
    """The file's text, or what keeps it from being read; `shown` is its name in messages."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            return Problem(shown, "is not a regular file", "Give a file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a usable path"
        return Problem(shown, f"cannot be read: {reason}", "Check the path and its permissions")
    if len(data) > MAX_BYTES:
        return Problem(shown, "is larger than 1 MiB", "A spec names files; it does not hold them")
    return decoded(data, shown)


def decoded(data: bytes, shown: str) -> str | Problem:
    """Bytes of a spec as text; a byte order mark of UTF-8 is dropped, any other encoding is a problem."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Problem(shown, "is UTF-16", "Save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # With the signature codec the offset counts from behind the mark, which stands on the first line anyway.
        before = data[: error.start]
        where = f"{shown}:{before.count(10) + 1}:{error.start - before.rfind(10)}"
        return Problem(where, f"byte 0x{data[error.start]:02x} is not UTF-8", "Save the file as UTF-8")
    control = re.search(_CONTROL, text)
    if control is not None:
        before_it = text[: control.start()]
        where = f"{shown}:{before_it.count(chr(10)) + 1}:{control.start() - before_it.rfind(chr(10))}"
        return Problem(where, f"control character U+{ord(control.group()):04X}", "Remove it")
    return text
