"""What a peer has to do, as the environment variable BENCH_TASK says it, and how a mini-batch becomes bytes."""

from __future__ import annotations

import csv
import functools
import importlib.util
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

VARIABLE = "BENCH_TASK"


@dataclass(frozen=True, slots=True)
class Task:
    """`chunk`: mini-batches in one task of the peer; `limit`: only so many files (0: all).

    `writer`: how a frame becomes bytes: lists (csv of column lists: short frames), pandas (wide ones), arrow (long
    ones), azure (as Azure's append_row), parquet (a part file for each mini-batch, nothing comes back). `out` is a
    folder.
    """

    script: str
    listing: str
    out: str
    mini_batch: int
    writer: str
    chunk: int = 1
    limit: int = 0
    workers: int = 2

    @property
    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}


@functools.cache
def task() -> Task:
    return Task(**json.loads(os.environ[VARIABLE]))


def paths() -> list[str]:
    with open(task().listing, encoding="utf-8") as handle:
        found = handle.read().splitlines()
    return found[: task().limit] if task().limit else found


def mini_batches() -> list[list[str]]:
    found, size = paths(), task().mini_batch
    return [found[low : low + size] for low in range(0, len(found), size)]


def chunks() -> list[list[list[str]]]:
    """Mini-batches in groups of `chunk`, for peers that have no such option."""
    found, size = mini_batches(), task().chunk
    return [found[low : low + size] for low in range(0, len(found), size)]


@functools.cache
def script() -> Callable[[list[str]], Any]:
    """The script's run(), after its init(): once a process."""
    spec = importlib.util.spec_from_file_location("score", task().script)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.init()
    return module.run


def ready() -> None:
    """For a worker's start: nothing comes back."""
    script()


def score(mini_batch: list[str]) -> bytes:
    return to_bytes(script()(mini_batch), mini_batch)


def score_many(group: Sequence[list[str]]) -> bytes:
    return b"".join(map(score, group))


def to_bytes(rows: Any, mini_batch: Sequence[str]) -> bytes:
    if isinstance(rows, list):
        return ("\n".join(map(str, rows)) + "\n").encode() if rows else b""
    return WRITERS[task().writer](rows, mini_batch)


def sink() -> BinaryIO:
    return open(os.path.join(task().out, "predictions.csv"), "wb")


def _lists(frame: Any, _: Sequence[str]) -> bytes:
    text = io.StringIO()
    columns = (frame[name].tolist() for name in frame.columns)
    csv.writer(text, lineterminator="\n").writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def _pandas(frame: Any, _: Sequence[str]) -> bytes:
    found: str = frame.to_csv(index=False, header=False)
    return found.encode()


def _azure(frame: Any, _: Sequence[str]) -> bytes:
    found: str = frame.to_csv(sep=" ", index=False, header=False)
    return found.encode()


def _arrow(frame: Any, _: Sequence[str]) -> bytes:
    import pyarrow
    import pyarrow.csv

    table = pyarrow.Table.from_pandas(frame, preserve_index=False, nthreads=1)
    text = pyarrow.BufferOutputStream()
    pyarrow.csv.write_csv(table, text, pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed"))
    return text.getvalue().to_pybytes()


def _parquet(frame: Any, mini_batch: Sequence[str]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pandas(frame, preserve_index=False, nthreads=1)
    pyarrow.parquet.write_table(table, os.path.join(task().out, os.path.basename(mini_batch[0])))
    return b""


WRITERS: dict[str, Callable[[Any, Sequence[str]], bytes]] = {
    "lists": _lists,
    "pandas": _pandas,
    "azure": _azure,
    "arrow": _arrow,
    "parquet": _parquet,
}
