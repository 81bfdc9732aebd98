"""Which cpus and which GPU each slot gets. Pure.

All sets are of one size, so that no worker is slower than another by its place. Sets are contiguous in cpu number and
lie on one NUMA node while there is room; only the remainders of nodes make sets that span two. A slot with a GPU gets a
set near it where one is free. Without GPUs the slots alternate between nodes, for the memory bandwidth of each.
"""

from __future__ import annotations

from collections.abc import Sequence

from batchctl.model.job import Pin
from batchctl.model.node import Gpu, Slot
from batchctl.named_tuple import NamedTuple


class Place(NamedTuple):
    """A slot before it has cpus: its thread cap, its GPU, and its group. Places of one group share a set of cpus."""

    threads: int
    gpu: Gpu | None
    group: int


def cpu_sets(cpus: Sequence[int], numa_nodes: Sequence[Sequence[int]], *, size: int) -> list[tuple[int, ...]]:
    """All disjoint sets of `size` cpus, in the order in which slots take them; at least one, smaller if it must be."""
    groups = _by_node(cpus, numa_nodes)
    remainder: list[int] = []
    per_node: list[list[tuple[int, ...]]] = []
    for group in groups:
        whole = len(group) - len(group) % size
        per_node.append([tuple(group[at : at + size]) for at in range(0, whole, size)])
        remainder += group[whole:]
    sets = [sets[turn] for turn in range(max(map(len, per_node))) for sets in per_node if turn < len(sets)]
    sets += [tuple(remainder[at : at + size]) for at in range(0, len(remainder) - len(remainder) % size, size)]
    return sets or [tuple(sorted(cpus))]


def widest(cpus: Sequence[int], numa_nodes: Sequence[Sequence[int]], *, count: int, least: int) -> int:
    """The size of `count` disjoint sets that use as many cpus as they can without spanning nodes; `least` at least."""
    groups = [len(group) for group in _by_node(cpus, numa_nodes)]
    sizes = range(len(cpus) // count, least, -1)
    return next((size for size in sizes if sum(group // size for group in groups) >= count), least)


def place_slots(
    cpus: Sequence[int], numa_nodes: Sequence[Sequence[int]], places: Sequence[Place], *, size: int, how: Pin
) -> tuple[Slot, ...]:
    """A slot for each place, in order. More groups than sets of `size` cpus share them in turn.

    `how`: NONE gives no cpus (the worker may run anywhere), CORES the set, NUMA all usable cpus of the nodes that the
    set lies on. Slot.gpu is None on a node without GPUs: a mask that the user set is left as it is.
    """
    sets = cpu_sets(cpus, numa_nodes, size=size)
    near: dict[int, frozenset[int]] = {}
    for place in places:
        near.setdefault(place.group, frozenset(place.gpu.cpus if place.gpu is not None else ()))
    free: list[tuple[int, ...]] = []
    taken: dict[int, tuple[int, ...]] = {}
    # Those who care where they are choose first; the sort is stable.
    for group in sorted(near, key=lambda group: not near[group]):
        free = free or list(sets)
        taken[group] = max(free, key=lambda one: len(near[group].intersection(one)))  # the first of the best
        free.remove(taken[group])
    shown = {group: _shown(one, cpus, numa_nodes, how) for group, one in taken.items()}
    return tuple(
        Slot(index, shown[place.group], place.threads, place.gpu.uuid if place.gpu is not None else None)
        for index, place in enumerate(places)
    )


def _shown(one: tuple[int, ...], cpus: Sequence[int], numa_nodes: Sequence[Sequence[int]], how: Pin) -> tuple[int, ...]:
    if how is Pin.NONE:
        return ()
    if how is Pin.CORES:
        return one
    mine = [group for group in _by_node(cpus, numa_nodes) if not set(group).isdisjoint(one)]
    return tuple(sorted(cpu for group in mine for cpu in group))


def _by_node(cpus: Sequence[int], numa_nodes: Sequence[Sequence[int]]) -> list[list[int]]:
    """The usable cpus of each node, none twice, and last those that no node claims."""
    usable, placed = set(cpus), set[int]()
    groups: list[list[int]] = []
    for node in numa_nodes:
        groups.append(sorted(usable.intersection(node) - placed))
        placed.update(node)
    groups.append(sorted(usable - placed))
    return groups
