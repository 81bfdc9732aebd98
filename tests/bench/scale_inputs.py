"""Trees of empty files for the scale bench: many, deep, long-named, or all in one folder.

Up to a million are files of their own. More are hard links, 50,000 to an inode, because ten million inodes are more
than a file system that others use has to spare; a listing sees no difference, a stat of each is quicker than it would
be with inodes of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.workload import STAMP

OWN_INODES = 1_000_000
_LINKS = 50_000  # ext4 allows 65,000 to an inode
_PER_FOLDER = 1000

# The first call of run() in each worker leaves a time stamp. A row is the base name, or BENCH_ROW bytes. While there is
# a FIFO BENCH_HOLD, the 21st call in each worker waits: a short run cannot end before somebody has looked at it.
SCRIPT = (
    """\
import os
import time

stamps = os.environ.get("BENCH_STAMPS")
hold = os.environ.get("BENCH_HOLD")
filler = "x" * (int(os.environ.get("BENCH_ROW", "0")) - 1)
calls = 0


def init():
    pass


def run(mini_batch):
    global calls
    calls += 1
    if stamps:
        stamp()
    if hold and calls == 21 and os.path.exists(hold):
        open(hold).close()  # waits for the other end, which nobody opens
    if filler:
        return [filler] * len(mini_batch)
    return [os.path.basename(path) for path in mini_batch]
"""
    + STAMP
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a tree looks like, and in which mini-batches it is scored. `row`: bytes of a row; 0: the base name."""

    name: str
    count: int
    mini_batch: int = 10
    per_folder: int = _PER_FOLDER
    name_length: int = 12
    nested: bool = False  # each folder lies in the one before
    row: int = 0

    @property
    def tree(self) -> str:
        """Shapes that differ by their mini-batches only share it."""
        kind = "deep" if self.nested else "wide"
        return f"{kind}-{self.count}-{self.per_folder}-{self.name_length}"

    @property
    def batches(self) -> int:
        return -(-self.count // self.mini_batch)

    @property
    def output_bytes(self) -> int:
        return self.count * (self.row or self.name_length + 1)


def make_tree(data: Path, shape: Shape) -> Path:
    """The folder that holds the items; nothing is done where it is complete already."""
    folder = data / shape.tree
    complete = data / f"{shape.tree}.complete"
    if complete.exists():
        return folder
    folder.mkdir(parents=True)
    seed: str | None = None
    for number, below in enumerate(_folders(folder, shape)):
        low = number * shape.per_folder
        if shape.count > OWN_INODES and number * shape.per_folder % _LINKS == 0:
            seed = str(data / f"{shape.tree}.seed{number}")
            Path(seed).touch()
        _fill(below, range(low, min(low + shape.per_folder, shape.count)), shape=shape, seed=seed)
    complete.touch()
    return folder


def _folders(root: Path, shape: Shape) -> Iterator[str]:
    below = str(root)
    for number in range(-(-shape.count // shape.per_folder)):
        below = f"{below}/d" if shape.nested else f"{root}/d{number:05d}"
        os.mkdir(below)
        yield below


def _fill(folder: str, numbers: range, *, shape: Shape, seed: str | None) -> None:
    parent = os.open(folder, os.O_RDONLY)
    for number in numbers:
        name = f"f{number:0{shape.name_length - 5}d}.txt"
        if seed is None:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=parent))
        else:
            os.link(seed, name, dst_dir_fd=parent)
    os.close(parent)
