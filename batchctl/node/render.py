"""The node and its sizing as text for people and as plain data for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from batchctl.model.node import NodeReport, Sizing


def as_text(report: NodeReport, sizing: Sizing | None = None) -> str:
    """Lines for a terminal, ending in a newline. Names from the machine are shown with control characters escaped."""
    quota = "no quota" if report.cpu_quota is None else f"quota {report.cpu_quota:g}"
    lines = [
        f"node     {_plain(report.hostname)}",
        f"cpus     {len(report.cpus)} ({cpulist(report.cpus)}), {quota}",
    ]
    if len(report.numa_nodes) > 1:
        lines += [f"numa {n:<3} {cpulist(cpus)}" for n, cpus in enumerate(report.numa_nodes)]
    lines.append(
        f"memory   {size(report.memory_available)} available of {size(report.memory_limit)}"
        + ("" if report.memory_limit == report.memory_total else f" (the machine has {size(report.memory_total)})")
    )
    lines += [
        f"gpu {gpu.index:<4} {_plain(gpu.name)}, {size(gpu.free_bytes)} free of {size(gpu.total_bytes)}"
        f", {_plain(gpu.uuid)}" + (f", near cpus {cpulist(gpu.cpus)}" if gpu.cpus else "")
        for gpu in report.gpus
    ] or ["gpus     none"]
    lines += [f"note     {_plain(note)}" for note in report.notes]
    if sizing is not None:
        lines += ["", *sizing.reasons, ""]
        lines += [
            f"slot {slot.index:<3} cpus {cpulist(slot.cpus)}, threads {slot.threads}"
            + (f", gpu {_plain(slot.gpu)}" if slot.gpu else "")
            for slot in sizing.slots
        ]
    return "\n".join(lines) + "\n"


def as_dict(report: NodeReport, sizing: Sizing | None = None) -> dict[str, Any]:
    """What `probe --json` prints: the fields of NodeReport under `node`, of Sizing under `sizing`; None is unknown."""
    return {"node": asdict(report), "sizing": None if sizing is None else asdict(sizing)}


def cpulist(cpus: Sequence[int]) -> str:
    """The kernel's way: (0, 1, 2, 8) is "0-2,8"."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def size(value: int | None) -> str:
    """Bytes for people, in GiB or MiB; "unknown" for None."""
    if value is None:
        return "unknown"
    return f"{value / (1 << 30):.1f} GiB" if value >= 1 << 30 else f"{value / (1 << 20):.0f} MiB"


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
