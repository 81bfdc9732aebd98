"""Small jobs whose coordinator makes some hundred system calls that matter, and the states that a life begins from.

Twelve items in six mini-batches: one item fails the first time only, one always (until it is mended, for `retry`), one
gives rows above the spill limit. Rows and files depend on the items alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash.jobs.job import item_name, lay_job, python_line

ITEMS = 12
ONCE, LARGE, BAD = 3, 6, 9

# The worker finds its folder by its staging folder: OUT is ROOT/here/results/out. `gate` is a FIFO where a tracer is
# about to be attached to the flusher: no result is there before it is.
_SCRIPT = """\
import os
import time

STAGE = os.environ["AZUREML_BI_OUTPUT_PATH"]
SCRATCH = os.path.join(STAGE.partition("/here/")[0], "scratch")
FILES = {files!r}


def init():
    gate = os.path.join(SCRATCH, "gate")
    if os.path.exists(gate):
        with open(gate, "rb", buffering=0) as handle:
            handle.read(1)


def run(mini_batch):
    time.sleep(0.02)
    names = [os.path.basename(path) for path in mini_batch]
    for name in names:
        if FILES:
            keep(name)
    for name in names:
        if name == {bad!r} and not os.path.exists(os.path.join(SCRATCH, "mended")):
            raise ValueError("cannot score %s" % name)
        if name == {once!r} and first_time(name):
            raise RuntimeError("not the first time: %s" % name)
    return [{{"item": name, "text": name * (200000 if name == {large!r} else 3)}} for name in names]


def keep(name):
    folder = os.path.join(STAGE, "kept", *(["deep"] if name.endswith("4") else []))
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w") as handle:
        handle.write(name * 50)
    if FILES == "append":
        with open(os.path.join(STAGE, "all.txt"), "a") as handle:
            handle.write(name + "\\n")


def first_time(name):
    try:
        os.close(os.open(os.path.join(SCRATCH, "once." + name), os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True
"""

_SPEC = """\
name = "small"
script = "score.py"
code = "code"
{python}mini_batch_size = 2
max_retries = 2
error_threshold = -1
timeout = "30s"
{more}
"""


@dataclass(frozen=True, slots=True)
class Start:
    """The state that a life begins from. `command`: run or retry. `cut`: (thread, call, pattern of a path in OUT) of
    the last such call of an undisturbed run from nothing: there the life before was killed. None: nothing came before,
    or, with `finished`, a whole run. `tear`: bytes then cut off the log, of those that were not synced yet."""

    name: str
    command: str = "run"
    cut: tuple[str, str, str] | None = None
    finished: bool = False
    tear: int = 0

    @property
    def fresh(self) -> bool:
        return self.cut is None and not self.finished


LOG = ".batchctl/checkpoint.log"
FRESH = Start("fresh")
HALF_CREATED = Start("half created", cut=("main", "rename", ".batchctl/job.json.tmp"))
UNSYNCED = Start("log unsynced", cut=("flusher", "fdatasync", LOG))
TORN = Start("log torn", cut=("flusher", "fdatasync", LOG), tear=9)
ANNOUNCED = Start("files announced", cut=("flusher", "renameat2", "*"))
SEALED = Start("sealed", cut=("main", "renameat2", "predictions.*"))
AGAIN = Start("finished", finished=True)
RETRY = Start("retry", command="retry", finished=True)


@dataclass(frozen=True, slots=True)
class SmallJob:
    """`spec`: further lines of it. `files`: what the script writes itself: "", "own" or "append"."""

    name: str
    spec: str
    starts: Sequence[Start]
    files: str = ""

    def make(self, folder: Path, *, python: str) -> None:
        """Spec, script and inputs. `python`: for the script, "" for the command's own."""
        names = {"once": item_name(ONCE), "large": item_name(LARGE), "bad": item_name(BAD)}
        lay_job(
            folder,
            spec=_SPEC.format(python=python_line(python), more=self.spec),
            script=_SCRIPT.format(files=self.files, **names),
            inputs={item_name(item): f"{item}\n" for item in range(ITEMS)},
        )


_ROWS = 'output_format = "csv"'
JOBS: Mapping[str, SmallJob] = {
    job.name: job
    for job in (
        SmallJob("rows", _ROWS, (FRESH, HALF_CREATED, UNSYNCED, TORN, SEALED, AGAIN, RETRY)),
        SmallJob("files", _ROWS, (FRESH, ANNOUNCED, TORN, SEALED, RETRY), files="own"),
        SmallJob("append", f'{_ROWS}\non_collision = "append"', (FRESH, ANNOUNCED, SEALED, AGAIN), files="append"),
        SmallJob("table", 'output_format = "parquet"', (FRESH, TORN, SEALED, AGAIN, RETRY)),
    )
}


class Place:
    """Where one run after the other is lived: `here/results/out` is OUT, `scratch` is the script's."""

    def __init__(self, folder: Path, job_folder: Path, batchctl: str) -> None:
        self.folder = folder
        self.here = folder / "here"
        self.scratch = folder / "scratch"
        self.out = self.here / "results" / "out"
        self._job = job_folder
        self._batchctl = batchctl

    def clear(self) -> None:
        for path in (self.here, self.scratch):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)

    def save(self, to: Path) -> None:
        """Keep the state as it is."""
        for path in (self.here, self.scratch):
            shutil.copytree(path, to / path.name, symlinks=True, ignore=_no_fifo)

    def load(self, kept: Path) -> None:
        for path in (self.here, self.scratch):
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(kept / path.name, path, symlinks=True)

    def command(self, name: str) -> list[str]:
        """What a user types."""
        if name == "retry":
            return [self._batchctl, "retry", str(self.out)]
        spec, inputs = str(self._job / "batchctl.toml"), str(self._job / "input")
        return [self._batchctl, "run", spec, inputs, "-o", str(self.out), "--workers", "1"]


def _no_fifo(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_fifo()]
