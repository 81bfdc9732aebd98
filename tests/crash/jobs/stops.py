"""The job whose workers hang, spin, fork and vanish by order, each time once: what it gives in the end is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.crash.jobs.job import OneRunJob, item_name, lay_job, one_column, python_line

BATCH = 3
BATCHES = 12
ITEMS = BATCH * BATCHES

_SCRIPT = """\
import ctypes
import json
import os
import select
import signal
import threading
import time

SCRATCH = os.environ["CAMPAIGN_SCRATCH"]


def init():
    if os.path.exists(os.path.join(SCRATCH, "stop-in-init")) and os.path.exists(os.path.join(SCRATCH, "passed")):
        if once("init"):
            os.kill(os.getpid(), signal.SIGSTOP)


def run(mini_batch):
    mark("passed")
    mark("clock.%d" % int(time.time()))
    return [score(path) for path in mini_batch]


def score(path):
    name = os.path.basename(path)
    with open(path) as handle:
        task = json.load(handle)
    if task["kind"] == "slow":
        mark("slow")
        time.sleep(1.2)
    elif task["kind"] == "gated":
        mark("gated")
        while not os.path.exists(os.path.join(SCRATCH, "gate-open")):
            time.sleep(0.01)
    elif task["kind"] == "later":
        if not os.path.exists(os.path.join(SCRATCH, "mended")):
            raise ValueError("not yet")
    elif task["kind"] and once(task["kind"]):
        MISCHIEF[task["kind"]]()
    select.select([], [], [], task["sleep"])  # time.sleep fails under libfaketime once the clock has jumped
    return "%s %d" % (name, task["seed"])


def once(name):
    try:
        os.close(os.open(os.path.join(SCRATCH, "once." + name), os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def mark(name):
    open(os.path.join(SCRATCH, name), "w").close()


def stops():
    os.kill(os.getpid(), signal.SIGSTOP)


def sleeps():
    time.sleep(600)


def waits_for_itself():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def waits_in_c():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)  # a zeroed mutex; the GIL is kept
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)


def spins():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass


def thirty_children():
    for number in range(30):
        if os.fork() == 0:
            if number % 3 == 0:
                os.fork()
            if number % 5 == 0:
                os.setsid()
            time.sleep(600)
            os._exit(0)


def leaves_thirty():
    thirty_children()
    os._exit(1)


def daemonises():
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)


def leaves_its_socket():
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
        os._exit(0)
    os._exit(0)


def closes_all():
    os.closerange(3, 65536)


MISCHIEF = {
    function.__name__: function
    for function in (
        stops,
        sleeps,
        waits_for_itself,
        waits_in_c,
        spins,
        thirty_children,
        leaves_thirty,
        daemonises,
        leaves_its_socket,
        closes_all,
    )
}
"""
MISCHIEF = (
    "stops",
    "sleeps",
    "waits_for_itself",
    "waits_in_c",
    "spins",
    "thirty_children",
    "leaves_thirty",
    "daemonises",
    "leaves_its_socket",
    "closes_all",
)
TIMED = MISCHIEF[:5]  # those that only the deadline ends

_SPEC = """\
name = "stops"
script = "score.py"
code = "code"
{python}mini_batch_size = {batch}
max_retries = 5
output_format = "csv"
error_threshold = -1
init_timeout = "10s"
"""


@dataclass(frozen=True, slots=True)
class StopsJob(OneRunJob):
    """Where it lies; `seeds`: what the rows are made of."""

    seeds: tuple[int, ...]

    @property
    def rows(self) -> bytes:
        """What OUT must hold in the end."""
        return one_column(f"{item_name(number)} {seed}" for number, seed in enumerate(self.seeds))

    def marks(self, pattern: str) -> list[str]:
        """Files of that pattern which the script has left in `scratch`."""
        return sorted(path.name for path in self.scratch.glob(pattern))


def make_stops_job(
    folder: Path, *, seeds: tuple[int, ...], kinds: Mapping[int, str], sleep: float, python: str
) -> StopsJob:
    """Write spec, script and inputs. `kinds`: what an item (by number) does; `sleep`: seconds that each takes."""
    inputs = {
        item_name(number): json.dumps({"kind": kinds.get(number, ""), "seed": seed, "sleep": sleep})
        for number, seed in enumerate(seeds)
    }
    lay_job(folder, spec=_SPEC.format(python=python_line(python), batch=BATCH), script=_SCRIPT, inputs=inputs)
    job = StopsJob(folder, seeds)
    job.scratch.mkdir()
    return job
