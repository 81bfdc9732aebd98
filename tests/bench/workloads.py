"""The five workloads of `make bench`, and their inputs. What is complete is kept and found again.

w1: empty files, nothing to do; w2: small JSON files to a DataFrame; w3: files of very unequal size; w4: tables of many
rows; w5: a real embedding model. `w1-single` has mini-batches of one, `w4-azure` and `w4-parquet` other formats, and
`start` is w1 with a single file: what is left then is start and end.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.skewed import make_skewed
from tests.bench.workload import MINI_BATCH, PER_FOLDER, make_inputs

SCRIPTS = Path(__file__).with_name("scripts")
_WORDS = """
the of a model file row batch node queue worker crash disk memory graph river mountain letter market winter engine bread
music window garden city ship stone paper light water storm
"""


@dataclass(frozen=True, slots=True)
class Workload:
    """`items` files in full; `writer` is the peers' (see peers/task.py); `columns` are those of a table, by which rows
    are compared, the first one is unique; without columns rows are lines. `environment` names a lock file; `tolerance`
    is what floats may be apart: a model rounds a text otherwise beside others, and not all peers cut batches alike.
    """

    name: str
    title: str
    data: str
    items: int
    mini_batch: int
    output_format: str
    writer: str
    columns: tuple[str, ...] = ()
    environment: str = "bench"
    tolerance: float = 0.0
    options: tuple[str, ...] = ()


_TABLE = ("id", "score", "label")
_W4 = "20 parquet files of 250,000 rows, a linear model"
_ALL = (
    Workload("start", "one empty file: start and end", "w1", 1, 1, "azure", "lists"),
    Workload("w1", "200,000 empty files, 10 a mini-batch", "w1", 200_000, MINI_BATCH, "azure", "lists"),
    Workload("w1-single", "200,000 empty files, one a mini-batch", "w1", 200_000, 1, "azure", "lists"),
    Workload(
        *("w2", "20,000 JSON files of 2 KB, to a table", "w2", 20_000, 10, "csv", "lists"),
        columns=("id", "user", "amount", "when", "size"),
    ),
    Workload("w3", "400 files, 1 KB to 50 MB, digests", "w3", 400, 1, "azure", "lists"),
    Workload("w4", f"{_W4}, csv", "w4", 20, 1, "csv", "arrow", columns=_TABLE),
    Workload("w4-azure", f"{_W4}, azure", "w4", 20, 1, "azure", "azure", columns=_TABLE),
    Workload("w4-parquet", f"{_W4}, parquet", "w4", 20, 1, "parquet", "parquet", columns=_TABLE),
    Workload(
        *("w5", "1,000 short texts, an embedding model", "w5", 1_000, 16, "csv", "pandas"),
        columns=("file", *(f"e{k}" for k in range(384))),
        environment="bench-model",
        tolerance=1e-5,
        options=("--preload", "torch", "--preload", "sentence_transformers"),
    ),
)
WORKLOADS = {workload.name: workload for workload in _ALL}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Smaller or larger than in full: `items` files (None: all), `rows` in each of w4's, `total` bytes of w3's files,
    each of which is read `passes` times."""

    items: int | None = None
    rows: int = 250_000
    total: int = 1_500_000_000
    passes: int = 1


@dataclass(frozen=True, slots=True)
class Prepared:
    """Where a workload's inputs are: `listing` has a path a line, in plan order; `rows` is what must come out."""

    workload: Workload
    script: Path
    folder: Path
    listing: Path
    items: int
    rows: int
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def mini_batches(self) -> int:
        return -(-self.items // self.workload.mini_batch)


def prepare(workload: Workload, data: Path, *, sizes: Sizes, python: Path) -> Prepared:
    """The inputs below `data`; `python` has what w4's need to be made."""
    count = 1 if workload.name == "start" else sizes.items or workload.items
    place = data / workload.data
    if workload.data == "w1":
        empty = make_inputs(place, count)
        return Prepared(workload, empty.script, empty.folder, empty.listing, count, count)
    if workload.data == "w3":
        skewed = make_skewed(place, count, total=sizes.total, passes=sizes.passes)
        return Prepared(workload, skewed.script, skewed.folder, skewed.listing, count, count)
    rows, model = count, place / f"{sizes.rows}.model"
    folder = place / (f"{count}-{sizes.rows}" if workload.data == "w4" else f"{count}")
    listing = folder.with_suffix(".txt")
    if workload.data == "w4":
        rows = count * sizes.rows
    if not listing.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if workload.data == "w2":
            _documents(folder, count)
        elif workload.data == "w5":
            _texts(folder, count)
        else:
            made = [python, Path(__file__).with_name("tabular.py"), folder, model, str(count), str(sizes.rows)]
            subprocess.run(made, check=True)
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        unfinished = listing.with_suffix(".tmp")
        unfinished.write_text("".join(f"{path}\n" for path in found), encoding="utf-8")
        unfinished.rename(listing)  # last: a list means that the files are complete
    code = place / "code" / "score.py"
    code.parent.mkdir(exist_ok=True)
    shutil.copyfile(SCRIPTS / f"{_SCRIPTS[workload.data]}.py", code)
    environment = {"BENCH_MODEL": str(model)} if workload.data == "w4" else {}
    return Prepared(workload, code, folder, listing, count, rows, environment)


_SCRIPTS = {"w2": "small_files", "w4": "tabular", "w5": "embeddings"}


def _documents(folder: Path, count: int) -> None:
    """JSON of 2 KB each."""
    dice = random.Random(2)
    for number in range(count):
        found = {
            "id": number,
            "user": f"user-{dice.randrange(10**6)}",
            "amount": round(dice.uniform(1, 9999), 2),
            "when": 1_700_000_000 + number,
            "tags": [f"t{dice.randrange(100)}" for _ in range(8)],
            "body": "",
        }
        found["body"] = "x" * (2048 - len(json.dumps(found)))
        _below(folder, number, ".json").write_text(json.dumps(found), encoding="utf-8")


def _texts(folder: Path, count: int) -> None:
    """8 to 40 words each."""
    dice, known = random.Random(5), _WORDS.split()
    for number in range(count):
        words = (dice.choice(known) for _ in range(dice.randint(8, 40)))
        _below(folder, number, ".txt").write_text(" ".join(words), encoding="utf-8")


def _below(folder: Path, number: int, suffix: str) -> Path:
    below = folder / f"d{number // PER_FOLDER:03d}"
    if number % PER_FOLDER == 0:
        below.mkdir()
    return below / f"{number:06d}{suffix}"
