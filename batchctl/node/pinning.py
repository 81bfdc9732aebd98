"""Which cpus and which GPU each slot gets. Pure.

All sets are of one size, so that no worker is slower than another by its place. Sets are contiguous in cpu number and
lie on one NUMA node while there is room; only the remainders of nodes make sets that span two. A slot with a GPU gets a
set near it where one is free. Without GPUs the slots alternate between nodes, for the memory bandwidth of each.
"""

from __future__ import annotations

from collections.abc import Sequence

from batchctl.model.node import Gpu, Slot


def cpu_sets(cpus: Sequence[int], numa_nodes: Sequence[Sequence[int]], *, size: int) -> list[tuple[int, ...]]:
    """All disjoint sets of `size` cpus, in the order in which slots take them; at least one, smaller if it must be."""
    usable, placed = set(cpus), set[int]()
    groups: list[list[int]] = []
    for node in numa_nodes:
        groups.append(sorted(usable.intersection(node) - placed))
        placed.update(node)
    groups.append(sorted(usable - placed))  # cpus that no node claims
    remainder: list[int] = []
    per_node: list[list[tuple[int, ...]]] = []
    for group in groups:
        whole = len(group) - len(group) % size
        per_node.append([tuple(group[at : at + size]) for at in range(0, whole, size)])
        remainder += group[whole:]
    sets = [sets[turn] for turn in range(max(map(len, per_node))) for sets in per_node if turn < len(sets)]
    sets += [tuple(remainder[at : at + size]) for at in range(0, len(remainder) - len(remainder) % size, size)]
    return sets or [tuple(sorted(usable))]


def pin(
    cpus: Sequence[int],
    numa_nodes: Sequence[Sequence[int]],
    *,
    count: int,
    size: int,
    threads: int,
    gpus: Sequence[Gpu] = (),
) -> tuple[Slot, ...]:
    """`count` slots of `size` cpus and `threads` threads. More slots than sets share them round-robin, GPUs likewise.

    Slot.gpu is None on a node without GPUs: a mask that the user set is left as it is.
    """
    sets = cpu_sets(cpus, numa_nodes, size=size)
    free = list(sets)
    slots: list[Slot] = []
    for index in range(count):
        if not free:
            free = list(sets)
        gpu = gpus[index % len(gpus)] if gpus else None
        near = set(gpu.cpus) if gpu else set[int]()
        mine = next((s for s in free if near.issuperset(s)), free[0]) if near else free[0]
        free.remove(mine)
        slots.append(Slot(index, mine, threads, gpu.uuid if gpu else None))
    return tuple(slots)
