"""Look at this machine: the one module that reads /proc and /sys, and asks the GPU driver.

`probe` never raises: what cannot be found out is None or a safe guess, and a note in words. No psutil: what is needed
is a few small files, and its import alone costs more time than reading them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from batchctl.model.node import NodeReport, Pressure
from batchctl.node import cgroup
from batchctl.node.disks import disks_of
from batchctl.node.driver import probe_gpus
from batchctl.node.slurm import slurm_notes

_NUMA = Path("/sys/devices/system/node")
# Where not even /proc/meminfo can be read: small enough that nothing is planned on it.
_UNKNOWN_MEMORY = 1 << 30
_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


def probe(
    *, visible_gpus: str | None, paths: Sequence[str] = (), environ: Mapping[str, str] = _NO_VARIABLES
) -> NodeReport:
    """What this machine is, as seen from this process. `visible_gpus`: CUDA_VISIBLE_DEVICES, None where unset.

    `paths`: whose disks to look at. `environ`: where Slurm says what it gave us. 2-3 ms without a GPU driver; with one,
    as long as a Python and nvmlInit take to start (0.1-1 s), at most driver.START_LIMIT_S.
    """
    notes: list[str] = []
    cgroups = cgroup.find_cgroups(read_text)
    cpuset = parse_cpulist(cgroup.cpuset_of(read_text, cgroups) or "") or None
    cpus = _cpus(notes, cpuset)
    total, available = memory_of_machine(read_text("/proc/meminfo") or "", notes)
    limits = cgroup.limits(read_text, cgroups)
    limit = min(total, limits.memory_limit or total)
    pressure = cgroup.memory_pressure(read_text, cgroups)
    gpus, driver, gpu_notes = probe_gpus(visible=visible_gpus)
    disks, disk_notes = disks_of(paths, read_text)
    numa_nodes, numa_memory = _numa_nodes(cpus)
    hidden = visible_gpus is not None and not visible_gpus.strip()
    slurm = slurm_notes(environ, cpus=len(cpus), memory_limit=limit, gpus=None if hidden else len(gpus))
    return NodeReport(
        hostname=os.uname().nodename,
        cpus=cpus,
        cpu_quota=limits.cpu_quota,
        numa_nodes=numa_nodes,
        memory_total=total,
        memory_limit=limit,
        memory_available=available if limits.memory_available is None else min(available, limits.memory_available),
        gpus=gpus,
        notes=(*notes, *limits.notes, *gpu_notes, *disk_notes, *slurm),
        cpuset=cpuset,
        numa_memory=numa_memory,
        pressure=None if pressure is None else Pressure(*pressure),
        disks=disks,
        driver=driver,
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


def memory_of_machine(meminfo: str, notes: list[str]) -> tuple[int, int]:
    """(total, available) in bytes, of the text of /proc/meminfo; what had to be guessed is added to `notes`."""
    sizes = parse_meminfo(meminfo)
    total = sizes.get("MemTotal")
    if total is None:
        notes.append("memory unknown: /proc/meminfo cannot be read; 1 GiB is assumed")
        return _UNKNOWN_MEMORY, _UNKNOWN_MEMORY
    available = sizes.get("MemAvailable")
    if available is None:  # kernels before 3.14, and some sandboxes
        available = sizes.get("MemFree", 0) + sizes.get("Cached", 0)
        notes.append("MemAvailable unknown: free and cached memory are taken as available")
    return total, min(total, available)


def _cpus(notes: list[str], cpuset: tuple[int, ...] | None) -> tuple[int, ...]:
    try:
        cpus = tuple(sorted(os.sched_getaffinity(0)))
    except OSError as error:
        notes.append(f"cpu affinity unknown ({error}): all cpus of the machine are taken")
        cpus = tuple(range(os.cpu_count() or 1))
    # The kernel has cut our affinity to the cpuset already; sandboxes that play the kernel need not have.
    return tuple(cpu for cpu in cpus if cpuset is None or cpu in cpuset) or cpus


def _numa_nodes(cpus: tuple[int, ...]) -> tuple[tuple[tuple[int, ...], ...], tuple[int | None, ...]]:
    """The usable cpus of each NUMA node that has any, and the bytes of each; one node where the kernel is silent."""
    usable = set(cpus)
    nodes: list[tuple[int, ...]] = []
    memory: list[int | None] = []
    try:
        folders = sorted(_NUMA.glob("node[0-9]*"), key=lambda folder: int(folder.name[4:]))
    except (OSError, ValueError):
        folders = []
    for folder in folders:
        mine = tuple(cpu for cpu in parse_cpulist(read_text(str(folder / "cpulist")) or "") if cpu in usable)
        if mine:
            nodes.append(mine)
            memory.append(_node_memory(read_text(str(folder / "meminfo")) or ""))
    return (tuple(nodes), tuple(memory)) if nodes else ((cpus,), ())


def _node_memory(text: str) -> int | None:
    """A node's meminfo has each line of /proc/meminfo after "Node N "."""
    lines = (line.split(" ", 2)[2] for line in text.splitlines() if line.startswith("Node ") and line.count(" ") > 2)
    return parse_meminfo("\n".join(lines)).get("MemTotal")


def read_text(path: str) -> str | None:
    """Of a small file; None where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
