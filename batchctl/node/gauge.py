"""What the node and each worker hold, now and at most: looked at while a run is going on, up to ten times a second.

    per worker: itself and all its descendants -> RSS, VmHWM of each -> PSS, where RSS has moved -> sum, peak
    per node:   MemAvailable, the room in every enclosing cgroup, PSI
    per GPU:    the process behind driver.py answers; one that is slow answers for a later look

The peak is the most that was seen, also by the kernel between two looks: VmHWM counts shared pages in full, so what
it was above RSS at the look is added to the PSS at the look.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from batchctl.model.node import Gpu, Reading, WorkerMemory
from batchctl.model.progress import WorkerView
from batchctl.named_tuple import NamedTuple
from batchctl.node import cgroup
from batchctl.node.driver import DriverProcess
from batchctl.node.probe import memory_of_machine, read_text
from batchctl.node.process_memory import family, pss, resident

# RSS that moved by less does not make PSS worth reading again.
_MOVED = 0.02
# To read PSS takes the kernel 15 ms per GiB (4 KiB pages): a process is read again after so many times what that took,
# which keeps it under a twentieth of a cpu while a model is loaded. Until then what RSS gains counts as its own.
_REST = 20
# How long a look waits for the driver's answer, and after how many looks without one it is not asked any more.
_ANSWER_S = 0.05
_PATIENCE = 100
# Less than this above the baseline is noise of the driver, not a worker.
_NOISE = 16 << 20


class _Share(NamedTuple):
    """PSS of a process when it was read, its RSS then, and when it may be read again."""

    rss: int
    pss: int
    due: float


class _Worker:
    """What is remembered of a worker between looks: of each of its processes by pid, and its peak."""

    def __init__(self) -> None:
        self.known: dict[int, _Share] = {}
        self.peak = 0


class Gauge:
    """Measures; decides nothing. `gpus`: those that workers use, as probed; none: no driver is asked.

    Not thread-safe. A process that vanishes between two reads is not an error.
    """

    def __init__(self, gpus: Sequence[Gpu] = (), *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._workers: dict[tuple[int, int], _Worker] = {}
        self._cgroups = cgroup.find_cgroups(read_text)
        self._baseline = {
            gpu.uuid: gpu.total_bytes - gpu.free_bytes
            for gpu in gpus
            if gpu.total_bytes is not None and gpu.free_bytes is not None
        }
        self._uuids = [gpu.uuid for gpu in gpus]
        self._devices: dict[str, dict[str, Any]] = {}
        self._driver: DriverProcess | None = None
        self._asked = 0  # looks since the question; 0: none is open
        if gpus:
            try:
                self._driver = DriverProcess()
            except OSError:
                self._driver = None

    def read(self, workers: Iterable[WorkerView]) -> Reading:
        """One look. Workers without a process, and those that have gone, are left out."""
        live = [worker for worker in workers if worker.pid > 0]
        families = {worker.pid: family(worker.pid) for worker in live}
        self._ask_driver()
        measured = [(worker, self._measure(worker, families[worker.pid])) for worker in live]
        on_gpus = self._gpu_bytes(live, families)
        keys = {(worker.slot, worker.incarnation) for worker in live}
        self._workers = {key: kept for key, kept in self._workers.items() if key in keys}
        stalled = cgroup.memory_pressure(read_text, self._cgroups)
        return Reading(
            available=self._available(),
            stalled=None if stalled is None else stalled[1],
            workers=tuple(
                WorkerMemory(worker.slot, worker.incarnation, held, peak, on_gpus.get(worker.pid))
                for worker, (held, peak) in measured
                if held
            ),
            gpu_free={uuid: device["free"] for uuid, device in self._devices.items()},
        )

    def close(self) -> None:
        """May be done twice."""
        if self._driver is not None:
            self._driver.close()
            self._driver = None
        self._devices = {}

    def _measure(self, worker: WorkerView, members: list[int]) -> tuple[int, int]:
        """(PSS, peak) of a worker and its descendants; (0, 0) where it has gone."""
        kept = self._workers.setdefault((worker.slot, worker.incarnation), _Worker())
        known: dict[int, _Share] = {}
        held = above = 0
        for pid in members:
            now = resident(pid)
            share = None if now is None else self._share(pid, now.rss, kept.known.get(pid))
            if now is None or share is None:
                continue
            known[pid] = share
            held += max(0, share.pss + (now.rss - share.rss if abs(now.rss - share.rss) > _MOVED * share.rss else 0))
            above += now.peak - now.rss
        kept.known = known
        kept.peak = max(kept.peak, held + above) if held else kept.peak
        return held, kept.peak

    def _share(self, pid: int, rss: int, known: _Share | None) -> _Share | None:
        """What is known of a process's PSS, read again if it has moved and that is due; None where it is gone."""
        start = self._clock()
        if known is not None and (abs(rss - known.rss) <= _MOVED * known.rss or start < known.due):
            return known
        read = pss(pid, rss)
        end = self._clock()
        return None if read is None else _Share(rss, read, end + _REST * (end - start))

    def _available(self) -> int:
        _, machine = memory_of_machine(read_text("/proc/meminfo") or "", [])
        room = cgroup.limits(read_text, self._cgroups).memory_available
        return machine if room is None else min(machine, room)

    def _ask_driver(self) -> None:
        """Take the answer to the last question if it is there, and ask the next. Waits _ANSWER_S at most."""
        driver = self._driver
        if driver is None:
            return
        try:
            if not self._asked:
                driver.ask("memory", uuids=self._uuids)
            self._asked += 1
            answer = driver.answer(_ANSWER_S)
        except OSError:
            self.close()
            return
        if answer is not None:
            self._asked = 0
            self._devices = {uuid: device for uuid, device in answer["memory"].items() if device is not None}
            for uuid, device in self._devices.items():
                self._baseline.setdefault(uuid, device["used"])
        elif self._asked > _PATIENCE:  # it hangs: from now on nobody knows
            self.close()

    def _gpu_bytes(self, live: Sequence[WorkerView], families: dict[int, list[int]]) -> dict[int, int]:
        """Bytes by worker's pid: what the driver says of its processes; else its part of what the device has gained."""
        found: dict[int, int] = {}
        sharing = Counter(worker.gpu for worker in live if worker.gpu)
        ours = {pid for members in families.values() for pid in members}
        for worker in live:
            uuid = worker.gpu or ""
            device = self._devices.get(uuid)
            if device is None:
                continue
            held = {int(pid): size for pid, size in (device["pids"] or {}).items() if int(pid) in ours}
            gained = device["used"] - self._baseline.get(uuid, device["used"])
            if held and None not in held.values():
                found[worker.pid] = sum(held.get(pid, 0) for pid in families[worker.pid])
            elif gained > _NOISE:  # a container's pids are not the driver's, and some drivers know no bytes
                found[worker.pid] = gained // sharing[uuid]
            else:
                found[worker.pid] = 0
        return found
