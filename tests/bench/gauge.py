"""What a look of the gauge costs: `python -m tests.bench.gauge [WORKERS [MIB [THREADS]]]` (default 4, 500, 8).

Workers are processes that hold so many MiB, have so many threads, and one child each. Prints one JSON object, medians
in microseconds: a whole look with nothing to read again, the part of it per worker, and per worker one that reads PSS.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time

from batchctl.model.progress import WorkerView
from batchctl.node.gauge import Gauge

_WORKER = """
import os, sys, threading
block = bytearray(b"x") * (int(sys.argv[1]) << 20)
wait = threading.Event()
for _ in range(int(sys.argv[2]) - 1):
    threading.Thread(target=wait.wait, daemon=True).start()
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, b"!")
    signal_never = os.read(0, 1)
    os._exit(0)
os.read(read, 1)
print("ready", flush=True)
sys.stdin.read()
"""
_ROUNDS = 50


def _look(gauge: Gauge, views: list[WorkerView]) -> float:
    start = time.perf_counter()
    gauge.read(views)
    return (time.perf_counter() - start) * 1e6


def measure(workers: int, mib: int, threads: int) -> dict[str, float]:
    made = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(mib), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        for _ in range(workers)
    ]
    try:
        for worker in made:
            assert worker.stdout is not None
            worker.stdout.readline()
        views = [WorkerView(n, 1, worker.pid, "run", 0, 0.0, (), None) for n, worker in enumerate(made)]
        gauge = Gauge()
        empty = statistics.median(_look(gauge, []) for _ in range(_ROUNDS))
        firsts = []
        for _ in range(_ROUNDS // 5):
            _look(gauge, [])  # forgets them
            firsts.append(_look(gauge, views))
        steady = statistics.median(_look(gauge, views) for _ in range(_ROUNDS))
        gauge.close()
    finally:
        for worker in made:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    first = statistics.median(firsts)
    return {
        "look_us": round(steady),
        "per_worker_us": round((steady - empty) / workers),
        "per_worker_with_pss_us": round((first - empty) / workers),
    }


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]] + [4, 500, 8][len(sys.argv) - 1 :]
    print(json.dumps(dict(zip(("workers", "mib", "threads"), given, strict=True)) | measure(*given)))
