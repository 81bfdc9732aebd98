"""How many places for workers this node has, and how many workers start at once. Pure: the same report and wishes give
the same slots and reasons on any machine.

Automatic, the least of

- cpus: usable cpus (a cgroup quota rounded up) / threads per worker,
- memory: (available - reserve) / footprint, where the footprint is known; where it is not, growth measures it,
- GPUs, where there are any (`gpu_places`).

An explicit number of workers is obeyed, and where the node looks too small for it a reason says so, beginning with
"warning:". An assumption refuses nothing: one worker is allowed wherever MINIMUM_FOOTPRINT is free.
"""

from __future__ import annotations

from math import ceil

from batchctl.errors import NodeTooSmallError
from batchctl.model.job import Pin
from batchctl.model.node import Footprint, NodeReport, Sizing
from batchctl.node.gpu_places import GpuPlaces, gpu_places, gpu_warnings, usable_gpus
from batchctl.node.pinning import Place, place_slots, widest
from batchctl.node.render import size as told

MIB, GIB = 1 << 20, 1 << 30

ASSUMED_FOOTPRINT = GIB
MINIMUM_FOOTPRINT = 128 * MIB
# Before anything is measured, so many times the assumption must be free for each worker of the first wave.
COMFORT = 4


def reserve_of(memory_limit: int, asked: int | None) -> int:
    """Left to the coordinator (150 MiB at most), page cache and everybody else: `asked`, or 5 %, 256 MiB to 2 GiB."""
    return asked if asked is not None else min(max(memory_limit // 20, 256 * MIB), 2 * GIB)


def usable_cpus(cpus: int, quota: float | None) -> int:
    """Whole cpus' worth of work: a quota of 1.5 keeps two workers busy part of the time, so it is rounded up."""
    return cpus if quota is None else max(1, min(cpus, ceil(quota)))


def assumed_footprint(model_bytes: int) -> Footprint:
    """What a worker is taken to need before any was measured: a model is often held twice while it is loaded."""
    return Footprint(max(ASSUMED_FOOTPRINT, 2 * model_bytes), None, "assumed")


def size_node(
    report: NodeReport,
    *,
    workers: int | None,
    threads: int | None,
    pin: Pin = Pin.CORES,
    reserve: int | None = None,
    footprint: Footprint | None = None,
    model_bytes: int = 0,
    grown: bool = True,
) -> Sizing:
    """The slots. `workers`: the explicit number (None: automatic); `threads`: cpus per worker (None: derived).

    `footprint`: what a worker is known to need; None: nothing is known but `model_bytes`, the size of the model.
    `grown`: the caller starts `slots[:first]`, measures, and opens more as they fit; False: it starts all at once, and
    there are no more than the assumption allows. NodeTooSmallError where, unless the number is explicit, not even one
    worker fits.
    """
    room = report.memory_available - reserve_of(report.memory_limit, reserve)
    known = footprint if footprint is not None else assumed_footprint(model_bytes)
    reasons: list[str] = []
    sure: list[str] = []  # what is measured, not assumed, to be too small
    bound, scarce = "as asked", False
    gpus = usable_gpus(report.gpus, reasons)
    cpus = usable_cpus(len(report.cpus), report.cpu_quota)
    if threads is not None and threads > cpus:
        reasons.append(f"warning: {threads} threads per worker were asked for, {cpus} is what this node has")
        threads = cpus
    if workers is not None:
        each = threads if threads is not None else max(1, cpus // workers)
        why = "as asked" if threads is not None else f"{_number(cpus, 'cpu')} / {_number(workers, 'worker')}"
        reasons += [f"{_number(workers, 'worker')}: as asked", f"{_number(each, 'cpu')} per worker: {why}"]
        places = [Place(each, gpus[at % len(gpus)] if gpus else None, at) for at in range(workers)]
        reasons += _crowding(cpus, each=each, workers=workers)
        short = _shortfall(room, workers=workers, known=known) + gpu_warnings(places, known)
        reasons += short
        sure += short if footprint is not None else []
        first, size = workers, each
    else:
        if room < MINIMUM_FOOTPRINT:
            raise _too_small(report, room)
        size = threads if threads is not None else 1
        cards = None
        if gpus:
            size = max(size, cpus // len(gpus))
            cards = gpu_places(gpus, sets=max(1, cpus // size), size=size, threads=threads, known=known, grown=grown)
        bounds = _bounds(report, cpus, room, each=threads or 1, cards=cards, known=known, grown=grown)
        count, bound = bounds[0]
        scarce = bound.startswith("memory ")
        most = "at most " if known.source == "assumed" and grown and count > 1 else ""  # growth decides
        reasons.append(f"{most}{_number(count, 'worker')}: {bound}")
        reasons += [f"  {number} by {text}" for number, text in bounds[1:]]
        short = _too_tight(room, known) + (list(cards.warnings) if cards is not None else [])
        reasons += short
        sure += short if footprint is not None else []
        places = cards.first(count) if cards is not None else [Place(size, None, at) for at in range(count)]
        reasons.append(_told_threads(places, gpus=bool(gpus), asked=threads is not None))
        first = _first_wave(places, room, known=known, grown=grown, reasons=reasons)
    # Under a quota all cpus of the machine are open to us, and so they are to every other container: to crowd onto the
    # first few would be to meet them there. The sets are spread over all cpus; only the thread cap follows the quota.
    groups = len({place.group for place in places})
    if cpus < len(report.cpus):
        size = widest(report.cpus, report.numa_nodes, count=groups, least=size)
    slots = place_slots(report.cpus, report.numa_nodes, places, size=size, how=pin)
    told_at_once = tuple(reason.removeprefix("warning: ") for reason in sure if reason.startswith("warning: "))
    return Sizing(slots, tuple(reasons), len(gpus), first, bound, scarce, told_at_once)


def _bounds(
    report: NodeReport, cpus: int, room: int, *, each: int, cards: GpuPlaces | None, known: Footprint, grown: bool
) -> list[tuple[int, str]]:
    """How many workers, and why: what binds first, then what would bear more."""
    quota = "" if report.cpu_quota is None else f" (quota {report.cpu_quota:g})"
    bounds = [(cpus // each, f"cpus {cpus}{quota} / {each} each")]
    if cards is not None:
        bounds.append((len(cards.places), cards.why))
    if known.source != "assumed" or not grown:
        fit = room // known.memory
        left = report.memory_available - (fit + 1) * known.memory
        more = f"would leave {told(left)}" if left >= 0 else f"would lack {told(-left)}"
        text = f"memory {told(room)} / {told(known.memory)} each ({known.source})"
        if 0 < fit < min(count for count, _ in bounds):  # what the next one lacks is of interest where that is why
            text += f"; a {_ordinal(fit + 1)} {more}"
        bounds.append((max(1, fit), text))
    bounds.sort(key=lambda bound: bound[0])  # stable: cpus come before what binds no harder
    return bounds


def _too_tight(room: int, known: Footprint) -> list[str]:
    if room >= known.memory:
        return []
    free, needed = told(room), told(known.memory)
    return [f"warning: {free} of memory is free for the one worker, {needed} is {known.source}"]


def _first_wave(places: list[Place], room: int, *, known: Footprint, grown: bool, reasons: list[str]) -> int:
    """How many start at once."""
    count = len(places)
    if not grown:
        return count
    cards = len({place.gpu.uuid for place in places if place.gpu is not None})
    # What a worker needs of a GPU is not known: one each, whatever memory says.
    by_cards = cards if cards and known.gpu is None else count
    if known.source != "assumed":
        first = min(count, by_cards)
        why = "GPU memory is measured first" if first < count else ""
    else:
        by_memory = max(1, room // (COMFORT * known.memory))
        first = min(count, by_cards, by_memory)
        each = f"{told(room)} of memory / {COMFORT} x {told(known.memory)} assumed"
        why = each if by_memory <= by_cards else "one per GPU"
    if first < count:
        starts = f"{first} start" if first > 1 else "1 starts"
        reasons.append(f"{starts} at once ({why}), the others as workers are measured")
    return first


def _told_threads(places: list[Place], *, gpus: bool, asked: bool) -> str:
    most = _number(places[0].threads, "cpu")
    if asked:
        return f"{most} per worker: as asked"
    shared = sorted({place.threads for place in places} - {places[0].threads})
    if gpus and shared:
        caps = " or ".join(map(str, shared)) + (" threads" if shared[-1] > 1 else " thread")
        return f"{most} per GPU, which its workers share; {caps} for all but the first"
    return f"{most} per worker: {'the cpus of its GPU' if gpus else 'the default'}"


def _crowding(cpus: int, *, each: int, workers: int) -> list[str]:
    if workers * each <= cpus:
        return []
    return [f"warning: {workers} workers of {_number(each, 'cpu')} share {cpus} usable cpus, and each will be slower"]


def _shortfall(room: int, *, workers: int, known: Footprint) -> list[str]:
    if workers * known.memory <= room:
        return []
    sure = "may" if known.source == "assumed" else "will"
    free, each = told(max(0, room)), f"{told(known.memory)} each is {known.source}"
    return [f"warning: {_number(workers, 'worker')} {sure} not fit: {free} of memory is free for them, {each}"]


def _too_small(report: NodeReport, room: int) -> NodeTooSmallError:
    return NodeTooSmallError(
        f"not even one worker fits: {told(report.memory_available)} of memory are available, "
        f"{told(report.memory_available - room)} are kept in reserve",
        remedy="free memory, raise the container's limit, lower --mem-reserve, or try all the same with `--workers 1`",
    )


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _ordinal(number: int) -> str:
    last = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else last}"
