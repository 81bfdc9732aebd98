"""Machines and wishes for the sizing table: what is given, by name. What is expected is in test_sizing.py."""

from __future__ import annotations

from typing import Any

from batchctl.model.job import Pin
from batchctl.model.node import Footprint, Gpu, NodeReport

MIB, GIB = 1 << 20, 1 << 30


def node(count: int = 8, *, gib: float = 64, nodes: int = 1, **changes: Any) -> NodeReport:
    """`count` cpus on `nodes` NUMA nodes, `gib` of memory, all of it available."""
    each = count // nodes
    fields: dict[str, Any] = {
        "hostname": "h",
        "cpus": tuple(range(count)),
        "cpu_quota": None,
        "numa_nodes": tuple(tuple(range(n * each, (n + 1) * each)) for n in range(nodes)),
        "memory_total": int(gib * GIB),
        "memory_limit": int(gib * GIB),
        "memory_available": int(gib * GIB),
    }
    return NodeReport(**fields | changes)


def cards(
    count: int, *, free: float | None = 40, near: list[tuple[int, ...]] | None = None, **more: Any
) -> tuple[Gpu, ...]:
    """`count` GPUs of 40 GiB; `near`: the cpus of each."""
    room = None if free is None else int(free * GIB)
    return tuple(
        Gpu(n, f"GPU-{n}", "A100", 40 * GIB, room, () if near is None else near[n], **more) for n in range(count)
    )


GPU_A, GPU_B = cards(2, near=[(4, 5, 6, 7), (0, 1, 2, 3)])
EIGHT = cards(8, near=[tuple(range(32))] * 4 + [tuple(range(32, 64))] * 4)
SLICES = tuple(Gpu(0, f"MIG-{n}", "A100 1g.5gb", 5 * GIB, 5 * GIB, mig=True) for n in range(7))


def needs(memory: float, gpu: float | None = None, source: str = "remembered") -> Footprint:
    """A footprint in GiB."""
    return Footprint(int(memory * GIB), None if gpu is None else int(gpu * GIB), source)


# name: the report, what is wished beside workers = None and threads = None
MACHINES: dict[str, tuple[NodeReport, dict[str, Any]]] = {
    # cpus
    "one cpu": (node(1), {}),
    "one worker per cpu": (node(2), {}),
    "threads asked for": (node(8), {"threads": 4}),
    "threads that do not divide": (node(8), {"threads": 3}),
    "more threads than cpus": (node(2), {"threads": 8}),
    "affinity with holes": (node(8, cpus=(1, 3, 5, 7)), {"threads": 2}),
    "slots alternate between NUMA nodes": (node(8, nodes=2), {"threads": 2}),
    "a node too small for a slot is spanned last": (node(6, nodes=2), {"threads": 2}),
    "a slot larger than a node": (node(6, nodes=2), {"threads": 4}),
    # quota
    "a quota limits the number, the sets spread": (node(8, cpu_quota=2.0), {}),
    "half a cpu is one worker": (node(2, cpu_quota=0.5), {}),
    "a quota does not spread over nodes": (node(8, nodes=2, cpu_quota=1.0), {}),
    "a quota of more than there is": (node(2, cpu_quota=64.0), {}),
    "a quota and threads": (node(8, cpu_quota=4.5), {"threads": 2}),
    # memory, nothing known
    "a roomy machine starts several": (node(8, gib=16), {}),
    "a tight machine measures one first": (node(8, gib=4), {}),
    "a roomy machine starts all": (node(4, gib=64), {}),
    "a large model is a larger assumption": (node(8, gib=64), {"model_bytes": 4 * GIB}),
    "less than one footprint still bears one": (node(8, gib=0.75), {}),
    "a container's limit": (node(8, gib=4, memory_total=256 * GIB), {}),
    "little is available now": (node(8, gib=64, memory_available=6 * GIB), {}),
    "a reserve asked for": (node(8, gib=16), {"reserve": 8 * GIB}),
    "all at once: as many as assumed": (node(8, gib=4), {"grown": False}),
    "all at once: a large model": (node(8, gib=64), {"grown": False, "model_bytes": 10 * GIB}),
    # memory, footprint known
    "as many as fit": (node(8, gib=17), {"reserve": int(2.8 * GIB), "footprint": needs(4.1)}),
    "the next one would not even fit without reserve": (node(8, gib=8), {"footprint": needs(5)}),
    "a small footprint leaves it to the cpus": (node(4, gib=8), {"footprint": needs(0.1)}),
    "a footprint that does not fit": (node(4, gib=4), {"footprint": needs(6)}),
    "a footprint in a container": (node(64, gib=8, nodes=2, memory_total=512 * GIB), {"footprint": needs(1.2)}),
    "1 GiB bears one of 600 MiB": (
        node(2, gib=1, memory_total=24 * GIB),
        {"footprint": needs(0.59, source="measured")},
    ),
    # explicit
    "explicit N divides the cpus": (node(8), {"workers": 3}),
    "explicit N beats memory": (node(4, gib=0.5), {"workers": 4}),
    "more workers than cpus share": (node(2), {"workers": 5}),
    "explicit N and threads share": (node(4), {"workers": 3, "threads": 2}),
    "explicit N where a known footprint says no": (node(4, gib=8), {"workers": 4, "footprint": needs(3)}),
    "explicit N under a quota": (node(8, cpu_quota=2.0), {"workers": 4}),
    "explicit N that fits": (node(8, gib=64), {"workers": 8, "footprint": needs(2)}),
    # GPUs
    "GPUs are shared, near": (node(8, gpus=(GPU_A, GPU_B)), {}),
    "GPUs, all at once": (node(8, gpus=(GPU_A, GPU_B)), {"grown": False}),
    "GPU bytes known": (node(8, gpus=(GPU_A, GPU_B)), {"footprint": needs(2, 15)}),
    "one GPU is half full": (node(8, gpus=(GPU_A, cards(2, free=20)[1])), {"footprint": needs(2, 12)}),
    "one GPU is full": (node(8, gpus=(GPU_A, cards(2, free=0)[1])), {"footprint": needs(2, 30)}),
    "no GPU has room": (node(8, gpus=cards(2, free=4)), {"footprint": needs(2, 30)}),
    "GPU bytes known, free unknown": (node(8, gpus=cards(1, free=None)), {"footprint": needs(2, 10)}),
    "memory known, GPU bytes not": (node(8, gib=32, gpus=cards(2)), {"footprint": needs(6)}),
    "memory binds before GPUs": (node(16, gib=8, gpus=cards(1)), {"footprint": needs(4, 2)}),
    "eight GPUs on two NUMA nodes": (node(64, gib=512, nodes=2, gpus=EIGHT), {}),
    "eight GPUs on a small container": (node(4, gib=16, gpus=EIGHT), {}),
    "more GPUs than cpus": (node(1, gpus=(GPU_A, GPU_B)), {}),
    "MIG slices": (node(8, gib=64, gpus=SLICES), {}),
    "threads asked for beside GPUs": (node(8, gpus=(GPU_A, GPU_B)), {"threads": 2}),
    "more threads than the cpus of a GPU": (node(8, gpus=cards(4)), {"threads": 4}),
    "a GPU for one process only": (node(8, gpus=cards(2, mode="exclusive_process")), {}),
    "a GPU that is closed": (node(8, gpus=(GPU_A, *cards(2, mode="prohibited")[1:])), {}),
    "explicit N on one GPU": (node(8, gpus=(GPU_A,)), {"workers": 2, "footprint": needs(2, 25)}),
    "explicit N on two GPUs": (node(8, gpus=(GPU_A, GPU_B)), {"workers": 4}),
    "explicit N on an exclusive GPU": (node(8, gpus=cards(1, mode="exclusive_process")), {"workers": 2}),
    # pinning
    "pin none": (node(4), {"threads": 2, "pin": Pin.NONE}),
    "pin numa": (node(8, nodes=2), {"threads": 2, "pin": Pin.NUMA}),
    "pin numa, a set that spans": (node(6, nodes=2), {"threads": 2, "pin": Pin.NUMA}),
    "pin numa near GPUs": (node(8, nodes=2, gpus=(GPU_A, GPU_B)), {"pin": Pin.NUMA, "grown": False}),
}
