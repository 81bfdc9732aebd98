"""Records that the tests of the report share."""

from __future__ import annotations

from typing import Any

from batchctl.model.progress import CauseGroup, Progress, RunState, Summary, WorkerView

WORKER = WorkerView(slot=0, incarnation=3, pid=77, state="run", batch=12, since_s=1.5, cpus=(0, 1), gpu=None)

PROGRESS = Progress(
    run_id="r1",
    state=RunState.RUNNING,
    epoch=1,
    pid=4242,
    items=10_000,
    items_done=1234,
    items_failed=3,
    batches=1000,
    batches_done=123,
    rows=1231,
    elapsed_s=12.5,
    rate=456.0,
    eta_s=83.0,
    workers=(WORKER._replace(memory=6_700_000), WORKER._replace(slot=1, pid=78, state="init", batch=None, gpu="GPU-1")),
    sizing="2 of 4 places: none had finished a mini-batch yet",
)

CAUSE = CauseGroup(
    kind="failed",
    error="ValueError",
    message="cannot read 'a\x1b[2J.png'",
    items=3,
    attempts=9,
    example_path="in/a\x1b[2J.png",
    example_traceback='Traceback (most recent call last):\n  File "score.py", line 3, in run\nValueError: bad\n',
)

SUMMARY = Summary(
    run_id="r1",
    name="digits",
    state=RunState.FINISHED,
    exit_code=0,
    items=10_000,
    items_succeeded=9_997,
    items_failed=3,
    items_quarantined=3,
    batches=1000,
    attempts=1012,
    attempts_failed=9,
    attempts_lost=2,
    attempts_timed_out=1,
    rows=9_997,
    duration_s=20.0,
    epochs=1,
    workers=2,
    output="out/predictions.csv",
    error_threshold="10",
    causes=(CAUSE,),
    notes=("a note",),
    reasons=("2 workers: 2 cpus",),
    next_command="batchctl verify out",
)


def progress(**changes: Any) -> Progress:
    return PROGRESS._replace(**changes)


def summary(**changes: Any) -> Summary:
    return SUMMARY._replace(**changes)
