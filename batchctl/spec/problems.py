"""What is wrong with a spec, as data, and how it is said: `where:key: what. Remedy`.

Every problem of a spec is collected and shown at once. Text that comes from files (keys, values, names) is escaped and
shortened before it is quoted, so that a hostile file can neither move the terminal's cursor nor flood it. Values of
environment variables are never part of a problem.
"""

from __future__ import annotations

from collections.abc import Iterable

from batchctl.named_tuple import NamedTuple

QUOTED_LIMIT = 60


class Problem(NamedTuple):
    """One thing that keeps a spec from being run.

    `where` is a file with its line ("deployment.yml:14"), a flag or an environment variable; `key` the dotted key in
    that file, or empty. `field` is the JobSpec field concerned: a good value from a source of higher precedence turns
    the problem into a note. `remedy` says what to type.
    """

    where: str
    what: str
    remedy: str = ""
    key: str = ""
    field: str = ""

    def __str__(self) -> str:
        head = f"{self.where}:{self.key}" if self.key else self.where
        tail = f". {self.remedy}" if self.remedy else ""
        return f"{escaped(head)}: {escaped(self.what)}{escaped(tail)}"


class Wrong(Exception):
    """A value that its field cannot take: `what` is wrong with it, and the `remedy`. Raised by the value parsers."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def escaped(text: str) -> str:
    """The text with everything that a terminal would not print as a character written as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def quoted(text: str) -> str:
    """The text in quotes, escaped, and cut to a length that fits a line."""
    shown = text if len(text) <= QUOTED_LIMIT else text[: QUOTED_LIMIT - 3] + "..."
    return f'"{escaped(shown)}"'


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean "x"?` for the nearest known word, or an empty string; case, `-` and `_` count for nothing."""
    from difflib import get_close_matches  # for the few starts that fail

    by_plain = {_plain(candidate): candidate for candidate in known}
    # Long garbage is no typo, and the comparison is quadratic in its length.
    near = get_close_matches(_plain(word), by_plain, n=1, cutoff=0.7) if len(word) <= QUOTED_LIMIT else []
    return f'did you mean "{by_plain[near[0]]}"?' if near else ""


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")
