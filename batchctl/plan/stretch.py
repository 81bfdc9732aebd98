"""What the listing of inputs hands on: stretches of items of one folder, and what it noticed on the way."""

from __future__ import annotations

import os
from collections.abc import Sequence

from batchctl.named_tuple import NamedTuple
from batchctl.plan.display import display_name

SHOWN = 5  # how many names a message lists before it says "and N more"


class Stretch(NamedTuple):
    """Neighbouring items of one folder, in plan order. `source` numbers the INPUT argument, from 0.

    A NamedTuple of plain lists: there is one per few thousand files, never an object per file.
    """

    source: int
    folder: bytes  # absolute, no trailing slash except the root itself
    names: Sequence[bytes]
    sizes: Sequence[int]  # bytes; empty where they were not looked at
    mtimes: Sequence[int]  # ns; likewise


def _listed(paths: Sequence[bytes], count: int) -> str:
    shown = ", ".join(display_name(os.fsdecode(path)) for path in paths[:SHOWN])
    return f"{shown} and {count - SHOWN} more" if count > SHOWN else shown


class Noticed:
    """Paths of one kind that did not become items: how many, and the first few by name."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[bytes] = []

    def add(self, path: bytes) -> None:
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(path)

    def __str__(self) -> str:
        return _listed(self.first, self.count)


class Findings:
    """What a listing noticed, filled while it runs: everything that is not an item has its reason here."""

    def __init__(self) -> None:
        self.special = Noticed()  # FIFOs, sockets, devices
        self.dangling = Noticed()  # symbolic links that lead to nothing
        self.loops = Noticed()  # folders that contain themselves
        self.vanished = Noticed()  # listed, then gone before they were looked at
        self.left_out = Noticed()  # OUT, inside an INPUT
        self.empty = Noticed()  # INPUTs that gave nothing
        self.filtered = 0  # files turned away by include and exclude
        self.duplicates = 0  # mentioned again by a later INPUT or line
        self.unsized = False  # there are too many to look at the size of each

    def warnings(self) -> tuple[str, ...]:
        """Lines for people: something that looks like data did not become an item."""
        said = (
            (self.loops, "folder loop not followed"),
            (self.dangling, "symbolic link leads to nothing, skipped"),
            (self.vanished, "vanished while listing, skipped"),
            (self.empty, "INPUT holds no items"),
        )
        return tuple(f"{what}: {noticed}" for noticed, what in said if noticed.count)

    def notes(self) -> tuple[str, ...]:
        """Lines for people: what was left out on purpose."""
        lines = []
        if self.left_out.count:
            lines.append(f"the output folder lies inside the input and is left out: {self.left_out}")
        if self.special.count:
            lines.append(f"not regular files (FIFOs, sockets, devices), skipped: {self.special}")
        if self.filtered:
            lines.append(f"{self.filtered} file(s) turned away by include/exclude")
        if self.duplicates:
            lines.append(f"{self.duplicates} file(s) mentioned more than once, planned once")
        return tuple(lines)
