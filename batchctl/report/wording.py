"""How names, counts, durations and sizes are written for people. Pure; used by everything that speaks to a terminal.

Names and messages come from files and scripts that we do not trust with a terminal: whatever is shown passes through
`printable` (one line) or `printable_block` (several).
"""

from __future__ import annotations

from collections.abc import Iterable

_SURROGATE_BYTES = range(0xDC80, 0xDD00)  # what surrogateescape makes of bytes that are not UTF-8


def printable(text: str) -> str:
    """`text` on one line with everything escaped that a terminal might obey: control characters, bidi marks, bad bytes;
    and what GitHub's runner would obey in a log: `::` at the beginning of a line, `##[` anywhere.

    Bytes that are not UTF-8 (names from the file system) come out as `\\xNN`; a name that needs no escape is returned
    as it is.
    """
    if not text.isprintable():
        text = "".join(char if char.isprintable() else _escaped(char) for char in text)
    if "##[" in text:
        text = text.replace("##[", "##\\x5b")
    if "::" in text and text.lstrip().startswith("::"):
        text = text.replace("::", "\\x3a:", 1)
    return text


def printable_block(text: str, *, indent: str = "") -> str:
    """As `printable`, line by line: line breaks stay, tabs become four spaces, each line is indented."""
    return "\n".join(indent + printable(line.replace("\t", "    ")) for line in text.split("\n"))


def _escaped(char: str) -> str:
    code = ord(char)
    if code in _SURROGATE_BYTES:
        return f"\\x{code - 0xDC00:02x}"
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    if short is not None:
        return short
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def count_text(number: int) -> str:
    """1234567 as 1,234,567."""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """`1 file`, `2,000 files`; nouns in -ch, -s and -x take -es, a consonant and -y become -ies."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith(("ch", "s", "x")):
        noun += "es"
    elif noun.endswith("y") and noun[-2:-1] not in "aeiou":
        noun = noun[:-1] + "ies"
    else:
        noun += "s"
    return f"{number:,} {noun}"


def duration_text(seconds: float) -> str:
    """Two units at most: 0.25s, 12s, 3m05s, 2h07m, 3d04h."""
    if seconds < 0:
        seconds = 0.0
    if seconds < 1:
        return f"{seconds:.2f}s"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def size_text(size: int) -> str:
    """Bytes in the decimal units that disks and flags use: 999 B, 1.5 kB, 64 MB."""
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        value /= 1000
        if value < 999.5 or unit == "PB":
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    raise AssertionError("the last unit takes everything")


def memory_text(size: int) -> str:
    """Bytes of memory in binary units, as sizing speaks of them: 6.4 MiB, 412 MiB, 4.1 GiB."""
    if size >= 1 << 30:
        return f"{size / (1 << 30):.1f} GiB"
    return f"{size / (1 << 20):.0f} MiB" if size >= 10 << 20 else f"{size / (1 << 20):.1f} MiB"


def rate_text(rate: float) -> str:
    """Items a second; slower than one in ten seconds is told by the minute."""
    if rate <= 0:
        return "-/s"
    if rate < 0.1:
        return f"{rate * 60:.1f}/min"
    return f"{rate:.1f}/s" if rate < 100 else f"{rate:,.0f}/s"


def percent_text(done: int, total: int) -> str:
    """Rounded down: 100 % is said when everything is done and not before."""
    if total <= 0:
        return "-%"
    return f"{done * 1000 // total / 10:.1f}%"


def ranges_text(numbers: Iterable[int]) -> str:
    """(0, 1, 2, 5) as 0-2,5."""
    parts: list[str] = []
    start = last = None
    for number in [*sorted(numbers), None]:
        if start is not None and last is not None and number != last + 1:
            parts.append(str(start) if start == last else f"{start}-{last}")
            start = None
        if start is None:
            start = number
        last = number
    return ",".join(parts)


def pasteable(command: str) -> str:
    """A command for `next`, with a word of warning where secrets were masked in it: it will not do as it is."""
    return f"{command}   (put back what *** stands for)" if "=***" in command else command


def clipped(text: str, limit: int) -> str:
    """At most `limit` characters, the cut marked."""
    return text if len(text) <= limit else text[: max(0, limit - 3)] + "..."
