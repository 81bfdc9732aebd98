"""What a run says about the size of its crew: few lines, however much happened. Pure."""

from __future__ import annotations

from collections.abc import Iterable

GIB, MIB = 1 << 30, 1 << 20
LISTED = 3  # of each kind; what comes after is counted


def size(amount: int | float) -> str:
    """Bytes for people: GiB with one decimal from 1 GiB on, whole MiB from 10 MiB on, else MiB with one decimal."""
    if abs(amount) >= GIB:
        return f"{amount / GIB:.1f} GiB"
    return f"{amount / MIB:.0f} MiB" if abs(amount) >= 10 * MIB else f"{amount / MIB:.1f} MiB"


def number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def ordinal(count: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th."""
    ending = "th" if count % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count}{ending}"


class Told:
    """What happened, in the order of its kinds; of each kind the first few in words and the others as a number."""

    __slots__ = ("_counts", "_lines", "_nouns")

    def __init__(self, nouns: Iterable[tuple[str, str]]) -> None:
        """`nouns`: of each kind its name and what one of it is called where only a number is given."""
        self._nouns = dict(nouns)
        self._lines: dict[str, list[str]] = {kind: [] for kind in self._nouns}
        self._counts = dict.fromkeys(self._nouns, 0)

    def add(self, kind: str, line: str) -> None:
        self._counts[kind] += 1
        if len(self._lines[kind]) < LISTED:
            self._lines[kind].append(line)

    def once(self, kind: str, line: str) -> None:
        """Not again if these words were listed before."""
        if line not in self._lines[kind]:
            self.add(kind, line)

    def count(self, kind: str) -> int:
        return self._counts[kind]

    def of(self, kind: str) -> tuple[str, ...]:
        """The first few of this kind."""
        return tuple(self._lines[kind])

    def lines(self) -> tuple[str, ...]:
        found: list[str] = []
        for kind, lines in self._lines.items():
            found += lines
            more = self._counts[kind] - len(lines)
            if more:
                found.append(f"and {number(more, f'more {self._nouns[kind]}')}")
        return tuple(found)
