"""Sizing and pinning: tables of machines and wishes."""

from __future__ import annotations

from typing import Any

import pytest

from batchctl.errors import NodeTooSmallError
from batchctl.model.node import Gpu, NodeReport
from batchctl.node.pinning import cpu_sets
from batchctl.node.sizing import GIB, MIB, size_node, usable_cpus

GPU_A = Gpu(0, "GPU-a", "A100", 40 * GIB, 40 * GIB, (4, 5, 6, 7))
GPU_B = Gpu(1, "GPU-b", "A100", 40 * GIB, 40 * GIB, (0, 1, 2, 3))


def node(count: int = 8, *, gib: float = 64, nodes: int = 1, **changes: Any) -> NodeReport:
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


# name: report, workers, threads -> cpus of each slot, threads of each, gpus
CASES: dict[str, tuple[NodeReport, int | None, int | None, list[tuple[int, ...]], int, list[str | None]]] = {
    "one worker per cpu": (node(2), None, None, [(0,), (1,)], 1, [None, None]),
    "threads asked for": (node(8), None, 4, [(0, 1, 2, 3), (4, 5, 6, 7)], 4, [None] * 2),
    "threads that do not divide": (node(8), None, 3, [(0, 1, 2), (3, 4, 5)], 3, [None] * 2),
    "more threads than cpus": (node(2), None, 8, [(0, 1)], 2, [None]),
    "memory binds": (node(8, gib=4), None, None, [(0,), (1,), (2,)], 1, [None] * 3),
    "less than one footprint still bears one": (node(8, gib=0.75), None, None, [(0,)], 1, [None]),
    "explicit N divides the cpus": (node(8), 3, None, [(0, 1), (2, 3), (4, 5)], 2, [None] * 3),
    "explicit N beats memory": (node(4, gib=0.5), 4, None, [(0,), (1,), (2,), (3,)], 1, [None] * 4),
    "more workers than cpus share": (node(2), 5, None, [(0,), (1,), (0,), (1,), (0,)], 1, [None] * 5),
    "explicit N and threads share": (node(4), 3, 2, [(0, 1), (2, 3), (0, 1)], 2, [None] * 3),
    "slots alternate between NUMA nodes": (node(8, nodes=2), 3, 2, [(0, 1), (4, 5), (2, 3)], 2, [None] * 3),
    "a remainder spans nodes, no slot is smaller": (
        node(6, nodes=2), 3, None, [(0, 1), (3, 4), (2, 5)], 2, [None] * 3
    ),
    "a quota limits the number, the sets spread": (
        node(8, cpu_quota=2.0), None, None, [(0, 1, 2, 3), (4, 5, 6, 7)], 1, [None] * 2
    ),
    "half a cpu is one worker": (node(2, cpu_quota=0.5), None, None, [(0, 1)], 1, [None]),
    "one worker per GPU, near it": (
        node(8, gpus=(GPU_A, GPU_B)), None, None, [(4, 5, 6, 7), (0, 1, 2, 3)], 4, ["GPU-a", "GPU-b"]
    ),
    "two workers per GPU when asked": (
        node(8, gpus=(GPU_A, GPU_B)), 4, None, [(4, 5), (0, 1), (6, 7), (2, 3)], 2, ["GPU-a", "GPU-b"] * 2
    ),
    "more GPUs than cpus": (node(1, gpus=(GPU_A, GPU_B)), None, None, [(0,)], 1, ["GPU-a"]),
    "affinity with holes": (node(8, cpus=(1, 3, 5, 7)), None, 2, [(1, 3), (5, 7)], 2, [None] * 2),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_slots(case: str) -> None:
    report, workers, threads, cpus, cap, gpus = CASES[case]
    slots = size_node(report, workers=workers, threads=threads).slots
    assert [slot.cpus for slot in slots] == cpus
    assert [slot.gpu for slot in slots] == gpus
    assert {slot.threads for slot in slots} == {cap}
    assert [slot.index for slot in slots] == list(range(len(slots)))


# name: report, workers, threads -> a phrase among the reasons (None: no warning at all)
REASONS: dict[str, tuple[NodeReport, int | None, int | None, str | None]] = {
    "what binds is said": (node(8, gib=4), None, None, "3 by memory: (4.0 GiB available - 0.2 GiB reserve)"),
    "the assumption is said": (node(8), None, None, "1.0 GiB assumed per worker"),
    "the quota is said": (node(8, cpu_quota=2.5), None, None, "3 by cpus: 3 usable, quota 2.5"),
    "GPUs are said": (node(8, gpus=(GPU_A,)), None, None, "1 by GPUs: 1, one worker each"),
    "too many workers": (node(2), 5, None, "warning: 5 workers of 1 cpu share 2 usable cpus"),
    "too much memory": (node(8, gib=4), 8, None, "warning: 8 workers may not fit"),
    "little memory": (node(8, gib=0.75), None, None, "warning: less than 1.0 GiB"),
    "too many threads": (node(2), None, 8, "warning: 8 threads"),
    "shared GPUs": (node(8, gpus=(GPU_A,)), 2, None, "2 workers share 1 GPUs"),
    "no warning": (node(8), 8, None, None),
}


@pytest.mark.parametrize("case", REASONS)
def test_reasons(case: str) -> None:
    report, workers, threads, phrase = REASONS[case]
    told = "\n".join(size_node(report, workers=workers, threads=threads).reasons)
    assert phrase in told if phrase else "warning" not in told


def test_a_node_without_memory_for_one_is_refused_and_can_be_overruled() -> None:
    tiny = node(8, gib=8, memory_available=500 * MIB)
    with pytest.raises(NodeTooSmallError) as caught:
        size_node(tiny, workers=None, threads=None)
    assert "--workers 1" in caught.value.remedy
    assert len(size_node(tiny, workers=1, threads=None).slots) == 1


@pytest.mark.parametrize(("quota", "expected"), [(None, 4), (0.1, 1), (1.0, 1), (1.5, 2), (4.0, 4), (64.0, 4)])
def test_usable_cpus(quota: float | None, expected: int) -> None:
    assert usable_cpus(4, quota) == expected


def test_cpus_that_no_numa_node_claims_are_used_and_none_twice() -> None:
    assert cpu_sets((0, 1, 2, 3), [(0,), (0, 1)], size=1) == [(0,), (1,), (2,), (3,)]
    assert cpu_sets((0, 1), [], size=4) == [(0, 1)]
