"""How many workers may share each GPU. Pure.

The cpus of a GPU are cpus / GPUs. Up to MOST_PER_GPU places share them, and the GPU, and never more than it has cpus:
one worker seldom keeps a GPU busy, because it also reads and decodes. The first place of a GPU may use all its cpus;
further ones share them out, because by then somebody else computes there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from batchctl.model.node import Footprint, Gpu
from batchctl.named_tuple import NamedTuple
from batchctl.node.pinning import Place
from batchctl.node.render import size as told

MIB, GIB = 1 << 20, 1 << 30

MOST_PER_GPU = 4


class GpuPlaces(NamedTuple):
    """The places in the order in which they are opened: the first of each GPU, then the second of each, ...

    `size`: cpus of each GPU; `threads`: as asked, None: derived.
    """

    places: tuple[Gpu, ...]
    why: str
    warnings: tuple[str, ...]
    size: int
    threads: int | None

    def first(self, count: int) -> list[Place]:
        """The first `count` places, with thread caps for so many."""
        chosen = self.places[:count]
        sharing = Counter(gpu.uuid for gpu in chosen)
        groups = {uuid: group for group, uuid in enumerate(sharing)}
        seen: set[str] = set()
        places: list[Place] = []
        for gpu in chosen:
            further = max(1, self.size // sharing[gpu.uuid]) if gpu.uuid in seen else self.size
            places.append(Place(self.threads if self.threads is not None else further, gpu, groups[gpu.uuid]))
            seen.add(gpu.uuid)
        return places


def gpu_reserve(total: int | None) -> int:
    """GPU memory left to the driver and to fragmentation: 5 %, 256 MiB to 1 GiB."""
    return min(max((total or 0) // 20, 256 * MIB), GIB)


def usable_gpus(gpus: Sequence[Gpu], reasons: list[str]) -> tuple[Gpu, ...]:
    """Those on which a process may compute; the others are named in `reasons`."""
    closed = [gpu for gpu in gpus if gpu.mode == "prohibited"]
    reasons += [f"GPU {gpu.index} ({gpu.uuid}) is left out: its compute mode is prohibited" for gpu in closed]
    return tuple(gpu for gpu in gpus if gpu not in closed)


def gpu_places(
    gpus: Sequence[Gpu], *, sets: int, size: int, threads: int | None, known: Footprint, grown: bool
) -> GpuPlaces:
    """The places of `gpus`, of which at least one is given; `sets` of them have cpus to go with. Never empty.

    `grown` False and GPU bytes unknown: one place each.
    """
    by_cpus = max(1, size // threads) if threads is not None else size
    most = min(MOST_PER_GPU, by_cpus)
    if known.gpu is None and not grown:
        most = 1
    room = {gpu.uuid: _room(gpu, most, known) for gpu in gpus}
    open_ones = [gpu for gpu in gpus if room[gpu.uuid] > 0][:sets]
    warnings: tuple[str, ...] = ()
    if not open_ones:
        best = max(gpus, key=lambda gpu: gpu.free_bytes or 0)
        open_ones, room[best.uuid] = [best], 1
        free, needed = told(best.free_bytes), told(known.gpu)
        warnings = (
            f"warning: no GPU has room for a worker: {free} is free on GPU {best.index}, {needed} is {known.source}",
        )
    turns = max(room[gpu.uuid] for gpu in open_ones)
    places = tuple(gpu for turn in range(turns) for gpu in open_ones if turn < room[gpu.uuid])
    return GpuPlaces(places, _why(gpus, open_ones, room, most=most, known=known), warnings, size, threads)


def gpu_warnings(places: Sequence[Place], known: Footprint) -> list[str]:
    """Of an explicit number of workers: what its GPUs will not bear."""
    sharing = Counter(place.gpu for place in places if place.gpu is not None)
    warnings: list[str] = []
    for gpu, count in sharing.items():
        if count > 1 and gpu.mode is not None and gpu.mode.startswith("exclusive"):
            warnings.append(f"warning: {count} workers share GPU {gpu.index}, whose compute mode admits one process")
        free = None if gpu.free_bytes is None else gpu.free_bytes - gpu_reserve(gpu.total_bytes)
        if known.gpu is not None and free is not None and count * known.gpu > free:
            warnings.append(
                f"warning: {count} workers will not fit on GPU {gpu.index}: {told(max(0, free))} is free for them, "
                f"{told(known.gpu)} each is {known.source}"
            )
    if sharing and len(places) > len(sharing):
        cards = f"{len(sharing)} GPU{'s' * (len(sharing) > 1)}"
        warnings.append(f"{len(places)} workers share {cards}, in turn")
    return warnings


def _room(gpu: Gpu, most: int, known: Footprint) -> int:
    """How many workers this GPU bears, `most` at most."""
    if gpu.mode is not None and gpu.mode.startswith("exclusive"):
        most = 1
    if known.gpu is None:
        return most
    if gpu.free_bytes is None:
        return 1  # nobody can say whether a second one fits
    return max(0, min(most, (gpu.free_bytes - gpu_reserve(gpu.total_bytes)) // max(1, known.gpu)))


def _why(gpus: Sequence[Gpu], open_ones: Sequence[Gpu], room: dict[str, int], *, most: int, known: Footprint) -> str:
    counts = [room[gpu.uuid] for gpu in open_ones]
    alike = len(set(counts)) == 1
    each = f"{counts[0]} each" if alike else " + ".join(map(str, counts))
    text = f"GPUs {len(open_ones)}, {each}"
    if len(open_ones) < len(gpus):
        text = f"GPUs {len(open_ones)} of {len(gpus)}, {each}"
    if known.gpu is not None:
        text += f" (GPU memory less reserve / {told(known.gpu)} {known.source}, {most} at most)"
    return text
