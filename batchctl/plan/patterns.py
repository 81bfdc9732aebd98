"""Globs: as include and exclude filters, and as INPUT arguments.

`*`, `?` and `[...]` never match a slash and do match a leading dot; `**` as a whole component matches any number of
folders, at the end everything below. Matched as text (undecodable bytes by surrogateescape), so `?` is a character.
"""

from __future__ import annotations

import os
import re
from typing import Self

from batchctl.errors import UsageError
from batchctl.named_tuple import NamedTuple

_MAGIC = frozenset("*?[")
_FOLDERS = "(?:[^/]+/)*"


def is_glob(text: str) -> bool:
    return not _MAGIC.isdisjoint(text)


def _character_class(component: str, at: int) -> tuple[str, int]:
    """The class that opens at `at` as a regular expression and the index behind it; a bracket left open is itself."""
    start = at + 1
    negated = component[start : start + 1] in ("!", "^")
    start += negated
    end = component.find("]", start + 1)  # a "]" in first place is a member
    if end < 0:
        return r"\[", at + 1
    members = _members(component[start:end])
    return f"(?!/)[{'^' if negated else ''}{members}]", end + 1


def _members(text: str) -> str:
    """What stands in a class; a hyphen that is beside another or at an edge is itself (`re` warns of `--`)."""
    last = len(text) - 1
    return "".join(
        c if c == "-" and 0 < at < last and "-" not in (text[at - 1], text[at + 1]) else re.escape(c)
        for at, c in enumerate(text)
    )


def _component(component: str) -> str:
    """One part of a path. What follows a star is taken where it is met first (an atomic group): if the rest fits
    anywhere, it fits behind that, and a name that does not fit costs no power of its length."""
    fixed = [""]
    at = 0
    while at < len(component):
        char = component[at]
        if char == "[":
            piece, at = _character_class(component, at)
            fixed[-1] += piece
            continue
        if char != "*":
            fixed[-1] += "[^/]" if char == "?" else re.escape(char)
        elif fixed[-1] or len(fixed) == 1:  # several stars in a row are one
            fixed.append("")
        at += 1
    first, *between, last = fixed if len(fixed) > 1 else (fixed[0], None)
    if last is None:
        return first
    return first + "".join(f"(?>[^/]*?{piece})" for piece in between) + f"[^/]*{last}"


def _compiled(expression: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(expression, re.DOTALL)
    except re.error as error:
        raise UsageError(f"glob {pattern!r}: {error.msg}", where=pattern, remedy="write a literal [ as [[]") from error


def _path_expression(components: list[str]) -> str:
    """What stands between two `**` is taken where it is met first, as in `_component`."""
    last = len(components) - 1
    stretches = [""]
    for number, component in enumerate(components):
        if component != "**":
            stretches[-1] += _component(component) + ("" if number == last else "/")
        elif number < last:
            stretches.append("")
    first, *others = stretches
    if components[-1:] == ["**"]:
        return first + "".join(f"(?>{_FOLDERS}?{stretch})" for stretch in others) + ".+"
    if not others:
        return first
    return first + "".join(f"(?>{_FOLDERS}?{stretch})" for stretch in others[:-1]) + _FOLDERS + others[-1]


def _components(pattern: str) -> list[str]:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    return [*parts, "**"] if pattern.endswith("/") else parts


def _either(expressions: list[str], patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    return _compiled("|".join(f"(?:{e})" for e in expressions), " ".join(patterns)) if expressions else None


class _Patterns(NamedTuple):
    """Alternatives: those without a slash look at the base name, the others at the relative path."""

    base: re.Pattern[str] | None
    path: re.Pattern[str] | None
    below: re.Pattern[str] | None  # folders all of whose content matches: patterns that end in /**

    @classmethod
    def of(cls, patterns: tuple[str, ...]) -> Self:
        for pattern in patterns:
            _compiled(_path_expression(_components(pattern)), pattern)  # so that the message names the one at fault
        split = [_components(p) for p in patterns if "/" in p]
        below = [_path_expression(c[:-1]) for c in split if len(c) > 1 and c[-1] == "**"]
        return cls(
            base=_either([_component(p) for p in patterns if "/" not in p and p != "**"], patterns),
            path=_either([_path_expression(c) for c in split] + [".+"] * ("**" in patterns), patterns),
            below=_either(below, patterns),
        )

    def match(self, folder: str, name: str) -> bool:
        if self.base is not None and self.base.fullmatch(name):
            return True
        return self.path is not None and self.path.fullmatch(folder + name) is not None


class Chooser:
    """Chooses everything; the base of what chooses less. Relative folders end with a slash; the INPUT itself is ""."""

    counted = False  # whether what it turns away is reported

    def enters(self, folder: str) -> bool:
        """Whether the relative folder can hold anything that is chosen."""
        return True

    def choose(self, folder: str, names: list[bytes]) -> list[bytes]:
        """Those of the folder's files that are chosen, in the given order."""
        return names


class Filters(Chooser):
    """The include and exclude globs of a job. No include means everything; exclude wins."""

    counted = True

    def __init__(self, include: tuple[str, ...], exclude: tuple[str, ...]) -> None:
        self.include, self.exclude = include, exclude
        self._include = _Patterns.of(include) if include else None
        self._exclude = _Patterns.of(exclude) if exclude else None

    def __str__(self) -> str:
        return ", ".join([f"include {p!r}" for p in self.include] + [f"exclude {p!r}" for p in self.exclude])

    def enters(self, folder: str) -> bool:
        below = self._exclude.below if self._exclude else None
        return below is None or not folder or below.fullmatch(folder[:-1]) is None

    def choose(self, folder: str, names: list[bytes]) -> list[bytes]:
        if self._include is None and self._exclude is None:
            return names
        include, exclude = self._include, self._exclude
        chosen = []
        for raw in names:
            name = os.fsdecode(raw)
            if (include is None or include.match(folder, name)) and not (exclude and exclude.match(folder, name)):
                chosen.append(raw)
        return chosen


class Glob(Chooser):
    """An INPUT that is a glob: files that match it, and everything below folders that match it (as a shell would)."""

    def __init__(self, pattern: str) -> None:
        parts = pattern.split("/")
        fixed = next(i for i, part in enumerate(parts) if is_glob(part))
        self.pattern = pattern
        self.root = "/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else ".")
        components = [part for part in parts[fixed:] if part not in ("", ".")]
        # With a slash at its end it matches folders only; what `**` matches is everything below one anyway.
        below = "(?:/.+)" if pattern.endswith("/") and components[-1] != "**" else "(?:/.*)?"
        self._whole = _compiled(f"(?:{_path_expression(components)}){below}", pattern)
        upto = components.index("**") if "**" in components else len(components)
        self._steps = [_compiled(_component(c), pattern) for c in components[:upto]]

    def enters(self, folder: str) -> bool:
        return all(s.fullmatch(part) for s, part in zip(self._steps, folder.split("/")[:-1], strict=False))

    def choose(self, folder: str, names: list[bytes]) -> list[bytes]:
        return [raw for raw in names if self._whole.fullmatch(folder + os.fsdecode(raw))]
