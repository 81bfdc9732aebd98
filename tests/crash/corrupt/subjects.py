"""What is damaged: runs that the real command made, each as the bytes of all its files at one moment.

Three small jobs between them write every type of frame: rows with files of the script's own (published one by one, or
joined of pieces), and none but files. Each is killed in the middle (kill -9 of the coordinator, at a moment that its
log has reached; one is stopped), resumed to its end, and the first is retried, killed in that too, and ended again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from batchctl.files import RealDisk
from batchctl.model.records import Committed, EpochOpened
from batchctl.plan.read import Plan
from batchctl.run.existing import read_existing
from batchctl.store.frames import Frame, FrameType, scan
from batchctl.store.layout import RUN_DIRECTORY, RunLayout
from batchctl.store.replay import read_records

LOG = f"{RUN_DIRECTORY}/checkpoint.log"
ITEMS = 16
_PATIENCE_S = 60.0

_SCRIPT = """\
import os
import time

SCRATCH = {scratch!r}
OWN = {own!r}


def init():
    global out
    out = os.environ["AZUREML_BI_OUTPUT_PATH"]


def run(mini_batch):
    names = [os.path.basename(path) for path in mini_batch]
    while any(os.path.exists(os.path.join(SCRATCH, "hold", name)) for name in names):
        time.sleep(0.002)
    for name in names:
        if name in ("i04", "i13") and not os.path.exists(os.path.join(SCRATCH, "mended")):
            raise ValueError("cannot score " + name)
    rows = []
    for path, name in zip(mini_batch, names):
        with open(path) as handle:
            seed = handle.read()
        number = int(name[1:])
        if OWN == "apart" and number in (2, 6, 11):
            os.makedirs(os.path.join(out, "kept"), exist_ok=True)
            with open(os.path.join(out, "kept", name + ".txt"), "w") as handle:
                handle.write((name + " " + seed + "\\n") * 20)
        if OWN == "joined" and number % 3 != 1:
            with open(os.path.join(out, "all.txt" if number % 2 else "even.txt"), "a") as handle:
                handle.write(name + " " + seed + "\\n")
        rows.append({{"item": name, "seed": seed, "score": number / 7}})
    return rows[:-1] if "i15" in names else rows
"""

_SPEC = """\
name = "damage"
script = "score.py"
code = "code"
mini_batch_size = 2
max_retries = 1
error_threshold = -1
output_format = "csv"
output_action = "{action}"
on_collision = "{collision}"
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """A run at one moment. `files`: relative path -> bytes. `goal`: the name of the subject that it ends as when it is
    resumed (its own, for one that has ended). `earlier`: logs that this one had before, by the subject's name."""

    name: str
    folder: Path  # as it lies on the disk, to be copied
    job: Path
    files: dict[str, bytes]
    run_id: str
    bounds: tuple[int, ...]
    frames: tuple[Frame, ...]
    finished: bool
    rows: bool
    goal: str
    earlier: tuple[str, ...] = ()

    @property
    def log(self) -> bytes:
        return self.files[LOG]

    @property
    def final(self) -> str:
        return "predictions.csv"

    @property
    def published(self) -> list[str]:
        """The script's own files in OUT."""
        own = (self.final, f"{self.final}.partial", f"{self.final}.sorting")
        return [name for name in self.files if not name.startswith(RUN_DIRECTORY) and name not in own]


class Maker:
    """Plays the jobs and keeps what they leave."""

    def __init__(self, batchctl: str, work: Path) -> None:
        self._batchctl = batchctl
        self._work = work
        self.made: dict[str, Subject] = {}

    def rows(self, seed: str, *, whole: bool) -> None:
        """Rows and published files; killed, resumed, retried, killed, ended. Not `whole`: only run to its end."""
        job = self._job(f"rows-{seed}", seed=seed, own="apart", action="append_row", collision="fail")
        out, name = job / "out", job.name
        if not whole:
            self._command(job, "run")
            self._keep(f"{name}.other", job, goal=f"{name}.other", rows=True)
            return
        self._kill(job, "run", held="i12", until=lambda found: _commits(found) >= 4)
        self._keep(f"{name}.killed", job, goal=f"{name}.ended", rows=True)
        self._command(job, "run")
        self._keep(f"{name}.ended", job, goal=f"{name}.ended", rows=True, earlier=(f"{name}.killed",))
        (job / "scratch" / "mended").touch()
        self._kill(job, "retry", held="i13", until=lambda found: _commits(found) >= 1 + self._commits_of(out, name))
        earlier = (f"{name}.killed", f"{name}.ended")
        self._keep(f"{name}.retrying", job, goal=f"{name}.retried", rows=True, earlier=earlier)
        self._command(job, "run")
        earlier = (*earlier, f"{name}.retrying")
        self._keep(f"{name}.retried", job, goal=f"{name}.retried", rows=True, earlier=earlier)

    def joined(self) -> None:
        """Files of which every mini-batch writes a piece."""
        self._twice("joined", own="joined", action="append_row", collision="append")

    def counted(self) -> None:
        """No rows at all: the log alone says that it is finished."""
        self._twice("counted", own="apart", action="summary_only", collision="fail")

    def _twice(self, name: str, *, own: str, action: str, collision: str) -> None:
        job = self._job(name, seed="1", own=own, action=action, collision=collision)
        rows = action == "append_row"
        # The second is stopped, not killed, so that one log has a CLOSE.
        number = signal.SIGKILL if rows else signal.SIGTERM
        self._kill(job, "run", held="i12", until=lambda found: _commits(found) >= 4, number=number)
        self._keep(f"{name}.killed", job, goal=f"{name}.ended", rows=rows)
        self._command(job, "run")
        self._keep(f"{name}.ended", job, goal=f"{name}.ended", rows=rows, earlier=(f"{name}.killed",))

    def _commits_of(self, out: Path, name: str) -> int:
        frames = self.made[f"{name}.ended"]
        payloads = (one for one in frames.frames if one.kind == FrameType.COMMIT)
        return sum((one.end - one.start - 48) // 48 for one in payloads)

    def _job(self, name: str, *, seed: str, own: str, action: str, collision: str) -> Path:
        job = self._work / name
        (job / "scratch" / "hold").mkdir(parents=True)
        (job / "code").mkdir()
        (job / "input").mkdir()
        script = _SCRIPT.format(scratch=str(job / "scratch"), own=own)
        (job / "code" / "score.py").write_text(script, encoding="utf-8")
        (job / "batchctl.toml").write_text(_SPEC.format(action=action, collision=collision), encoding="utf-8")
        for number in range(ITEMS):
            (job / "input" / f"i{number:02d}").write_text(seed, encoding="utf-8")
        return job

    def _command(self, job: Path, what: str) -> None:
        done = subprocess.run(
            command_for(self._batchctl, job, job / "out", what=what), check=False, capture_output=True, timeout=120
        )
        if done.returncode != 0:
            raise RuntimeError(f"{what} of {job.name} exited {done.returncode}: {done.stderr.decode()}")

    def _kill(
        self,
        job: Path,
        what: str,
        *,
        held: str,
        until: Callable[[list[object]], bool],
        number: int = signal.SIGKILL,
    ) -> None:
        """Start it, let it come as far as the held item and what `until` says of the log, and end the coordinator."""
        hold = job / "scratch" / "hold" / held
        hold.touch()
        process = subprocess.Popen(
            command_for(self._batchctl, job, job / "out", what=what),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _PATIENCE_S
        try:
            while not until(_records(job / "out")):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{what} of {job.name} never came as far as it should have")
                time.sleep(0.005)
        finally:
            process.send_signal(number)
            hold.unlink()  # a kill has taken the worker along; who is only told to stop ends what he is at
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise

    def _keep(self, name: str, job: Path, *, goal: str, rows: bool, earlier: tuple[str, ...] = ()) -> None:
        files = snapshot(job / "out")
        folder = self._work / "kept" / name
        restore(files, folder)
        layout = RunLayout(job / "out")
        existing = read_existing(RealDisk(), layout)
        assert existing is not None
        with Plan.open(existing.layout.plan) as plan:
            bounds = tuple(plan.batch_firsts)
        run_id = existing.document.run_id
        frames = tuple(scan(memoryview(files[LOG]), run_id=run_id, where=LOG).frames)
        self.made[name] = Subject(
            name, folder, job, files, run_id, bounds, frames, existing.finished, rows, goal, earlier
        )


def make_subjects(batchctl: str, work: Path) -> dict[str, Subject]:
    """All of them, by name."""
    maker = Maker(batchctl, work)
    maker.rows("1", whole=True)
    maker.rows("2", whole=False)
    maker.joined()
    maker.counted()
    return maker.made


def command_for(batchctl: str, job: Path, out: Path, *, what: str) -> list[str]:
    """What a user would type."""
    if what == "retry":
        return [batchctl, "retry", str(out), "--quiet"]
    if what == "run":
        given = [str(job / "batchctl.toml"), str(job / "input"), "-o", str(out)]
        return [batchctl, "run", *given, "--workers", "1", "--quiet"]
    return [batchctl, what, str(out)]


def snapshot(out: Path) -> dict[str, bytes]:
    """All regular files below OUT; `mlruns`, `model` and the logs of workers are the script's affair."""
    found = {}
    for folder, _, names in os.walk(out):
        for name in names:
            path = Path(folder, name)
            relative = path.relative_to(out).as_posix()
            if path.is_file() and not path.is_symlink() and not relative.startswith(f"{RUN_DIRECTORY}/logs/"):
                found[relative] = path.read_bytes()
    return dict(sorted(found.items()))


def restore(files: dict[str, bytes], out: Path) -> None:
    """A run directory of these files."""
    (out / RUN_DIRECTORY).mkdir(parents=True)
    (out / RUN_DIRECTORY).chmod(0o700)
    for name, data in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)


def _records(out: Path) -> list[object]:
    layout = RunLayout(out)
    existing = read_existing(RealDisk(), layout)
    return list(read_records(RealDisk(), layout, run_id=existing.document.run_id)) if existing else []


def _commits(records: list[object]) -> int:
    opened = any(isinstance(record, EpochOpened) for record in records)
    return sum(isinstance(record, Committed) for record in records) if opened else 0
