"""How many workers this node bears. Pure: the same report and wishes give the same slots and reasons on any machine.

The rule of now, without a measured pilot: the least of

- cpus: usable cpus (a cgroup quota rounded up) / threads per worker,
- memory: (available - reserve) / ASSUMED_FOOTPRINT, stated in the reasons as the assumption that it is,
- GPUs, where there are any: one worker each.

An explicit number of workers is obeyed, and where the node looks too small for it a reason says so, beginning with
"warning:". An assumption refuses nothing: one worker is allowed wherever MINIMUM_FOOTPRINT is free.
"""

from __future__ import annotations

from math import ceil

from batchctl.errors import NodeTooSmallError
from batchctl.model.node import NodeReport, Sizing
from batchctl.node.pinning import pin

MIB, GIB = 1 << 20, 1 << 30

ASSUMED_FOOTPRINT = GIB
MINIMUM_FOOTPRINT = 128 * MIB


def reserve(memory_limit: int) -> int:
    """Left to the coordinator (at most 150 MiB), the page cache and everybody else: 5 %, 256 MiB to 2 GiB."""
    return min(max(memory_limit // 20, 256 * MIB), 2 * GIB)


def usable_cpus(cpus: int, quota: float | None) -> int:
    """Whole cpus' worth of work: a quota of 1.5 keeps two workers busy part of the time, so it is rounded up."""
    return cpus if quota is None else max(1, min(cpus, ceil(quota)))


def size_node(report: NodeReport, *, workers: int | None, threads: int | None) -> Sizing:
    """The slots. `workers`: the explicit number (None: automatic); `threads`: cpus per worker (None: derived).

    NodeTooSmallError where, unless the number is explicit, not even one worker fits.
    """
    reasons: list[str] = []
    cpus = usable_cpus(len(report.cpus), report.cpu_quota)
    each = _cpus_per_slot(report, cpus, workers=workers, threads=threads, reasons=reasons)
    count = workers if workers is not None else _automatic(report, cpus, each, reasons)
    if workers is not None:
        reasons.append(f"{workers} workers: as asked")
        reasons += _warnings(report, cpus, each, workers)
    # Under a quota all cpus of the machine are open to us, and so they are to every other container: to crowd onto the
    # first few would be to meet them there. The sets are spread over all cpus; only the thread cap follows the quota.
    spread = max(each, len(report.cpus) // count) if cpus < len(report.cpus) else each
    slots = pin(report.cpus, report.numa_nodes, count=count, size=spread, threads=each, gpus=report.gpus)
    if report.gpus and count > len(report.gpus):
        reasons.append(f"{count} workers share {len(report.gpus)} GPUs, round-robin")
    return Sizing(slots, tuple(reasons), len(report.gpus))


def _cpus_per_slot(
    report: NodeReport, cpus: int, *, workers: int | None, threads: int | None, reasons: list[str]
) -> int:
    if threads is not None:
        if threads > cpus:
            reasons.append(f"warning: {threads} threads per worker were asked for, {cpus} is what this node has")
            return cpus
        reasons.append(f"{_number(threads, 'cpu')} per worker: as asked")
        return threads
    if workers is not None:
        each, why = max(1, cpus // workers), f"{cpus} cpus / {workers} workers"
    elif report.gpus:
        each, why = max(1, cpus // len(report.gpus)), f"{cpus} cpus / {len(report.gpus)} GPUs"
    else:
        each, why = 1, "the default"
    reasons.append(f"{_number(each, 'cpu')} per worker: {why}")
    return each


def _automatic(report: NodeReport, cpus: int, each: int, reasons: list[str]) -> int:
    quota = "" if report.cpu_quota is None else f", quota {report.cpu_quota:g}"
    held = reserve(report.memory_limit)
    room = report.memory_available - held
    memory = (
        f"memory: ({_gib(report.memory_available)} available - {_gib(held)} reserve) / "
        f"{_gib(ASSUMED_FOOTPRINT)} assumed per worker"
    )
    if room < MINIMUM_FOOTPRINT:
        raise NodeTooSmallError(
            f"not even one worker fits: {_gib(report.memory_available)} of memory are available, "
            f"{_gib(held)} are kept in reserve",
            remedy="free memory, raise the container's limit, or say `--workers 1` to try all the same",
        )
    bounds = [
        (cpus // each, f"cpus: {cpus} usable{quota} / {each} per worker"),
        (max(1, room // ASSUMED_FOOTPRINT), memory),
    ]
    if report.gpus:
        bounds.append((len(report.gpus), f"GPUs: {len(report.gpus)}, one worker each"))
    count = min(number for number, _ in bounds)
    reasons.append(f"{_number(count, 'worker')}, the least of")
    reasons += [f"  {number} by {why}" for number, why in bounds]
    if room < ASSUMED_FOOTPRINT:
        reasons.append(f"warning: less than {_gib(ASSUMED_FOOTPRINT)} is free for the one worker")
    return count


def _warnings(report: NodeReport, cpus: int, each: int, workers: int) -> list[str]:
    warnings: list[str] = []
    if workers * each > cpus:
        warnings.append(
            f"warning: {workers} workers of {_number(each, 'cpu')} share {cpus} usable cpus, and each will be slower"
        )
    room = report.memory_available - reserve(report.memory_limit)
    if workers * ASSUMED_FOOTPRINT > room:
        warnings.append(
            f"warning: {workers} workers may not fit: {_gib(max(0, room))} of memory is free for them, "
            f"{_gib(ASSUMED_FOOTPRINT)} each is the assumption"
        )
    return warnings


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
