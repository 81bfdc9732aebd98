"""Sizing and pinning: a table of machines and wishes, and what holds for all of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchctl.errors import NodeTooSmallError
from batchctl.model.job import Pin
from batchctl.model.node import Footprint, Gpu, NodeReport, Sizing
from batchctl.node.gpu_places import gpu_reserve
from batchctl.node.pinning import cpu_sets, widest
from batchctl.node.render import cpulist
from batchctl.node.sizing import MINIMUM_FOOTPRINT, reserve_of, size_node, usable_cpus
from tests.unit.node.machines import GIB, MACHINES, MIB, node

# By name of the machine: "FIRST of ALL: cpus/threads@GPU of each slot", then the reasons.
TABLE: dict[str, list[str]] = {
    "one cpu": [
        "1 of 1: 0/1",
        "1 worker: cpus 1 / 1 each",
        "1 cpu per worker: the default",
    ],
    "one worker per cpu": [
        "2 of 2: 0/1 1/1",
        "at most 2 workers: cpus 2 / 1 each",
        "1 cpu per worker: the default",
    ],
    "threads asked for": [
        "2 of 2: 0-3/4 4-7/4",
        "at most 2 workers: cpus 8 / 4 each",
        "4 cpus per worker: as asked",
    ],
    "threads that do not divide": [
        "2 of 2: 0-2/3 3-5/3",
        "at most 2 workers: cpus 8 / 3 each",
        "3 cpus per worker: as asked",
    ],
    "more threads than cpus": [
        "1 of 1: 0-1/2",
        "warning: 8 threads per worker were asked for, 2 is what this node has",
        "1 worker: cpus 2 / 2 each",
        "2 cpus per worker: as asked",
    ],
    "affinity with holes": [
        "2 of 2: 1,3/2 5,7/2",
        "at most 2 workers: cpus 4 / 2 each",
        "2 cpus per worker: as asked",
    ],
    "slots alternate between NUMA nodes": [
        "4 of 4: 0-1/2 4-5/2 2-3/2 6-7/2",
        "at most 4 workers: cpus 8 / 2 each",
        "2 cpus per worker: as asked",
    ],
    "a node too small for a slot is spanned last": [
        "3 of 3: 0-1/2 3-4/2 2,5/2",
        "at most 3 workers: cpus 6 / 2 each",
        "2 cpus per worker: as asked",
    ],
    "a slot larger than a node": [
        "1 of 1: 0-3/4",
        "1 worker: cpus 6 / 4 each",
        "4 cpus per worker: as asked",
    ],
    "a quota limits the number, the sets spread": [
        "2 of 2: 0-3/1 4-7/1",
        "at most 2 workers: cpus 2 (quota 2) / 1 each",
        "1 cpu per worker: the default",
    ],
    "half a cpu is one worker": [
        "1 of 1: 0-1/1",
        "1 worker: cpus 1 (quota 0.5) / 1 each",
        "1 cpu per worker: the default",
    ],
    "a quota does not spread over nodes": [
        "1 of 1: 0-3/1",
        "1 worker: cpus 1 (quota 1) / 1 each",
        "1 cpu per worker: the default",
    ],
    "a quota of more than there is": [
        "2 of 2: 0/1 1/1",
        "at most 2 workers: cpus 2 (quota 64) / 1 each",
        "1 cpu per worker: the default",
    ],
    "a quota and threads": [
        "2 of 2: 0-3/2 4-7/2",
        "at most 2 workers: cpus 5 (quota 4.5) / 2 each",
        "2 cpus per worker: as asked",
    ],
    "a roomy machine starts several": [
        "3 of 8: 0/1 1/1 2/1 3/1 4/1 5/1 6/1 7/1",
        "at most 8 workers: cpus 8 / 1 each",
        "1 cpu per worker: the default",
        "3 start at once (15.2 GiB of memory / 4 x 1.0 GiB assumed), the others as workers are measured",
    ],
    "a tight machine measures one first": [
        "1 of 8: 0/1 1/1 2/1 3/1 4/1 5/1 6/1 7/1",
        "at most 8 workers: cpus 8 / 1 each",
        "1 cpu per worker: the default",
        "1 starts at once (3.8 GiB of memory / 4 x 1.0 GiB assumed), the others as workers are measured",
    ],
    "a roomy machine starts all": [
        "4 of 4: 0/1 1/1 2/1 3/1",
        "at most 4 workers: cpus 4 / 1 each",
        "1 cpu per worker: the default",
    ],
    "a large model is a larger assumption": [
        "1 of 8: 0/1 1/1 2/1 3/1 4/1 5/1 6/1 7/1",
        "at most 8 workers: cpus 8 / 1 each",
        "1 cpu per worker: the default",
        "1 starts at once (62.0 GiB of memory / 4 x 8.0 GiB assumed), the others as workers are measured",
    ],
    "less than one footprint still bears one": [
        "1 of 8: 0/1 1/1 2/1 3/1 4/1 5/1 6/1 7/1",
        "at most 8 workers: cpus 8 / 1 each",
        "warning: 512 MiB of memory is free for the one worker, 1.0 GiB is assumed",
        "1 cpu per worker: the default",
        "1 starts at once (512 MiB of memory / 4 x 1.0 GiB assumed), the others as workers are measured",
    ],
    "a container's limit": [
        "1 of 8: 0/1 1/1 2/1 3/1 4/1 5/1 6/1 7/1",
        "at most 8 workers: cpus 8 / 1 each",
        "1 cpu per worker: the default",
        "1 starts at once (3.8 GiB of memory / 4 x 1.0 GiB assumed), the others as workers are measured",
    ],
    "little is available now": [
        "1 of 8: 0/1 1/1 2/1 3/1 4/1 5/1 6/1 7/1",
        "at most 8 workers: cpus 8 / 1 each",
        "1 cpu per worker: the default",
        "1 starts at once (4.0 GiB of memory / 4 x 1.0 GiB assumed), the others as workers are measured",
    ],
    "a reserve asked for": [
        "2 of 8: 0/1 1/1 2/1 3/1 4/1 5/1 6/1 7/1",
        "at most 8 workers: cpus 8 / 1 each",
        "1 cpu per worker: the default",
        "2 start at once (8.0 GiB of memory / 4 x 1.0 GiB assumed), the others as workers are measured",
    ],
    "all at once: as many as assumed": [
        "3 of 3: 0/1 1/1 2/1",
        "3 workers: memory 3.8 GiB / 1.0 GiB each (assumed); a 4th would leave 0 MiB",
        "  8 by cpus 8 / 1 each",
        "1 cpu per worker: the default",
    ],
    "all at once: a large model": [
        "3 of 3: 0/1 1/1 2/1",
        "3 workers: memory 62.0 GiB / 20.0 GiB each (assumed); a 4th would lack 16.0 GiB",
        "  8 by cpus 8 / 1 each",
        "1 cpu per worker: the default",
    ],
    "as many as fit": [
        "3 of 3: 0/1 1/1 2/1",
        "3 workers: memory 14.2 GiB / 4.1 GiB each (remembered); a 4th would leave 614 MiB",
        "  8 by cpus 8 / 1 each",
        "1 cpu per worker: the default",
    ],
    "the next one would not even fit without reserve": [
        "1 of 1: 0/1",
        "1 worker: memory 7.6 GiB / 5.0 GiB each (remembered); a 2nd would lack 2.0 GiB",
        "  8 by cpus 8 / 1 each",
        "1 cpu per worker: the default",
    ],
    "a small footprint leaves it to the cpus": [
        "4 of 4: 0/1 1/1 2/1 3/1",
        "4 workers: cpus 4 / 1 each",
        "  76 by memory 7.6 GiB / 102 MiB each (remembered)",
        "1 cpu per worker: the default",
    ],
    "a footprint that does not fit": [
        "1 of 1: 0/1",
        "1 worker: memory 3.8 GiB / 6.0 GiB each (remembered)",
        "  4 by cpus 4 / 1 each",
        "warning: 3.8 GiB of memory is free for the one worker, 6.0 GiB is remembered",
        "1 cpu per worker: the default",
    ],
    "a footprint in a container": [
        "6 of 6: 0/1 32/1 1/1 33/1 2/1 34/1",
        "6 workers: memory 7.6 GiB / 1.2 GiB each (remembered); a 7th would lack 410 MiB",
        "  64 by cpus 64 / 1 each",
        "1 cpu per worker: the default",
    ],
    "1 GiB bears one of 600 MiB": [
        "1 of 1: 0/1",
        "1 worker: memory 768 MiB / 604 MiB each (measured); a 2nd would lack 184 MiB",
        "  2 by cpus 2 / 1 each",
        "1 cpu per worker: the default",
    ],
    "explicit N divides the cpus": [
        "3 of 3: 0-1/2 2-3/2 4-5/2",
        "3 workers: as asked",
        "2 cpus per worker: 8 cpus / 3 workers",
    ],
    "explicit N beats memory": [
        "4 of 4: 0/1 1/1 2/1 3/1",
        "4 workers: as asked",
        "1 cpu per worker: 4 cpus / 4 workers",
        "warning: 4 workers may not fit: 256 MiB of memory is free for them, 1.0 GiB each is assumed",
    ],
    "more workers than cpus share": [
        "5 of 5: 0/1 1/1 0/1 1/1 0/1",
        "5 workers: as asked",
        "1 cpu per worker: 2 cpus / 5 workers",
        "warning: 5 workers of 1 cpu share 2 usable cpus, and each will be slower",
    ],
    "explicit N and threads share": [
        "3 of 3: 0-1/2 2-3/2 0-1/2",
        "3 workers: as asked",
        "2 cpus per worker: as asked",
        "warning: 3 workers of 2 cpus share 4 usable cpus, and each will be slower",
    ],
    "explicit N where a known footprint says no": [
        "4 of 4: 0/1 1/1 2/1 3/1",
        "4 workers: as asked",
        "1 cpu per worker: 4 cpus / 4 workers",
        "warning: 4 workers will not fit: 7.6 GiB of memory is free for them, 3.0 GiB each is remembered",
    ],
    "explicit N under a quota": [
        "4 of 4: 0-1/1 2-3/1 4-5/1 6-7/1",
        "4 workers: as asked",
        "1 cpu per worker: 2 cpus / 4 workers",
        "warning: 4 workers of 1 cpu share 2 usable cpus, and each will be slower",
    ],
    "explicit N that fits": [
        "8 of 8: 0/1 1/1 2/1 3/1 4/1 5/1 6/1 7/1",
        "8 workers: as asked",
        "1 cpu per worker: 8 cpus / 8 workers",
    ],
    "GPUs are shared, near": [
        "2 of 8: 4-7/4@GPU-0 0-3/4@GPU-1 4-7/1@GPU-0 0-3/1@GPU-1 4-7/1@GPU-0 0-3/1@GPU-1 4-7/1@GPU-0 0-3/1@GPU-1",
        "at most 8 workers: cpus 8 / 1 each",
        "  8 by GPUs 2, 4 each",
        "4 cpus per GPU, which its workers share; 1 thread for all but the first",
        "2 start at once (one per GPU), the others as workers are measured",
    ],
    "GPUs, all at once": [
        "2 of 2: 4-7/4@GPU-0 0-3/4@GPU-1",
        "2 workers: GPUs 2, 1 each",
        "  8 by cpus 8 / 1 each",
        "  62 by memory 62.0 GiB / 1.0 GiB each (assumed)",
        "4 cpus per worker: the cpus of its GPU",
    ],
    "GPU bytes known": [
        "4 of 4: 4-7/4@GPU-0 0-3/4@GPU-1 4-7/2@GPU-0 0-3/2@GPU-1",
        "4 workers: GPUs 2, 2 each (GPU memory less reserve / 15.0 GiB remembered, 4 at most)",
        "  8 by cpus 8 / 1 each",
        "  31 by memory 62.0 GiB / 2.0 GiB each (remembered)",
        "4 cpus per GPU, which its workers share; 2 threads for all but the first",
    ],
    "one GPU is half full": [
        "4 of 4: 4-7/4@GPU-0 0-3/4@GPU-1 4-7/1@GPU-0 4-7/1@GPU-0",
        "4 workers: GPUs 2, 3 + 1 (GPU memory less reserve / 12.0 GiB remembered, 4 at most)",
        "  8 by cpus 8 / 1 each",
        "  31 by memory 62.0 GiB / 2.0 GiB each (remembered)",
        "4 cpus per GPU, which its workers share; 1 thread for all but the first",
    ],
    "one GPU is full": [
        "1 of 1: 4-7/4@GPU-0",
        "1 worker: GPUs 1 of 2, 1 each (GPU memory less reserve / 30.0 GiB remembered, 4 at most)",
        "  8 by cpus 8 / 1 each",
        "  31 by memory 62.0 GiB / 2.0 GiB each (remembered)",
        "4 cpus per worker: the cpus of its GPU",
    ],
    "no GPU has room": [
        "1 of 1: 0-3/4@GPU-0",
        "1 worker: GPUs 1 of 2, 1 each (GPU memory less reserve / 30.0 GiB remembered, 4 at most)",
        "  8 by cpus 8 / 1 each",
        "  31 by memory 62.0 GiB / 2.0 GiB each (remembered)",
        "warning: no GPU has room for a worker: 4.0 GiB is free on GPU 0, 30.0 GiB is remembered",
        "4 cpus per worker: the cpus of its GPU",
    ],
    "GPU bytes known, free unknown": [
        "1 of 1: 0-7/8@GPU-0",
        "1 worker: GPUs 1, 1 each (GPU memory less reserve / 10.0 GiB remembered, 4 at most)",
        "  8 by cpus 8 / 1 each",
        "  31 by memory 62.0 GiB / 2.0 GiB each (remembered)",
        "8 cpus per worker: the cpus of its GPU",
    ],
    "memory known, GPU bytes not": [
        "2 of 5: 0-3/4@GPU-0 4-7/4@GPU-1 0-3/1@GPU-0 4-7/2@GPU-1 0-3/1@GPU-0",
        "5 workers: memory 30.4 GiB / 6.0 GiB each (remembered); a 6th would lack 4.0 GiB",
        "  8 by cpus 8 / 1 each",
        "  8 by GPUs 2, 4 each",
        "4 cpus per GPU, which its workers share; 1 or 2 threads for all but the first",
        "2 start at once (GPU memory is measured first), the others as workers are measured",
    ],
    "memory binds before GPUs": [
        "1 of 1: 0-15/16@GPU-0",
        "1 worker: memory 7.6 GiB / 4.0 GiB each (remembered); a 2nd would leave 0 MiB",
        "  4 by GPUs 1, 4 each (GPU memory less reserve / 2.0 GiB remembered, 4 at most)",
        "  16 by cpus 16 / 1 each",
        "16 cpus per worker: the cpus of its GPU",
    ],
    "eight GPUs on two NUMA nodes": [
        (
            "8 of 32: 0-7/8@GPU-0 8-15/8@GPU-1 16-23/8@GPU-2 24-31/8@GPU-3 32-39/8@GPU-4 40-47/8@GPU-5 "
            "48-55/8@GPU-6 56-63/8@GPU-7 0-7/2@GPU-0 8-15/2@GPU-1 16-23/2@GPU-2 24-31/2@GPU-3 32-39/2@GPU-4 "
            "40-47/2@GPU-5 48-55/2@GPU-6 56-63/2@GPU-7 0-7/2@GPU-0 8-15/2@GPU-1 16-23/2@GPU-2 24-31/2@GPU-3 "
            "32-39/2@GPU-4 40-47/2@GPU-5 48-55/2@GPU-6 56-63/2@GPU-7 0-7/2@GPU-0 8-15/2@GPU-1 16-23/2@GPU-2 "
            "24-31/2@GPU-3 32-39/2@GPU-4 40-47/2@GPU-5 48-55/2@GPU-6 56-63/2@GPU-7"
        ),
        "at most 32 workers: GPUs 8, 4 each",
        "  64 by cpus 64 / 1 each",
        "8 cpus per GPU, which its workers share; 2 threads for all but the first",
        "8 start at once (one per GPU), the others as workers are measured",
    ],
    "eight GPUs on a small container": [
        "3 of 4: 0/1@GPU-0 1/1@GPU-1 2/1@GPU-2 3/1@GPU-3",
        "at most 4 workers: cpus 4 / 1 each",
        "  4 by GPUs 4 of 8, 1 each",
        "1 cpu per worker: the cpus of its GPU",
        "3 start at once (15.2 GiB of memory / 4 x 1.0 GiB assumed), the others as workers are measured",
    ],
    "more GPUs than cpus": [
        "1 of 1: 0/1@GPU-0",
        "1 worker: cpus 1 / 1 each",
        "  1 by GPUs 1 of 2, 1 each",
        "1 cpu per worker: the cpus of its GPU",
    ],
    "MIG slices": [
        "7 of 7: 0/1@MIG-0 1/1@MIG-1 2/1@MIG-2 3/1@MIG-3 4/1@MIG-4 5/1@MIG-5 6/1@MIG-6",
        "at most 7 workers: GPUs 7, 1 each",
        "  8 by cpus 8 / 1 each",
        "1 cpu per worker: the cpus of its GPU",
    ],
    "threads asked for beside GPUs": [
        "2 of 4: 4-7/2@GPU-0 0-3/2@GPU-1 4-7/2@GPU-0 0-3/2@GPU-1",
        "at most 4 workers: cpus 8 / 2 each",
        "  4 by GPUs 2, 2 each",
        "2 cpus per worker: as asked",
        "2 start at once (one per GPU), the others as workers are measured",
    ],
    "more threads than the cpus of a GPU": [
        "2 of 2: 0-3/4@GPU-0 4-7/4@GPU-1",
        "at most 2 workers: cpus 8 / 4 each",
        "  2 by GPUs 2 of 4, 1 each",
        "4 cpus per worker: as asked",
    ],
    "a GPU for one process only": [
        "2 of 2: 0-3/4@GPU-0 4-7/4@GPU-1",
        "at most 2 workers: GPUs 2, 1 each",
        "  8 by cpus 8 / 1 each",
        "4 cpus per worker: the cpus of its GPU",
    ],
    "a GPU that is closed": [
        "1 of 4: 0-7/8@GPU-0 0-7/2@GPU-0 0-7/2@GPU-0 0-7/2@GPU-0",
        "GPU 1 (GPU-1) is left out: its compute mode is prohibited",
        "at most 4 workers: GPUs 1, 4 each",
        "  8 by cpus 8 / 1 each",
        "8 cpus per GPU, which its workers share; 2 threads for all but the first",
        "1 starts at once (one per GPU), the others as workers are measured",
    ],
    "explicit N on one GPU": [
        "2 of 2: 4-7/4@GPU-0 0-3/4@GPU-0",
        "2 workers: as asked",
        "4 cpus per worker: 8 cpus / 2 workers",
        "warning: 2 workers will not fit on GPU 0: 39.0 GiB is free for them, 25.0 GiB each is remembered",
        "2 workers share 1 GPU, in turn",
    ],
    "explicit N on two GPUs": [
        "4 of 4: 4-5/2@GPU-0 0-1/2@GPU-1 6-7/2@GPU-0 2-3/2@GPU-1",
        "4 workers: as asked",
        "2 cpus per worker: 8 cpus / 4 workers",
        "4 workers share 2 GPUs, in turn",
    ],
    "explicit N on an exclusive GPU": [
        "2 of 2: 0-3/4@GPU-0 4-7/4@GPU-0",
        "2 workers: as asked",
        "4 cpus per worker: 8 cpus / 2 workers",
        "warning: 2 workers share GPU 0, whose compute mode admits one process",
        "2 workers share 1 GPU, in turn",
    ],
    "pin none": [
        "2 of 2: any/2 any/2",
        "at most 2 workers: cpus 4 / 2 each",
        "2 cpus per worker: as asked",
    ],
    "pin numa": [
        "4 of 4: 0-3/2 4-7/2 0-3/2 4-7/2",
        "at most 4 workers: cpus 8 / 2 each",
        "2 cpus per worker: as asked",
    ],
    "pin numa, a set that spans": [
        "3 of 3: 0-2/2 3-5/2 0-5/2",
        "at most 3 workers: cpus 6 / 2 each",
        "2 cpus per worker: as asked",
    ],
    "pin numa near GPUs": [
        "2 of 2: 4-7/4@GPU-0 0-3/4@GPU-1",
        "2 workers: GPUs 2, 1 each",
        "  8 by cpus 8 / 1 each",
        "  62 by memory 62.0 GiB / 1.0 GiB each (assumed)",
        "4 cpus per worker: the cpus of its GPU",
    ],
}


def sized(report: NodeReport, **wishes: Any) -> Sizing:
    return size_node(report, **{"workers": None, "threads": None} | wishes)


@pytest.mark.parametrize("case", MACHINES)
def test_sizing(case: str) -> None:
    report, wishes = MACHINES[case]
    sizing = sized(report, **wishes)
    slots = [
        f"{cpulist(slot.cpus) or 'any'}/{slot.threads}" + ("" if slot.gpu is None else f"@{slot.gpu}")
        for slot in sizing.slots
    ]
    assert [f"{sizing.first} of {len(slots)}: {' '.join(slots)}", *sizing.reasons] == TABLE[case]
    assert [slot.index for slot in sizing.slots] == list(range(len(slots)))


# name: cpus, wishes -> bound, scarce, warnings
REMEMBERED = Footprint(10 * GIB, None, "remembered")
TOLD: dict[str, tuple[int, dict[str, Any], str, bool, int]] = {
    "cpus": (2, {}, "cpus 2 / 1 each", False, 0),
    "memory": (64, {"footprint": REMEMBERED}, "memory", True, 0),
    "as asked": (2, {"workers": 4}, "as asked", False, 0),
    "as asked, by assumption too many": (2, {"workers": 500}, "as asked", False, 0),
    "as asked, known to be too many": (2, {"workers": 500, "footprint": REMEMBERED}, "as asked", False, 1),
    "known to be too large": (
        2, {"footprint": Footprint(900 * GIB, None, "remembered")}, "memory", True, 1
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TOLD)
def test_what_binds_and_what_a_run_warns_of(case: str) -> None:
    cpus, wishes, bound, scarce, warnings = TOLD[case]
    sizing = sized(node(cpus), **wishes)
    assert (sizing.bound.startswith(bound), sizing.scarce, len(sizing.warnings)) == (True, scarce, warnings)
    assert all(f"warning: {warning}" in sizing.reasons for warning in sizing.warnings)


def test_the_table_is_whole() -> None:
    assert TABLE.keys() == MACHINES.keys()
    assert len(TABLE) >= 40


def test_a_node_without_memory_for_one_is_refused_and_can_be_overruled() -> None:
    tiny = node(8, gib=8, memory_available=500 * MIB)
    with pytest.raises(NodeTooSmallError) as caught:
        sized(tiny)
    assert "--workers 1" in caught.value.remedy
    assert len(sized(tiny, workers=1).slots) == 1
    assert len(sized(tiny, reserve=0).slots) == 8


@pytest.mark.parametrize(("quota", "expected"), [(None, 4), (0.1, 1), (1.0, 1), (1.5, 2), (4.0, 4), (64.0, 4)])
def test_usable_cpus(quota: float | None, expected: int) -> None:
    assert usable_cpus(4, quota) == expected


@pytest.mark.parametrize(
    ("limit", "asked", "expected"),
    [(GIB, None, 256 * MIB), (20 * GIB, None, GIB), (500 * GIB, None, 2 * GIB), (500 * GIB, 7, 7), (GIB, 0, 0)],
)
def test_reserve(limit: int, asked: int | None, expected: int) -> None:
    assert reserve_of(limit, asked) == expected


def test_cpus_that_no_numa_node_claims_are_used_and_none_twice() -> None:
    assert cpu_sets((0, 1, 2, 3), [(0,), (0, 1)], size=1) == [(0,), (1,), (2,), (3,)]
    assert cpu_sets((0, 1), [], size=4) == [(0, 1)]


@pytest.mark.parametrize(
    ("count", "least", "expected"), [(1, 1, 4), (2, 1, 4), (3, 1, 2), (4, 1, 2), (8, 1, 1), (1, 6, 6), (9, 1, 1)]
)
def test_the_widest_sets_of_two_nodes_of_four(count: int, least: int, expected: int) -> None:
    assert widest(range(8), [(0, 1, 2, 3), (4, 5, 6, 7)], count=count, least=least) == expected


@st.composite
def reports(draw: st.DrawFn) -> NodeReport:
    count, nodes = draw(st.integers(1, 40)), draw(st.integers(1, 3))
    available = draw(st.integers(1, 128 * GIB))
    gpus = tuple(
        Gpu(
            n, f"GPU-{n}", "x", 40 * GIB, draw(st.none() | st.integers(0, 40 * GIB)),
            tuple(range(draw(st.integers(0, count)))),
            mode=draw(st.sampled_from(["default", "exclusive_process", None])),
        )
        for n in range(draw(st.integers(0, 5)))
    )  # fmt: skip
    cpus = tuple(range(count))
    return node(
        count,
        cpu_quota=draw(st.none() | st.floats(0.1, 50)),
        numa_nodes=tuple(cpus[at::nodes] for at in range(nodes) if cpus[at::nodes]),
        memory_limit=draw(st.integers(available, 256 * GIB)),
        memory_available=available,
        gpus=gpus,
    )


footprints = st.none() | st.builds(
    Footprint, st.integers(MIB, 64 * GIB), st.none() | st.integers(MIB, 40 * GIB), st.just("remembered")
)
wishes = st.fixed_dictionaries(
    {
        "workers": st.none() | st.integers(1, 12),
        "threads": st.none() | st.integers(1, 12),
        "pin": st.sampled_from(Pin),
        "reserve": st.none() | st.integers(0, 8 * GIB),
        "footprint": footprints,
        "model_bytes": st.integers(0, 16 * GIB),
        "grown": st.booleans(),
    }
)


def attempt(report: NodeReport, wish: dict[str, Any]) -> Sizing | None:
    try:
        return size_node(report, **wish)
    except NodeTooSmallError:
        return None


@given(reports(), wishes)
def test_what_holds_for_every_machine(report: NodeReport, wish: dict[str, Any]) -> None:
    sizing = attempt(report, wish)
    room = report.memory_available - reserve_of(report.memory_limit, wish["reserve"])
    if sizing is None:
        assert wish["workers"] is None
        assert room < MINIMUM_FOOTPRINT  # never none where one fits
        return
    slots, footprint = sizing.slots, wish["footprint"]
    assert 1 <= sizing.first <= len(slots)
    usable = set(report.cpus)
    for slot in slots:
        assert set(slot.cpus) <= usable
        assert bool(slot.cpus) == (wish["pin"] is not Pin.NONE)
        assert 1 <= slot.threads <= len(slot.cpus or report.cpus)
    if wish["pin"] is Pin.CORES:
        sets = {slot.cpus for slot in slots}
        assert sum(map(len, sets)) == len(set().union(*sets))  # equal or disjoint
    if wish["workers"] is not None:
        assert len(slots) == sizing.first == wish["workers"]
        return
    assert len(slots) <= usable_cpus(len(report.cpus), report.cpu_quota)
    if footprint is not None:
        assert len(slots) == 1 or len(slots) * footprint.memory <= room
        for gpu in report.gpus:
            on_it = sum(slot.gpu == gpu.uuid for slot in slots)
            if on_it and footprint.gpu is not None and gpu.free_bytes is not None:
                assert len(slots) == 1 or on_it * footprint.gpu <= gpu.free_bytes - gpu_reserve(gpu.total_bytes)
            assert on_it <= (1 if gpu.mode == "exclusive_process" else 4)
    if report.gpus:
        assert {slot.gpu for slot in slots} <= {gpu.uuid for gpu in report.gpus}


@given(reports(), wishes, st.integers(0, 64 * GIB))
def test_more_memory_never_gives_fewer(report: NodeReport, wish: dict[str, Any], more: int) -> None:
    larger = node(
        len(report.cpus),
        **{name: getattr(report, name) for name in ("cpu_quota", "numa_nodes", "gpus")},
        memory_limit=report.memory_limit + more,
        memory_available=report.memory_available + more,
    )
    before, after = attempt(report, wish), attempt(larger, wish)
    assert after is not None or before is None
    if before is not None and after is not None:
        assert len(after.slots) >= len(before.slots)
        assert after.first >= before.first
