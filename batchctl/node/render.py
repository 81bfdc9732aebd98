"""The node and its sizing as text for people and as plain data for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchctl.model.documents import as_document
from batchctl.model.node import DiskSpace, Gpu, NodeReport, Sizing


def as_text(report: NodeReport, sizing: Sizing | None = None) -> str:
    """Lines for a terminal, ending in a newline. Names from the machine are shown with control characters escaped."""
    quota = "no quota" if report.cpu_quota is None else f"quota {report.cpu_quota:g}"
    lines = [
        f"node     {_plain(report.hostname)}",
        f"cpus     {len(report.cpus)} ({cpulist(report.cpus)}), {quota}",
    ]
    if len(report.numa_nodes) > 1:
        memory = report.numa_memory or (None,) * len(report.numa_nodes)
        told = zip(report.numa_nodes, memory, strict=True)
        lines += [
            f"numa {n:<3} {cpulist(cpus)}" + ("" if bytes_ is None else f", {size(bytes_)}")
            for n, (cpus, bytes_) in enumerate(told)
        ]
    lines.append(
        f"memory   {size(report.memory_available)} available of {size(report.memory_limit)}"
        + ("" if report.memory_limit == report.memory_total else f" (the machine has {size(report.memory_total)})")
    )
    if report.pressure is not None:
        some, full = report.pressure.some, report.pressure.full
        lines.append(f"pressure memory, last 10 s: some tasks waited {some:.1f} % of it, all {full:.1f} %")
    lines += [f"disk     {_disk(disk)}" for disk in report.disks]
    if report.driver is not None:
        lines.append(f"driver   NVIDIA {_plain(report.driver)}")
    for gpu in report.gpus:
        lines.append(f"gpu {gpu.index:<4} {_gpu(gpu)}")
        lines += [f"         process {process.pid}: {size(process.bytes)}" for process in gpu.processes or ()]
    if not report.gpus:
        lines.append("gpus     none")
    lines += [f"note     {_plain(note)}" for note in report.notes]
    if sizing is not None:
        lines += ["", *sizing.reasons, ""]
        lines += [
            f"slot {slot.index:<3} cpus {cpulist(slot.cpus) or 'any'}, threads {slot.threads}"
            + (f", gpu {_plain(slot.gpu)}" if slot.gpu else "")
            for slot in sizing.slots
        ]
    return "\n".join(lines) + "\n"


def _gpu(gpu: Gpu) -> str:
    parts = [_plain(gpu.name), f"{size(gpu.free_bytes)} free of {size(gpu.total_bytes)}", _plain(gpu.uuid)]
    if gpu.cpus:
        parts.append(f"near cpus {cpulist(gpu.cpus)}")
    if gpu.mode not in (None, "default"):
        parts.append(f"compute mode {gpu.mode}")
    if gpu.ecc_errors:
        parts.append(f"{gpu.ecc_errors} uncorrected ECC errors")
    if gpu.worn:
        parts.append(gpu.worn)
    if gpu.xid:
        parts.append(f"last error Xid {gpu.xid}")
    return ", ".join(parts)


def _disk(disk: DiskSpace) -> str:
    kind = f"{_plain(disk.kind)} at {_plain(disk.mount)}" if disk.mount else "unknown file system"
    return f"{_plain(disk.path)}: {size(disk.free)} free of {size(disk.total)}, {kind}"


def disk_lines(disks: Sequence[DiskSpace]) -> tuple[str, ...]:
    """Each disk for people, as `probe` and `plan` print it."""
    return tuple(map(_disk, disks))


def as_dict(report: NodeReport, sizing: Sizing | None = None) -> dict[str, Any]:
    """What `probe --json` prints: the fields of NodeReport under `node`, of Sizing under `sizing`; None is unknown."""
    return {"node": as_document(report), "sizing": None if sizing is None else as_document(sizing)}


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
