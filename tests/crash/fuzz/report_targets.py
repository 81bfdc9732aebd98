"""Files that only tell: status.json, summary.json, learned.json. Whatever they hold, it is shown or passed over."""

from __future__ import annotations

import json
from pathlib import Path

from batchctl.model.progress import CauseGroup, RunState, Summary
from batchctl.report.status import Liveness, Snapshot, liveness, pid_alive, read_status
from batchctl.report.status_text import status_dict, status_line, status_text
from batchctl.report.summary import read_summary, summary_dict, summary_text
from batchctl.run.learned import LearnedKey, read_learned
from tests.crash.fuzz.mutations import mutated_json
from tests.crash.fuzz.target import Target, holds

_PROGRESS = {
    "run_id": "ab" * 16,
    "state": "running",
    "epoch": 1,
    "pid": 2**22,
    "message": "",
    "items": 10,
    "items_done": 3,
    "items_failed": 1,
    "batches": 5,
    "batches_done": 1,
    "rows": 2,
    "elapsed_s": 3.5,
    "rate": 1.5,
    "eta_s": None,
    "sizing": "2 workers",
    "workers": [
        {
            "slot": 0,
            "incarnation": 1,
            "pid": 7,
            "state": "run",
            "batch": 2,
            "since_s": 0.5,
            "cpus": [0, 1],
            "gpu": None,
            "memory": 1000,
            "gpu_memory": None,
        }
    ],
}
_STATUS = {
    "name": "job",
    "command": ["batchctl", "run", "x"],
    "cwd": "/x",
    "host": "h",
    "written_at": 1.7e9,
    "version": "0",
    "progress": _PROGRESS,
}
_LEARNED = {
    "format": 1,
    "learned": [
        {
            "script": "ab" * 32,
            "model": "",
            "gpu_name": "",
            "memory": 1 << 30,
            "gpu": None,
            "items_fitted": None,
            "workers": 4,
            "seen": 1.7e9,
        }
    ],
}


def targets(work: Path) -> list[Target]:
    summary = json.loads(json.dumps(summary_dict(_summary())))
    path = work / "told.json"
    work.mkdir(parents=True, exist_ok=True)

    def status(data: bytes) -> None:
        path.write_bytes(data)
        found = read_status(path)
        if found is None:
            raise Unread
        for verdict in (liveness(found, lock_held=False, pid_alive=pid_alive(found)), Liveness.RUNNING):
            _shown(status_text(found, verdict, out="out", summary=None, now=1.8e9))
            _shown(status_line(found, verdict, out="out"))
            json.dumps(status_dict(found, verdict, summary=None))
        holds(isinstance(found, Snapshot) and isinstance(found.progress.state, RunState), "of another type")

    def told(data: bytes) -> None:
        path.write_bytes(data)
        found = read_summary(path)
        if found is None:
            raise Unread
        _shown(summary_text(found, verbose=True))
        json.dumps(summary_dict(found))

    def learned(data: bytes) -> None:
        path.write_bytes(data)
        found = read_learned(path, LearnedKey("ab" * 32, ""))
        if found.note:
            _shown(found.note)
            raise Unread
        if found.learned is not None:
            holds(0 < found.learned.memory < 1 << 60, "an impossible figure")

    seeds = tuple(json.dumps(value).encode() for value in (_STATUS, summary, _LEARNED))
    return [
        Target("status", 1, status, (Unread,), (seeds[0],), (), lambda dice: mutated_json(_STATUS, dice)),
        Target("summary", 1, told, (Unread,), (seeds[1],), (), lambda dice: mutated_json(summary, dice)),
        Target("learned", 1, learned, (Unread,), (seeds[2],), (), lambda dice: mutated_json(_LEARNED, dice)),
    ]


class Unread(Exception):
    """It was passed over."""


def _shown(text: str) -> None:
    holds("\x1b" not in text and "\0" not in text and "\u202e" not in text, "a control character on the terminal")
    text.encode("utf-8", "surrogateescape")


def _summary() -> Summary:
    cause = CauseGroup(
        kind="failed", error="ValueError", message="no", items=1, attempts=2, example_path="a", example_traceback="T"
    )
    return Summary(
        run_id="ab" * 16,
        name="job",
        state=RunState.FINISHED,
        exit_code=0,
        items=10,
        items_succeeded=9,
        items_failed=1,
        items_quarantined=1,
        batches=5,
        attempts=7,
        attempts_failed=2,
        attempts_lost=0,
        attempts_timed_out=0,
        rows=9,
        duration_s=2.5,
        epochs=1,
        workers=2,
        output="/x/p.csv",
        error_threshold="-1",
        causes=(cause,),
        notes=("a note",),
        reasons=("a reason",),
        held_back="",
        next_command="batchctl verify out",
    )
