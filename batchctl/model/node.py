"""The node and the places on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU (or MIG slice) as the driver reports it; bytes; `cpus` are the nearest ones, empty when unknown."""

    index: int
    uuid: str
    name: str
    total_bytes: int | None
    free_bytes: int | None
    cpus: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What this machine is and bears. `None` is "unknown"; `notes` says in words what could not be probed and why."""

    hostname: str
    cpus: tuple[int, ...]  # usable logical cpus (affinity)
    cpu_quota: float | None  # cgroup limit in cpus; None: no limit
    numa_nodes: tuple[tuple[int, ...], ...]  # cpus of each NUMA node
    memory_total: int  # bytes of the machine
    memory_limit: int  # min of the machine and every enclosing cgroup
    memory_available: int  # bytes available now under that limit
    gpus: tuple[Gpu, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one worker: its cpus, its thread cap, its GPU (uuid; "" = none is shown; None = mask untouched)."""

    index: int
    cpus: tuple[int, ...]
    threads: int
    gpu: str | None = None


@dataclass(frozen=True, slots=True)
class Sizing:
    """The slots and, in words, why so many; `gpus` is how many GPUs (or MIG slices) the workers may share."""

    slots: tuple[Slot, ...]
    reasons: tuple[str, ...]
    gpus: int = 0
