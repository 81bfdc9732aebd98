"""Paths as text: for people (nothing that moves a terminal's cursor) and for machines (always valid Unicode)."""

from __future__ import annotations


def _escaped(char: str) -> str:
    code = ord(char)
    if char == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable():
        return char
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    if char in named:
        return named[char]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def display_name(path: str) -> str:
    """`path` with control characters, direction marks, undecodable bytes and backslashes escaped; unambiguous. So is
    what GitHub's runner would obey in a log: `##[` anywhere, `::` at the beginning of a line."""
    if not (path.isprintable() and "\\" not in path):
        path = "".join(map(_escaped, path))
    if "##[" in path:
        path = path.replace("##[", "##\\x5b")
    return path.replace("::", "\\x3a:", 1) if path.lstrip().startswith("::") else path


def machine_name(path: str) -> str:
    """`path` itself where it is valid Unicode; else each undecodable byte as `\\xNN`. Safe in UTF-8 and JSON."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return path
