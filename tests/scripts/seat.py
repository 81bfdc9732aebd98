"""Tells where its worker was put: cpus, environment, a thread of its own that lives as long as it does.

From its second mini-batch on a worker waits until SEATS workers (default 1) have come, and, where GATE is set, for
GATE/open, which a test makes. The item DIES_AT ends its worker. With GPU_MIB a worker takes so much of
its GPU: it says so in the file of the driver's double (FAKE_NVML_STATE).
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable

from witness import tell, told

CAPS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
SEATS, GATE, GPU_MIB = int(os.environ.get("SEATS", "1")), os.environ.get("GATE", ""), os.environ.get("GPU_MIB")
done = 0


def init() -> None:
    mask = os.environ.get("CUDA_VISIBLE_DEVICES")
    if GPU_MIB:
        take(mask or "", int(GPU_MIB))
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    tell("seat", gpu=mask, caps={name: os.environ.get(name) for name in CAPS})


def run(mini_batch: list[str]) -> list[str]:
    global done
    done += 1
    if done > 1:
        until(lambda: told("seat") >= SEATS)
    if done > 1 and GATE:
        until(lambda: os.path.exists(os.path.join(GATE, "open")))
    if os.environ.get("DIES_AT") in map(os.path.basename, mini_batch):
        os._exit(3)
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    return [os.path.basename(path) for path in mini_batch]


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.005)


def take(uuid: str, mib: int) -> None:
    """What the driver says from now on: this process holds so much, and the device as much more."""
    state = os.environ["FAKE_NVML_STATE"]
    with open(state + ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(state, encoding="utf-8") as file:
            lines = [line.split() for line in file if line.split()[:2] != ["used", uuid]]
        lines.append(["process", uuid, str(os.getpid()), str(mib)])
        used = 1024 + sum(int(line[3]) for line in lines if line[:2] == ["process", uuid])
        with open(state + ".new", "w", encoding="utf-8") as file:
            file.writelines(" ".join(line) + "\n" for line in [*lines, ["used", uuid, str(used)]])
        os.replace(state + ".new", state)
