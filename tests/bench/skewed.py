"""W3 for the benches: files of very unequal size (log-normal, clipped), and a script that digests each."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

SMALLEST, LARGEST = 1_000, 50_000_000  # bytes
SPREAD = 1.6  # sigma of the logarithm
SEED = 20
_PIECE = 1 << 20

SCRIPT = """\
import hashlib
import os

PASSES = {passes}


def init():
    pass


def run(mini_batch):
    return [one(path) for path in mini_batch]


def one(path):
    found = hashlib.sha256()
    for _ in range(PASSES):
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                found.update(piece)
    return "%s,%s" % (os.path.basename(path), found.hexdigest())
"""


@dataclass(frozen=True, slots=True)
class Skewed:
    """Where the files are, a list of them in plan order, a path a line, and how large they are together. `tiny` is a
    folder of one small file: what is left of a run when the work is nothing."""

    script: Path
    folder: Path
    tiny: Path
    listing: Path
    count: int
    total: int


def sizes_of(count: int, total: int) -> list[int]:
    """Sizes in bytes in no order, within a millionth of `total` together, where the clipping allows that."""
    dice = random.Random(SEED)
    shapes = [dice.lognormvariate(0.0, SPREAD) for _ in range(count)]
    low, high = 0.0, float(LARGEST) / min(shapes)
    found: list[int] = []
    for _ in range(60):  # the clipped sum only grows with the scale
        scale = (low + high) / 2
        found = [int(min(LARGEST, max(SMALLEST, shape * scale))) for shape in shapes]
        low, high = (scale, high) if sum(found) < total else (low, scale)
    return found


def make_skewed(data: Path, count: int, *, total: int, passes: int) -> Skewed:
    """The files below `data`, which the script reads `passes` times each; those that are there already are kept."""
    data.mkdir(parents=True, exist_ok=True)
    stem = f"w3-{count}-{total}"
    folder, listing, script = data / stem, data / f"{stem}.txt", data / "code" / "score.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(SCRIPT.replace("{passes}", str(passes)), encoding="utf-8")
    tiny = data / "tiny"
    tiny.mkdir(exist_ok=True)
    (tiny / "one.bin").write_bytes(bytes(SMALLEST))
    sizes = sizes_of(count, total)
    if not listing.exists():
        folder.mkdir(exist_ok=True)
        block = random.Random(SEED).randbytes(_PIECE)
        paths = [folder / f"f{number:06d}.bin" for number in range(count)]
        for path, size in zip(paths, sizes, strict=True):
            with path.open("wb") as sink:
                for at in range(0, size, _PIECE):
                    sink.write(block[: size - at])
        unfinished = listing.with_suffix(".tmp")
        unfinished.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
        unfinished.rename(listing)  # last: a list means that the files are complete
    return Skewed(script, folder, tiny, listing, count, sum(sizes))
