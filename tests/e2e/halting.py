"""Runs that are stopped midway at a known place, so that there is something to resume."""

from __future__ import annotations

import signal
from pathlib import Path

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
    """Wait until some rows are on disk, so that there is something which a resume must not do again."""
    partial = out.path / "predictions.csv.partial"
    wait_for(lambda: partial.exists() and b"item005" in partial.read_bytes(), "rows in .partial")
