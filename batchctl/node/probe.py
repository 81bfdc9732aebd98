"""Look at this machine: the one module that reads /proc and /sys, and asks the GPU driver.

`probe` never raises: what cannot be found out is None or a safe guess, and a note in words. No psutil: what is needed
is four small files, and its import alone costs more time than reading them.
"""

from __future__ import annotations

import os
from pathlib import Path

from batchctl.model.node import NodeReport
from batchctl.node import cgroup
from batchctl.node.gpu import probe_gpus

_NUMA = Path("/sys/devices/system/node")
# Where not even /proc/meminfo can be read: small enough that nothing is planned on it.
_UNKNOWN_MEMORY = 1 << 30


def probe(*, visible_gpus: str | None) -> NodeReport:
    """What this machine is, as seen from this process. `visible_gpus`: CUDA_VISIBLE_DEVICES, None where unset.

    2-3 ms without a GPU driver; with one, as long as its nvmlInit takes (0.02-1 s).
    """
    notes: list[str] = []
    cpus = _cpus(notes)
    total, available = _memory(notes)
    limits = cgroup.limits(_read)
    gpus, gpu_notes = probe_gpus(visible=visible_gpus)
    return NodeReport(
        hostname=os.uname().nodename,
        cpus=cpus,
        cpu_quota=limits.cpu_quota,
        numa_nodes=_numa_nodes(cpus),
        memory_total=total,
        memory_limit=min(total, limits.memory_limit or total),
        memory_available=available if limits.memory_available is None else min(available, limits.memory_available),
        gpus=gpus,
        notes=(*notes, *limits.notes, *gpu_notes),
    )


def parse_meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo -> bytes by name; lines that are no numbers are left out."""
    sizes: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        fields = rest.split()
        if fields and fields[0].isdecimal():
            sizes[name] = int(fields[0]) * (1024 if fields[1:] == ["kB"] else 1)
    return sizes


def parse_cpulist(text: str) -> tuple[int, ...]:
    """The kernel's "0-3,8": cpu numbers in order; what is no number is left out."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        low, _, high = part.partition("-")
        if low.isdecimal() and (high or low).isdecimal():
            cpus.update(range(int(low), int(high or low) + 1))
    return tuple(sorted(cpus))


def _cpus(notes: list[str]) -> tuple[int, ...]:
    try:
        return tuple(sorted(os.sched_getaffinity(0)))
    except OSError as error:
        notes.append(f"cpu affinity unknown ({error}): all cpus of the machine are taken")
        return tuple(range(os.cpu_count() or 1))


def _memory(notes: list[str]) -> tuple[int, int]:
    sizes = parse_meminfo(_read("/proc/meminfo") or "")
    total = sizes.get("MemTotal")
    if total is None:
        notes.append("memory unknown: /proc/meminfo cannot be read; 1 GiB is assumed")
        return _UNKNOWN_MEMORY, _UNKNOWN_MEMORY
    available = sizes.get("MemAvailable")
    if available is None:  # kernels before 3.14, and some sandboxes
        available = sizes.get("MemFree", 0) + sizes.get("Cached", 0)
        notes.append("MemAvailable unknown: free and cached memory are taken as available")
    return total, min(total, available)


def _numa_nodes(cpus: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The usable cpus of each NUMA node that has any; one node of all where the kernel does not say."""
    usable = set(cpus)
    nodes: list[tuple[int, ...]] = []
    try:
        folders = sorted(_NUMA.glob("node[0-9]*"), key=lambda folder: int(folder.name[4:]))
    except (OSError, ValueError):
        folders = []
    for folder in folders:
        mine = tuple(cpu for cpu in parse_cpulist(_read(str(folder / "cpulist")) or "") if cpu in usable)
        if mine:
            nodes.append(mine)
    return tuple(nodes) or (cpus,)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
