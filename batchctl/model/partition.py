"""The template that says where in a path the values of the partition keys stand: `{user}/{season}/*.csv`.

`spec` checks it, `plan` holds paths against it; docs/spec.md states the rules. Paths are matched as text (undecodable
bytes by surrogateescape), so that a value never ends within a character.
"""

from __future__ import annotations

import re
from typing import Self

from batchctl.named_tuple import NamedTuple

_TOKEN = r"(?s)\{[^{}]*\}|\*+|[^{}*]+|."
_DATE = r"\{[^{}]*:[^{}]*\}"
_MOST_LOOSE = 3  # a name that does not fit takes time by its length to the power of these
_ANY_FOLDERS = r"(?:[^/]+/)*"


class PartitionFormat(NamedTuple):
    """A template, ready to match: `folders` against a relative folder ("" or "a/b/"), `name` against the base name.

    `anywhere` is `folders` for paths whose beginning the template does not describe. The groups of `folders` and then
    those of `name` are the values of `keys`, in order.
    """

    text: str
    keys: tuple[str, ...]
    folders: re.Pattern[str]
    anywhere: re.Pattern[str]
    name: re.Pattern[str]

    @classmethod
    def of(cls, text: str) -> Self:
        """Parse; ValueError says what is wrong, for people."""
        date = re.search(_DATE, text)
        if date is not None:
            raise ValueError(
                f"{date[0]}: dates are not taken apart; give each part a key, as in {{year}}/{{month}}/{{day}}"
            )
        parts = [part for part in text.split("/") if part not in ("", ".")]
        if not parts or text.endswith("/"):
            raise ValueError("names no files: it ends with the file's name, which may be *")
        if ".." in parts:
            raise ValueError("holds `..`")
        keys: list[str] = []
        below = [*parts, "*"] if parts[-1] == "**" else parts
        folders = "".join(_ANY_FOLDERS if part == "**" else _expression(part, keys) + "/" for part in below[:-1])
        name = _expression(below[-1], keys)
        if len(set(keys)) != len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"names {{{twice}}} more than once")
        return cls(
            text, tuple(keys), re.compile(folders), re.compile("(?:[^/]+/)*?" + folders), re.compile(name)
        )  # fmt: skip


def _expression(part: str, keys: list[str]) -> str:
    """One path part as a regular expression; the keys that it captures are appended to `keys`."""
    tokens = re.findall(_TOKEN, part)
    pieces: list[str] = []
    loose = 0
    for number, token in enumerate(tokens):
        before, after = tokens[number - 1] if number else "", tokens[number + 1 : number + 2]
        if token.startswith("{") and token.endswith("}") and len(token) > 1:
            keys.append(_key(token))
            if before.startswith("{"):
                raise ValueError(f"has nothing between {before} and {token}")
            # A key ends where the text behind it is met first; only beside a `*` may that be taken back.
            tight = before != "*" and after != ["*"] and _is_wild(tokens[number + 2 :])
            pieces.append("(?>([^/]+?)" if tight else "([^/]+?)")
            loose += not tight
        elif token == "*":
            pieces.append("[^/]*")
            loose += 1
        elif token.startswith("*"):
            raise ValueError("has `**` beside something else in a path part; alone it stands for any number of folders")
        elif token in "{}":
            raise ValueError(f"has a lone `{token}`")
        else:
            pieces.append(re.escape(token) + (")" if pieces and pieces[-1].startswith("(?>") else ""))
    if loose > _MOST_LOOSE:
        raise ValueError(f"has more than {_MOST_LOOSE} `*`, or keys beside one, in a path part")
    return "".join(pieces)


def _is_wild(tokens: list[str]) -> bool:
    """Does a key or a star come, which takes whatever is left over?"""
    return any(token == "*" or token.startswith("{") for token in tokens)


def _key(token: str) -> str:
    key = token[1:-1]
    if not key.strip():
        raise ValueError(f"{token} names no key")
    return key
