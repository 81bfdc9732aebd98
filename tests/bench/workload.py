"""W1 for the benches: empty files, a thousand to a folder, and a script that answers with base names.

What is left when the work is nothing is dispatch and append. `make_inputs` is quick to repeat: a tree that is complete
is kept.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

PER_FOLDER = 1000
MINI_BATCH = 10
WORKERS = 2

# Ends a script whose first run() in each worker leaves a time stamp there.
STAMP = """

def stamp():
    global stamps
    with open(os.path.join(stamps, "%d" % os.getpid()), "w") as handle:
        handle.write("%d" % time.monotonic_ns())
    stamps = None
"""
# The first call of run() in each worker leaves a time stamp where BENCH_STAMPS asks for it; W1 itself does not set it.
SCRIPT = (
    """\
import os
import time

stamps = os.environ.get("BENCH_STAMPS")


def init():
    pass


def run(mini_batch):
    if stamps:
        stamp()
    return [os.path.basename(path) for path in mini_batch]
"""
    + STAMP
)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where the files are, and a list of them, one path a line, in plan order."""

    script: Path
    folder: Path
    listing: Path
    count: int


def make_inputs(data: Path, count: int) -> Inputs:
    """`count` empty files below `data`; nothing is done where they are there already."""
    data.mkdir(parents=True, exist_ok=True)
    # The script's folder is part of what a run is identified by, so it holds nothing else.
    folder, listing, script = data / f"w1-{count}", data / f"w1-{count}.txt", data / "code" / "score.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(SCRIPT, encoding="utf-8")
    if not listing.exists():
        unfinished = data / f"w1-{count}.txt.tmp"
        with unfinished.open("w", encoding="utf-8") as sink:
            for low in range(0, count, PER_FOLDER):
                below = folder / f"d{low // PER_FOLDER:05d}"
                below.mkdir(parents=True, exist_ok=True)
                _fill(below, range(low, min(low + PER_FOLDER, count)), sink=sink)
        unfinished.rename(listing)  # last: a list means that the tree is complete
    return Inputs(script, folder, listing, count)


def _fill(folder: Path, numbers: range, *, sink: TextIO) -> None:
    parent = os.open(folder, os.O_RDONLY)
    for number in numbers:
        name = f"f{number:07d}.txt"
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=parent))
        sink.write(f"{folder}/{name}\n")
    os.close(parent)
