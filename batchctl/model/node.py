"""The node and the places on it."""

from __future__ import annotations

from collections.abc import Mapping

from batchctl.named_tuple import NamedTuple


class GpuProcess(NamedTuple):
    """A process that holds GPU memory, by the pid that the driver knows it under: the machine's, not a container's."""

    pid: int
    bytes: int | None


class Gpu(NamedTuple):
    """One GPU (or MIG slice) as the driver reports it; bytes; `cpus` are the nearest ones, empty when unknown.

    None is "unknown". A slice has the health (`ecc_errors`, `worn`, `xid`) and the cpus of its card.
    """

    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody calls on a record
    uuid: str
    name: str
    total_bytes: int | None
    free_bytes: int | None
    cpus: tuple[int, ...] = ()
    pci: str = ""  # bus id, "0000:3b:00.0"
    mig: bool = False  # a slice
    mode: str | None = None  # compute mode: default, exclusive_process, prohibited
    processes: tuple[GpuProcess, ...] | None = None
    ecc_errors: int | None = None  # uncorrected, since the driver was loaded
    worn: str | None = None  # retired pages or remapped rows, in words; "" = none
    xid: int | None = None  # the last error of this card in the kernel's log; 0 = the log has none


class Pressure(NamedTuple):
    """PSI of memory, avg10: percent of the last 10 s in which some, or all, tasks waited for memory. The worst of the
    machine and every enclosing cgroup."""

    some: float
    full: float


class DiskSpace(NamedTuple):
    """Where `path` (as given) lies: mount point, file system type ("" = unknown), bytes in all and free to us."""

    path: str
    mount: str
    kind: str
    total: int
    free: int


class NodeReport(NamedTuple):
    """What this machine is and bears. `None` is "unknown"; `notes` says in words what could not be probed and why."""

    hostname: str
    cpus: tuple[int, ...]  # usable logical cpus (affinity, cpuset)
    cpu_quota: float | None  # cgroup limit in cpus; None: no limit
    numa_nodes: tuple[tuple[int, ...], ...]  # cpus of each NUMA node
    memory_total: int  # bytes of the machine
    memory_limit: int  # min of the machine and every enclosing cgroup
    memory_available: int  # bytes available now under that limit
    gpus: tuple[Gpu, ...] = ()
    notes: tuple[str, ...] = ()
    cpuset: tuple[int, ...] | None = None  # of the enclosing cgroup
    numa_memory: tuple[int | None, ...] = ()  # bytes of each of `numa_nodes`; empty: unknown
    pressure: Pressure | None = None
    disks: tuple[DiskSpace, ...] = ()
    driver: str | None = None  # NVIDIA driver version


class Footprint(NamedTuple):
    """What one worker needs at its peak, in bytes: memory (its children included, shared pages in parts: PSS) and GPU
    memory (None: unknown, or no GPU). `source` in words: "assumed", "measured", "remembered"."""

    memory: int
    gpu: int | None = None
    source: str = "measured"


class WorkerMemory(NamedTuple):
    """What a worker and its children hold now, in bytes. `peak` is the most so far, as far as anybody saw; `gpu` is
    None where no driver tells."""

    slot: int
    incarnation: int
    pss: int
    peak: int
    gpu: int | None = None


class Reading(NamedTuple):
    """One look at the memory of the node and of the workers. Bytes; None: this machine does not tell.

    `available` is the least over the machine and every enclosing cgroup; `stalled` is PSI memory "full" avg10, in
    percent of the time; `gpu_free` by uuid.
    """

    available: int
    stalled: float | None = None
    workers: tuple[WorkerMemory, ...] = ()
    gpu_free: Mapping[str, int] = {}


class Slot(NamedTuple):
    """A place for one worker: its cpus (none: it may run anywhere), its thread cap, its GPU (uuid; "" = none is shown;
    None = mask untouched)."""

    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody calls on a record
    cpus: tuple[int, ...]
    threads: int
    gpu: str | None = None


class Sizing(NamedTuple):
    """The slots and, in words, why so many; `gpus` is how many GPUs (or MIG slices) the workers may share.

    `slots[:first]` start at once where the number of workers is automatic; 0: nobody has said, so one does. `bound`:
    why there are no more slots; `scarce`: for want of memory, with cpus left. `warnings`: what a run says at once.
    """

    slots: tuple[Slot, ...]
    reasons: tuple[str, ...]
    gpus: int = 0
    first: int = 0
    bound: str = ""
    scarce: bool = False
    warnings: tuple[str, ...] = ()
