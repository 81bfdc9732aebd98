"""The GPUs, from the NVIDIA driver by way of NVML. This is what the process behind `driver.py` runs.

Soft: each field is asked for by itself, and an old driver, a MIG slice, a virtual GPU or a missing permission makes it
None, with a note where it matters. No CUDA context is made. NVML is never loaded in the coordinator: a driver that
hangs (and a card that is falling off the bus does) would hang the run with it, and a fork after nvmlInit is a hazard.

    coordinator  --  {"ask": "probe"}\n   ->  this process: nvmlInit, look, nvmlShutdown
                 <-  {"cards": [[...]], "driver": "595.1", "notes": [...]}\n
                 --  {"ask": "memory", "uuids": [...]}\n   ->  nvmlInit once, look
                 <-  {"memory": {uuid: {"free": 1, "used": 2, "pids": {"4242": 3}}}}\n

Order: NVML counts cards in PCI order, CUDA fastest first unless CUDA_DEVICE_ORDER=PCI_BUS_ID. They agree on a node
whose cards are alike. So slots name GPUs by UUID, and an index in CUDA_VISIBLE_DEVICES is noted where cards differ.
"""

from __future__ import annotations

import ctypes
import json
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

from batchctl.model.documents import as_document
from batchctl.model.node import Gpu, GpuProcess

_PR_SET_PDEATHSIG = 1
_MODES = {0: "default", 1: "exclusive_thread", 2: "prohibited", 3: "exclusive_process"}


def serve(channel: int) -> None:
    """Answer a line with a line until the other end closes; die with whoever started us."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with socket.socket(fileno=channel) as connection, connection.makefile("rwb") as stream:
        import pynvml

        started = False
        for line in stream:
            asked = json.loads(line)
            if asked["ask"] == "probe":
                answer = look(pynvml)
            else:
                try:
                    if not started:
                        pynvml.nvmlInit()
                        started = True
                    answer = {"memory": {uuid: _memory_of(pynvml, uuid) for uuid in asked["uuids"]}}
                except pynvml.NVMLError as error:
                    answer = {"memory": {}, "notes": [str(error)]}
            stream.write(json.dumps(answer).encode() + b"\n")
            stream.flush()


def look(nvml: Any) -> dict[str, Any]:
    """The cards (per card: itself, or its MIG slices), the driver's version and notes. Never raises an NVMLError."""
    notes: list[str] = []
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        why = str(error)
        if error.value == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
            why += ": the driver was updated and the old one is still loaded; a restart ends that"
        return {"cards": [], "driver": None, "notes": [f"the NVIDIA driver does not answer: {why}"]}
    driver = None
    cards: list[tuple[Gpu, ...]] = []
    try:
        driver = _text(_soft(nvml, nvml.nvmlSystemGetDriverVersion)) or None
        cards = _cards(nvml, notes)
    except nvml.NVMLError as error:
        notes.append(f"the GPUs cannot be counted: {error}")
    finally:
        try:
            nvml.nvmlShutdown()
        except nvml.NVMLError:
            pass  # nothing was to be kept, and the facts are in hand
    return {"cards": [[as_document(gpu) for gpu in card] for card in cards], "driver": driver, "notes": notes}


def select_visible(devices: Sequence[tuple[Gpu, ...]], visible: str | None) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """What CUDA_VISIBLE_DEVICES leaves of `devices` (per card: itself, or its MIG slices), in its order, with notes.

    As CUDA has it: indices, or UUIDs (unambiguous beginnings are enough), of GPUs or MIG slices; the first entry that
    means nothing ends the list; an index of a card with MIG on means its first slice.
    """
    if visible is None:
        return tuple(gpu for card in devices for gpu in card), ()
    chosen: list[Gpu] = []
    notes: list[str] = []
    everything = [gpu for card in devices for gpu in card]
    for entry in (part.strip() for part in visible.split(",")):
        if entry.isdecimal():
            found = list(devices[int(entry)][:1]) if int(entry) < len(devices) else []
            if found and len({gpu.name for gpu in everything if not gpu.mig}) > 1:
                notes.append(
                    f"CUDA_VISIBLE_DEVICES={visible}: the cards differ, and index {entry} was taken in PCI order; "
                    "name GPUs by UUID to be sure"
                )
        else:
            found = [gpu for gpu in everything if entry and gpu.uuid.startswith(entry)]
        if len(found) != 1:
            notes.append(
                f"CUDA_VISIBLE_DEVICES={visible}: {entry or 'an empty entry'} names no GPU; the list ends there"
            )
            break
        if found[0] not in chosen:
            chosen.append(found[0])
    return tuple(chosen), tuple(dict.fromkeys(notes))


def _cards(nvml: Any, notes: list[str]) -> list[tuple[Gpu, ...]]:
    cards: list[tuple[Gpu, ...]] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError as error:
            notes.append(f"GPU {index} left out: {error}")  # fallen off the bus, or not permitted
            cards.append(())
            continue
        refused: dict[str, Any] = {}
        card = _describe(nvml, handle, index, refused)
        lost = next((error for error in refused.values() if error.value == nvml.NVML_ERROR_GPU_IS_LOST), None)
        if lost is not None:  # while we looked
            notes.append(f"GPU {index} left out: {lost}")
            cards.append(())
            continue
        for why in dict.fromkeys(map(str, refused.values())):
            fields = [name for name, error in refused.items() if str(error) == why]
            notes.append(f"GPU {index}: {', '.join(fields)} unknown: {why}")
        mode = _soft(nvml, nvml.nvmlDeviceGetMigMode, handle)
        if mode is not None and mode[0] == 1:
            # The card reports its whole memory, but CUDA will only ever give a process one of its slices.
            slices = _mig_slices(nvml, handle, card)
            if not slices:
                notes.append(f"GPU {index} left out: MIG is on and it has no slice")
            cards.append(slices)
        elif not card.uuid:
            notes.append(f"GPU {index} left out: it has no UUID to name it by")
            cards.append(())
        else:
            cards.append((card,))
    return cards


def _describe(nvml: Any, handle: Any, index: int, refused: dict[str, Any]) -> Gpu:
    """A card or slice; what it has but does not tell us goes to `refused`, the error by name."""

    def ask(name: str, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(handle, *args)
        except nvml.NVMLError as error:
            if error.value not in (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND):
                refused[name] = error
            return None

    memory = ask("memory", nvml.nvmlDeviceGetMemoryInfo)
    pci = ask("PCI address", nvml.nvmlDeviceGetPciInfo)
    volatile, uncorrected = nvml.NVML_VOLATILE_ECC, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED
    processes = ask("processes", lambda device: _processes(nvml, device))
    return Gpu(
        index=index,
        uuid=_text(ask("uuid", nvml.nvmlDeviceGetUUID)),
        name=_text(ask("name", nvml.nvmlDeviceGetName)) or "unknown GPU",
        total_bytes=None if memory is None else int(memory.total),
        free_bytes=None if memory is None else int(memory.free),
        cpus=_near_cpus(nvml, handle),
        pci="" if pci is None else _text(pci.busId).lower(),
        mode=_MODES.get(ask("compute mode", nvml.nvmlDeviceGetComputeMode)),
        processes=None
        if processes is None
        else tuple(GpuProcess(pid, held) for pid, held in sorted(processes.items())),
        ecc_errors=ask("ECC errors", nvml.nvmlDeviceGetTotalEccErrors, uncorrected, volatile),
        worn=_worn(nvml, handle),
    )


def _processes(nvml: Any, handle: Any) -> dict[int, int | None]:
    """Bytes by pid, compute and graphics; None where the driver knows the pid and not the bytes."""
    held: dict[int, int | None] = {}
    for newest, older in (
        (nvml.nvmlDeviceGetComputeRunningProcesses_v3, nvml.nvmlDeviceGetComputeRunningProcesses_v2),
        (nvml.nvmlDeviceGetGraphicsRunningProcesses_v3, nvml.nvmlDeviceGetGraphicsRunningProcesses_v2),
    ):
        try:
            found = newest(handle)
        except nvml.NVMLError_FunctionNotFound:
            found = older(handle)
        for process in found:
            # A process with both kinds of context is in both lists, each time with all that it holds.
            if process.usedGpuMemory is not None or process.pid not in held:
                held[int(process.pid)] = process.usedGpuMemory
    return held


def _worn(nvml: Any, handle: Any) -> str | None:
    """Memory that has failed and was taken out of use: rows (Ampere and newer), pages (older); None: cannot say."""
    rows = _soft(nvml, nvml.nvmlDeviceGetRemappedRows, handle)
    if rows is not None:
        corrected, uncorrected, pending, failed = rows
        words = [f"{corrected + uncorrected} rows remapped"] * bool(corrected or uncorrected)
        return ", ".join(words + ["a reset is due"] * bool(pending) + ["remapping has failed"] * bool(failed))
    pages = [
        _soft(nvml, nvml.nvmlDeviceGetRetiredPages, handle, cause)
        for cause in range(nvml.NVML_PAGE_RETIREMENT_CAUSE_COUNT)
    ]
    if all(page is None for page in pages):
        return None
    count = sum(len(page or ()) for page in pages)
    return f"{count} pages retired" if count else ""


def _memory_of(nvml: Any, uuid: str) -> dict[str, Any] | None:
    """What is free and used on one device, and by whom; None where the device does not answer (any more)."""
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError:
        return None
    held = _soft(nvml, _processes, nvml, handle)
    return {"free": int(memory.free), "used": int(memory.used), "pids": held}


def _mig_slices(nvml: Any, parent: Any, card: Gpu) -> tuple[Gpu, ...]:
    slices: list[Gpu] = []
    for number in range(_soft(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, parent) or 0):
        handle = _soft(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, parent, number)
        if handle is None:
            continue  # numbers have gaps: there is no slice here
        part = _describe(nvml, handle, card.index, {})
        if part.uuid:  # a slice has neither cpus nor health of its own
            like = card._replace(uuid=part.uuid, name=part.name, mig=True, processes=part.processes)
            slices.append(like._replace(total_bytes=part.total_bytes, free_bytes=part.free_bytes))
    return tuple(slices)


def _near_cpus(nvml: Any, handle: Any) -> tuple[int, ...]:
    words = _soft(nvml, nvml.nvmlDeviceGetCpuAffinity, handle, 64)  # 64 words of 64 bits: 4096 cpus
    bits = 8 * ctypes.sizeof(ctypes.c_ulong)
    return tuple(w * bits + b for w, word in enumerate(words or ()) for b in range(bits) if word >> b & 1)


def _soft(nvml: Any, ask: Callable[..., Any], *args: Any) -> Any:
    """The answer, or None where this driver or this device has none."""
    try:
        return ask(*args)
    except nvml.NVMLError:
        return None


def _text(value: Any) -> str:
    """Old bindings answer in bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
