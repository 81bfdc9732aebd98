"""learned.json: what the workers of a script and model were seen to need, as a first guess for the next run.

It lies beside the run and outlives it (`--fresh` keeps it); `--hint OUT` reads another run's. It tells and proves
nothing: whole or absent, never half, but not durable; a file that cannot be used is ignored, and why is handed back as
a note. An entry is raised at once, and falls half of the way after a run that was done and needed less: one large file
must not cost all later runs their workers, and an epoch that was cut short may have seen small files only.
"""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path

from batchctl.errors import StorageError
from batchctl.model.documents import as_document
from batchctl.model.node import Footprint
from batchctl.named_tuple import NamedTuple
from batchctl.plan.fingerprint import Fingerprint
from batchctl.plan.manifest import combined_digest
from batchctl.report.atomic import read_small, replace_file
from batchctl.report.decode import record_from

LEARNED_FORMAT = 1
KEPT = 20  # entries, the newest
_MOST = 1 << 60  # no machine has as many bytes, items or workers


class LearnedKey(NamedTuple):
    """What a footprint depends on. `gpu_name` is "" where no GPU is used."""

    script: str
    model: str
    gpu_name: str = ""


class Learned(NamedTuple):
    """One entry. Bytes; `gpu` None: unknown, or no GPU; `items_fitted`: the size of mini-batch that fitted into GPU
    memory where a larger one did not, else None; `workers` at the end; `seen`: seconds since 1970."""

    script: str
    model: str
    gpu_name: str
    memory: int
    gpu: int | None
    items_fitted: int | None
    workers: int
    seen: float

    @property
    def key(self) -> LearnedKey:
        return LearnedKey(self.script, self.model, self.gpu_name)

    @property
    def footprint(self) -> Footprint:
        return Footprint(self.memory, self.gpu, "remembered")

    @classmethod
    def of(
        cls, key: LearnedKey, footprint: Footprint, *, items_fitted: int | None, workers: int, seen: float
    ) -> Learned:
        return cls(*key, footprint.memory, footprint.gpu, items_fitted, workers, seen)


def learned_key(fingerprint: Fingerprint, *, gpu_name: str = "") -> LearnedKey:
    return LearnedKey(combined_digest(fingerprint.script), combined_digest(fingerprint.model), gpu_name)


class Found(NamedTuple):
    """What is remembered of a key (None: nothing), and in words why the file was of no use ("": it was, or is none)."""

    learned: Learned | None
    note: str


def read_learned(path: Path, key: LearnedKey) -> Found:
    """Never raises for what lies there."""
    entries, note = _read(path)
    return Found(next((entry for entry in entries if entry.key == key), None), note)


def write_learned(path: Path, learned: Learned, *, done: bool = False) -> str:
    """Add or amend an entry; the run directory exists. `done`: the run has come to its end. Returns "" or, in words,
    why nothing was written: what is only a first guess ends no run."""
    entries, note = _read(path)
    if note.endswith(_NEWER):
        return note
    before = next((entry for entry in entries if entry.key == learned.key), None)
    kept = [entry for entry in entries if entry.key != learned.key][-(KEPT - 1) :]
    kept.append(_amended(before, learned, done=done) if before else learned)
    text = json.dumps({"format": LEARNED_FORMAT, "learned": [as_document(entry) for entry in kept]}, indent=1)
    try:
        replace_file(path, text.encode("ascii") + b"\n")
    except StorageError as error:
        return f"{path.name} was not written: {error.message}"
    return ""


def _amended(before: Learned, now: Learned, *, done: bool) -> Learned:
    fitted = [size for size in (before.items_fitted, now.items_fitted) if size is not None]
    return now._replace(
        memory=_towards(before.memory, now.memory, done=done),
        gpu=_towards(before.gpu or 0, now.gpu or 0, done=done and now.gpu is not None) or None,
        items_fitted=min(fitted, default=None),
    )


def _towards(before: int, now: int, *, done: bool) -> int:
    return (before + now) // 2 if done and now < before else max(before, now)


_NEWER = "a newer batchctl wrote it"


def _read(path: Path) -> tuple[list[Learned], str]:
    data = read_small(path)
    if data is None:
        return [], ""
    try:
        whole = json.loads(data)
        version = whole["format"]
        if isinstance(version, int) and version > LEARNED_FORMAT:
            return [], f"{path} was ignored: {_NEWER}"
        if version != LEARNED_FORMAT or not isinstance(whole["learned"], list):
            raise ValueError("it is not of this format")
        return [_entry(value) for value in whole["learned"][-KEPT:]], ""
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return [], f"{path} was ignored: it is damaged ({type(error).__name__}: {error})"


def _entry(value: object) -> Learned:
    entry = record_from(Learned, value)
    numbers = (entry.memory, entry.gpu or 1, entry.items_fitted or 1, entry.workers or 1)
    if not all(0 < number < _MOST for number in numbers) or not isfinite(entry.seen):
        raise ValueError("a figure is out of range")
    return entry
