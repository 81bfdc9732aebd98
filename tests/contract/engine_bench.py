"""A bench for engines: a real plan, a real script, a real guest, and everything that the engine said."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from batchctl.engine.base import Engine, EngineJob
from batchctl.model.events import (
    Event,
    InitFailed,
    LeaseFailed,
    LeasesReturned,
    LeasesScored,
    WorkerForked,
    WorkerGone,
    WorkerReady,
)
from batchctl.model.job import Grouping, OutputAction, OutputFormat
from batchctl.model.lease import Lease
from batchctl.model.node import Slot
from batchctl.plan.encode import build_plan
from batchctl.plan.inputs import InputRequest

PATIENCE_S = 20.0
EPOCH = 3

# What all scripts here begin with: `kind(path)` is what the item's name says after its number, `gate()` waits.
HEAD = """
import ctypes, os, signal, sys, time
ROOT = os.environ["ROOT"]
def kind(path):
    return os.path.basename(path).partition("-")[2]
def mark(name, text=""):
    with open(os.path.join(ROOT, name), "a") as file:
        file.write(text + "\\n")
def gate(name="open"):
    while not os.path.exists(os.path.join(ROOT, name)):
        time.sleep(0.002)
"""


class Sink:
    """A log sink that remembers."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.size = 0
        self.closed = False

    def feed(self, data: bytes) -> None:
        self.size += len(data)
        self.data = (self.data + data)[-100_000:]

    def tail(self, size: int) -> str:
        return bytes(self.data[-size:]).decode(errors="replace")

    def close(self) -> None:
        self.closed = True


class Bench:
    """One engine with a run folder of its own. `events` is everything it said since `open`."""

    def __init__(self, make: Callable[..., Engine], root: Path, *, python: str = sys.executable) -> None:
        self.root = root
        self.run_id = os.urandom(16).hex()
        for folder in ("code", "out", "spill", "stage", "in"):
            (root / folder).mkdir()
        self.engine = make(python, root / "guest.pyz", run_id=self.run_id)
        self.engine.open()
        self.events: list[Event] = []
        self.sinks: dict[int, Sink] = {}  # by incarnation

    def configure(self, script: str, *, items: Sequence[str] = ("ok",) * 12, **changes: Any) -> list[Lease]:
        """The script and one lease of one item each; an item is called after what it is to cause."""
        for number, kind in enumerate(items):
            (self.root / "in" / f"{number:03}-{kind}").touch()
        request = InputRequest(
            inputs=(str(self.root / "in"),), folder=self.root, grouping=Grouping.PATH, include=(), exclude=(), out=None
        )
        image = build_plan(request, mini_batch_size=1)
        (self.root / "plan").write_bytes(b"".join(image.chunks()))
        (self.root / "code" / "score.py").write_text(HEAD + script)
        job = EngineJob(
            run_id=self.run_id,
            epoch=EPOCH,
            plan=self.root / "plan",
            script=self.root / "code" / "score.py",
            code=self.root / "code",
            out=self.root / "out",
            spill=self.root / "spill",
            stage=self.root / "stage",
            logs=self.root / "logs",
            mlruns=self.root / "mlruns",
            arguments=(),
            environment={"ROOT": str(self.root)},
            logging_level="info",
            output_format=OutputFormat.AZURE,
            output_action=OutputAction.APPEND_ROW,
            timeout=PATIENCE_S,
            init_timeout=PATIENCE_S,
            log_sink=self._sink,
        )
        self.engine.configure(job._replace(**changes))
        return [Lease(number, number, 1, 1) for number in range(len(items))]

    def _sink(self, _slot: int, incarnation: int) -> Sink:
        return self.sinks.setdefault(incarnation, Sink())

    def start(self, *slots: int) -> None:
        """Workers in these slots, past init()."""
        for slot in slots:
            self.begin(slot)
        self.until(lambda: {e.slot for e in self.seen(WorkerReady)} >= set(slots))

    def begin(self, slot: int) -> int:
        return self.engine.start_worker(Slot(slot, (), 1))

    def until(self, condition: Callable[[], Any], *, seconds: float = PATIENCE_S) -> None:
        """Poll until that is so. A worker that failed without being expected to is told."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"it never came; so far: {self.events}"
            self.events += self.engine.poll(0.05)

    def more(self) -> None:
        """Poll until there is news."""
        known = len(self.events)
        self.until(lambda: len(self.events) > known)

    def forked(self, count: int) -> None:
        self.until(lambda: len(self.seen(WorkerForked)) >= count)

    def seen(self, *kinds: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]

    def gone(self, count: int = 1) -> WorkerGone:
        """The last of `count` deaths."""
        self.until(lambda: len(self.seen(WorkerGone)) >= count)
        return self.seen(WorkerGone)[-1]

    def outcomes(self) -> dict[Lease, list[str]]:
        """What became of each lease; an engine that keeps its word says one thing of each."""
        found: dict[Lease, list[str]] = {}
        for event in self.events:
            if isinstance(event, LeasesScored):
                for scored in event.scored:
                    found.setdefault(scored.lease, []).append("scored")
            elif isinstance(event, LeaseFailed):
                found.setdefault(event.lease, []).append(str(event.failure.kind))
            elif isinstance(event, LeasesReturned):
                for lease in event.leases:
                    found.setdefault(lease, []).append("unsent" if event.unsent else "returned")
        return found

    def settled(self, leases: Sequence[Lease]) -> dict[Lease, list[str]]:
        """Wait until each of these has an outcome."""
        self.until(lambda: self.outcomes().keys() >= set(leases))
        return self.outcomes()

    def state(self, slot: int = 0) -> str:
        """What the slot's worker does, by its page."""
        return next((view.state for view in self.engine.workers() if view.slot == slot), "none")

    def pids(self) -> list[int]:
        return [event.pid for event in self.seen(WorkerForked)]

    def init_failed(self) -> InitFailed:
        self.until(lambda: self.seen(InitFailed))
        return self.seen(InitFailed)[0]

    def open_gate(self, name: str = "open") -> None:
        (self.root / name).touch()

    def marks(self, name: str) -> list[str]:
        path = self.root / name
        return path.read_text().split() if path.exists() else []


def children() -> set[int]:
    """Our children, zombies included."""
    me = os.getpid()
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = Path(f"/proc/{name}/stat").read_text()
            except OSError:
                continue
            if int(text.rpartition(")")[2].split()[1]) == me:
                found.add(int(name))
    return found


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def alive(pid: int) -> bool:
    """Does it run (a zombie does not)?"""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def wait_for(condition: Callable[[], Any], what: str, *, seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: never"
        time.sleep(0.005)
