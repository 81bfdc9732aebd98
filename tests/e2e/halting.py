"""Runs that are stopped midway at a known place, so that there is something to resume."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from batchctl.store.frames import HEADER_SIZE, FrameType, scan
from batchctl.store.payloads import COMMIT
from tests.e2e.driver import Job, Out, Ran, Started, wait_for

# tests/scripts/gate.py waits from this item on; those before it are done when it says that it got there.
GATE_AT = "item020"
ITEMS = 40


class Gate:
    """The gate that a script waits at. Until it is opened, a run cannot get past GATE_AT."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._open, self._reached = folder / "open", folder / "reached"

    def open(self) -> None:
        self._open.touch()

    def shut(self) -> None:
        self._open.unlink(missing_ok=True)
        self._reached.unlink(missing_ok=True)

    def wait_reached(self, started: Started) -> None:
        wait_for(lambda: self._reached.exists() or not started.alive(), "the script to get to the gate")
        assert started.alive(), f"over before the gate:\n{started.end()}"


def gated(job: Job, *, items: int = ITEMS) -> tuple[Gate, list[str]]:
    """A job whose script waits at the gate, and the rows that it gives in the end."""
    gate = Gate(job.folder / "gate")
    job.script("gate", GATE=job.folder / "gate", GATE_AT=GATE_AT)
    return gate, job.items(items)


def halt(job: Job, gate: Gate, *flags: str, number: int = signal.SIGTERM, out: str = "out", spec: str = "") -> Ran:
    """Run up to the gate and stop with a signal (SIGKILL: crash); the gate opens while it drains and is shut then."""
    with job.start("run", spec or "code/score.py", "in", "-o", out, *flags) as started:
        gate.wait_reached(started)
        committed(Out(job.folder / out))
        started.signal(number)
        if number != signal.SIGKILL:
            wait_for(lambda: Out(job.folder / out).state == "draining" or not started.alive(), "the run to drain")
            gate.open()
        ran = started.end()
    gate.shut()
    return ran


def committed(out: Out) -> None:
    """Wait until some items are committed, so that there is something which a resume must not do again."""
    log, job = out.run_directory / "checkpoint.log", out.run_directory / "job.json"

    def items() -> int:
        if not log.exists():
            return 0
        run_id = json.loads(job.read_bytes())["document"]["run_id"]
        data = memoryview(log.read_bytes())
        commits = [
            frame for frame in scan(data, run_id=run_id, where=str(log)).frames if frame.kind == FrameType.COMMIT
        ]
        return sum(
            record[2] for one in commits for record in COMMIT.iter_unpack(data[one.start + HEADER_SIZE : one.end])
        )

    wait_for(lambda: items() > 5, "a commit of more than five items")
