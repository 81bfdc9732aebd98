"""How what `growth` sees and decides is told. Pure."""

from __future__ import annotations

from batchctl.model.node import WorkerMemory
from batchctl.node.leak import Grown
from batchctl.node.throughput import Gain
from batchctl.node.told import number, size

NO_GPU_MEMORY = "ran out of GPU memory"


def shortage_words(held: WorkerMemory | None, *, in_init: bool, gpu: bool) -> str:
    """What memory did to a worker, with what it held when it was last seen."""
    what = NO_GPU_MEMORY if gpu else "was killed for memory"
    taken = 0 if held is None else (held.gpu or 0) if gpu else held.pss
    return f"{what} in {'init()' if in_init else 'run()'}{f', holding {size(taken)}' if taken else ''}"


def growth_words(grown: Grown) -> str:
    return (
        f"grew from {size(grown.before)} to {size(grown.now)} over {grown.batches} mini-batches "
        f"({size(grown.each)} each)"
    )


def stop_words(gain: Gain) -> str:
    added = gain.larger - gain.smaller
    last = "the last one" if added == 1 else f"the last {added}"
    percent = f"{gain.gain * 100:.0f} %" if gain.gain > 0 else "nothing"
    return f"growth stopped at {number(gain.larger, 'worker')}: {last} added {percent} (throughput by run() time)"
