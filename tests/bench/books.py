"""The books of a long run, without workers: `python -m tests.bench.books [MINI_BATCHES] [ROW_BYTES]`.

Commits that many mini-batches of one item in groups of 2,000, two workers' answers out of order as they are in life,
every third group claimed ahead; then reads the log as a resume does, finishes, verifies, and resumes the finished run.
Prints a line of JSON for each step: cpu seconds, wall seconds, and by how much the step raised the peak memory.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import tempfile
import time
import zlib
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from batchctl.dispatch.file_queue import FileQueue
from batchctl.dispatch.retry import RetryPolicy
from batchctl.dispatch.threshold import FailedBatches
from batchctl.files import RealDisk
from batchctl.model.job import Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored
from batchctl.run.tally import Tally
from batchctl.store.commit import Group
from batchctl.store.creation import create_run
from batchctl.store.finish import finish, open_finished
from batchctl.store.layout import RunLayout
from batchctl.store.recover import Recovered, recover
from batchctl.store.verify import verify

_RUN = "bench"
_GROUP = 2000
_DISK = RealDisk()
Result = TypeVar("Result")


def step(name: str, do: Callable[[], Result]) -> Result:
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, cpu, start = _memory("VmRSS"), time.process_time(), time.perf_counter()
    result = do()
    spent, wall = time.process_time() - cpu, time.perf_counter() - start
    told = {"step": name, "cpu_s": round(spent, 3), "wall_s": round(wall, 3)}
    print(json.dumps({**told, "peak_mb": round(_memory("VmHWM") - before, 1)}), flush=True)
    return result


def _memory(which: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which + ":"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _opened(layout: RunLayout, bounds: Sequence[int]) -> Recovered:
    return recover(_DISK, layout, run_id=_RUN, bounds=bounds, boot_id="boot", version="0")


def _commit_all(opened: Recovered, *, batches: int, row: bytes) -> None:
    crc, length = zlib.crc32(row), len(row)
    for low in range(0, batches, _GROUP):
        numbers = range(low, min(low + _GROUP, batches))
        shuffled = [*numbers[::2], *numbers[1::2]]
        claims = [Lease(batch, batch, 1, 1) for batch in numbers]
        scored = [Scored(Lease(batch, batch, 1, 1), row, length, crc, 1, 1, 0, 5) for batch in shuffled]
        opened.committer.commit(Group(claims=claims, scored=scored))
    opened.committer.close(clean=True)


def _taken_up(opened: Recovered, bounds: Sequence[int]) -> FileQueue:
    """What run/epoch.py does with the records of a log."""
    queue, tally, failed = FileQueue(bounds, RetryPolicy(3, isolate=True)), Tally(str), FailedBatches()
    for record in opened.records.grouped():
        queue.replay(record)
        tally.replay(record)
        failed.replay(record)
    queue.settle()
    return queue


def main(arguments: list[str]) -> None:
    batches = int(arguments[0]) if arguments else 1_000_000
    row = b"x" * (int(arguments[1]) - 1 if len(arguments) > 1 else 12) + b"\n"
    scratch = Path(tempfile.mkdtemp(prefix="batchctl-books-"))
    try:
        _measure(RunLayout(scratch / "out", "predictions.csv"), array("I", range(batches + 1)), row=row)
    finally:
        shutil.rmtree(scratch)


def _measure(layout: RunLayout, bounds: Sequence[int], *, row: bytes) -> None:
    batches = len(bounds) - 1
    create_run(_DISK, layout, job_document={"run_id": _RUN}, plan_chunks=[b"plan"])
    step("commit", lambda: _commit_all(_opened(layout, bounds), batches=batches, row=row))
    again = step("recover", lambda: _opened(layout, bounds))
    assert step("take up", lambda: _taken_up(again, bounds)).finished
    step("verify, not finished", lambda: verify(_DISK, layout, run_id=_RUN, bounds=bounds))
    step("finish", lambda: finish(_DISK, layout, committer=again.committer, order=Order.PLAN))
    step("open finished", lambda: open_finished(_DISK, layout, run_id=_RUN, bounds=bounds, locked=True))
    found = step("verify", lambda: verify(_DISK, layout, run_id=_RUN, bounds=bounds))
    assert found.sound
    assert found.n_rows == batches


if __name__ == "__main__":
    main(sys.argv[1:])
