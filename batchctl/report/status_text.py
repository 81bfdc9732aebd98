"""status.json and what became of the run, in words. Pure: time, width and verdict are arguments."""

from __future__ import annotations

import shlex
from typing import Any

from batchctl.model.documents import as_document
from batchctl.model.progress import Progress, RunState, Summary, WorkerView
from batchctl.report.progress import progress_line
from batchctl.report.status import Liveness, Snapshot
from batchctl.report.wording import (
    count_text,
    duration_text,
    memory_text,
    pasteable,
    percent_text,
    plural,
    printable,
    ranges_text,
    rate_text,
)

_VERDICT = {
    Liveness.RUNNING: "running",
    Liveness.FINISHED: "finished",
    Liveness.STOPPED: "stopped early, resumable",
    Liveness.FAILED: "failed",
    Liveness.CRASHED: "crashed: its coordinator is gone without a word; what is committed is kept, and it is resumable",
    Liveness.PLANNED: "not running, and nothing is known of its progress",
}


def status_text(snapshot: Snapshot | None, verdict: Liveness, *, out: str, summary: Summary | None, now: float) -> str:
    """Several lines for people. `now`: seconds since 1970; `out`: OUT as typed; `summary`: that of the last end."""
    name = printable(snapshot.name) if snapshot else printable(out)
    lines = [f"{name}: {_VERDICT[verdict]}{_ending(verdict, summary)}"]
    rows: list[tuple[str, str]] = []
    if snapshot is not None:
        rows += _progress_rows(snapshot.progress, verdict)
        rows.append(("as of", _age(snapshot, verdict, now=now)))
    rows += [("next", printable(line)) for line in next_lines(snapshot, verdict, out=out, summary=summary)]
    return "\n".join([*lines, *(f"  {label:<9} {text}" for label, text in rows)])


def status_line(snapshot: Snapshot | None, verdict: Liveness, *, out: str) -> str:
    """The same on one line, for --watch where nothing can be redrawn."""
    if snapshot is None:
        return f"{printable(out)}: {verdict.value}"
    return f"{printable(snapshot.name)}: {progress_line(snapshot.progress)}"


def _ending(verdict: Liveness, summary: Summary | None) -> str:
    if summary is None or not summary.exit_code or verdict in (Liveness.RUNNING, Liveness.CRASHED):
        return ""
    return f" (exit code {summary.exit_code})"


def _age(snapshot: Snapshot, verdict: Liveness, *, now: float) -> str:
    age = duration_text(now - snapshot.written_at)
    if verdict is Liveness.CRASHED:
        return f"{age} ago (the checkpoint log may hold a little more)"
    return f"{age} ago"


def _progress_rows(progress: Progress, verdict: Liveness) -> list[tuple[str, str]]:
    items = f"{count_text(progress.items_done)} of {count_text(progress.items)} done"
    items += f" ({percent_text(progress.items_done, progress.items)})" if progress.items else ""
    items += f", {count_text(progress.items_failed)} failed" if progress.items_failed else ""
    rows = [
        ("items", items),
        ("batches", f"{count_text(progress.batches_done)} of {plural(progress.batches, 'mini-batch')} done"),
        ("rows", count_text(progress.rows)),
    ]
    if verdict is Liveness.RUNNING:
        doing = f"{progress.state.value} for {duration_text(progress.elapsed_s)}"
        doing += f" in pid {progress.pid}" + (f", resumed {progress.epoch - 1}x" if progress.epoch > 1 else "")
        rows.insert(0, ("state", doing))
        if progress.state is RunState.RUNNING:
            eta = f", eta {duration_text(progress.eta_s)}" if progress.eta_s is not None else ""
            rows.append(("rate", rate_text(progress.rate) + eta))
        rows += [("sizing", printable(progress.sizing))] if progress.sizing else []
        rows += [
            ("workers" if not number else "", _worker_text(worker)) for number, worker in enumerate(progress.workers)
        ]
    if progress.message:
        rows.append(("message", printable(progress.message)))
    return rows


def _worker_text(worker: WorkerView) -> str:
    pid = f"pid {worker.pid}, " if worker.pid else ""  # 0: a worker so young that its process is not known yet
    text = f"{worker.slot}: {pid}{printable(worker.state)}"
    if worker.batch is not None:
        text += f" mini-batch {worker.batch}"
    text += f" for {duration_text(worker.since_s)}, cpus {ranges_text(worker.cpus) or '-'}"
    text += f", {memory_text(worker.memory)}" if worker.memory is not None else ""
    text += f", gpu {printable(worker.gpu)}" if worker.gpu else ""
    return text + (f" {memory_text(worker.gpu_memory)}" if worker.gpu_memory is not None else "")


def next_lines(snapshot: Snapshot | None, verdict: Liveness, *, out: str, summary: Summary | None) -> list[str]:
    """What to type next."""
    place = shlex.quote(out)
    if verdict is Liveness.RUNNING:
        return [f"batchctl status {place} --watch"]
    if verdict is Liveness.FINISHED:
        return [f"batchctl failures {place}" if summary and summary.items_failed else f"batchctl verify {place}"]
    if verdict is Liveness.FAILED and summary is not None and summary.next_command:
        return [pasteable(summary.next_command)]
    if snapshot is not None and snapshot.command:
        typed = pasteable(shlex.join(snapshot.command))
        return [f"{typed}   (in {snapshot.cwd})" if snapshot.cwd else typed]
    return [f"the same `batchctl run ... -o {place}` as before resumes it"]


def status_dict(snapshot: Snapshot | None, verdict: Liveness, *, summary: Summary | None) -> dict[str, Any]:
    """What `status --json` prints: the verdict, status.json and, once the run has ended, its summary."""
    ended = verdict in (Liveness.FINISHED, Liveness.STOPPED, Liveness.FAILED)
    return {
        "verdict": verdict.value,
        "status": as_document(snapshot) if snapshot else None,
        "summary": as_document(summary) if summary and ended else None,
    }
