"""How text is written into a systemd unit so that systemd reads the same text back.

Three grammars: words of a command line (escapes, `%` and `$` mean something), words of a list of paths (as those, but
`$` is itself), and the rest of a line (`%` alone means something). Control characters and bytes that are not UTF-8
fit into none of them safely: UsageError.
"""

from __future__ import annotations

import re

from batchctl.errors import UsageError

_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
_IN_UNIT_NAME = re.compile(r"[A-Za-z0-9:_.-]")
_LONGEST_NAME = 200  # systemd takes 255 bytes, and `.service` and a drop-in's folder come behind it


def command_word(text: str) -> str:
    """One word of ExecStart=."""
    _check(text)
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def program_word(text: str) -> str:
    """The first word of ExecStart=, in which `$` stands for itself and cannot be escaped."""
    if "$" in text:
        raise UsageError(f"systemd cannot start a program with a $ in its path: {text}", remedy="copy it elsewhere")
    return command_word(text)


def path_word(text: str) -> str:
    """One word of ReadWritePaths= and RequiresMountsFor=."""
    _check(text)
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def line_text(text: str) -> str:
    """What takes the rest of a line: Description=, WorkingDirectory=."""
    _check(text)
    if text != text.strip() or text.endswith("\\"):
        raise UsageError(
            f"systemd cannot be given a path that ends like this: {text!r}", remedy="work in another folder"
        )
    return text.replace("%", "%%")


def unit_name(text: str) -> str:
    """A name for a unit: what may not be in it becomes \\xNN, as with systemd-escape; `-` stays, it is not a path."""
    _check(text)
    name = "".join(
        char if _IN_UNIT_NAME.fullmatch(char) else "".join(f"\\x{byte:02x}" for byte in char.encode()) for char in text
    )
    if name.startswith("."):
        name = "\\x2e" + name[1:]
    if not name or len(name) > _LONGEST_NAME:
        raise UsageError(f"no name for a unit: {text[:80]!r}", remedy="give a shorter one with --name")
    return name


def _check(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"a unit cannot hold a name that is not UTF-8: {text!r}", remedy="rename it, or make a link to it"
        ) from None
    if re.search(r"[\x00-\x1f\x7f\x80-\x9f\u2028\u2029]", text):
        raise UsageError(
            f"a unit cannot hold a name with a control character: {text!r}", remedy="rename it, or make a link to it"
        )
