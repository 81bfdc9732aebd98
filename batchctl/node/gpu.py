"""The GPUs that this process may use, from the NVIDIA driver by way of NVML.

Lazy: no driver library, no import of pynvml. Soft: each field is asked for by itself, and an old driver, a MIG slice or
a virtual GPU that does not answer makes it None, with a note where it matters. Nothing is left behind: nvmlInit and
nvmlShutdown are paired here, no CUDA context is made, and no handle outlives the call. A fork after NVML was in use is
a known hazard; there is none here, because workers are forked by the fork server, an interpreter that was exec'd afresh
and never loads this module. (The library itself stays mapped, as ctypes never unloads.)

Order: NVML counts cards in PCI order, CUDA fastest first unless CUDA_DEVICE_ORDER=PCI_BUS_ID. They agree on a node
whose cards are alike. So slots name GPUs by UUID, and an index in CUDA_VISIBLE_DEVICES is noted where cards differ.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from batchctl.model.node import Gpu

_LIBRARY = "libnvidia-ml.so.1"


def probe_gpus(*, visible: str | None) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """The GPUs (with MIG on: the slices) and notes. `visible`: CUDA_VISIBLE_DEVICES, None where unset. Never raises."""
    if visible is not None and not visible.strip():
        return (), ("CUDA_VISIBLE_DEVICES is empty: no GPU is used",)
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError as error:
        # "No such file" is a machine without a driver, which is no news; anything else is a broken one, which is.
        # In the packaged file PyInstaller lays a guess of its own over what the loader says.
        said = str(error.__cause__ or error)
        missing = f"{_LIBRARY}: cannot open shared object file" in said
        return (), (() if missing else (f"the NVIDIA driver library does not load: {said}",))
    try:
        import pynvml as nvml
    except ImportError as error:
        return (), (f"an NVIDIA driver is here but nvidia-ml-py is not: {error}",)
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return (), (f"the NVIDIA driver does not answer: {error}",)
    notes: list[str] = []
    try:
        devices = _devices(nvml, notes)
    except nvml.NVMLError as error:
        devices = []
        notes.append(f"the GPUs cannot be counted: {error}")
    finally:
        try:
            nvml.nvmlShutdown()
        except nvml.NVMLError:
            pass  # nothing was to be kept, and the facts are in hand
    gpus, told = select_visible(devices, visible)
    return gpus, (*notes, *told)


def select_visible(devices: list[tuple[Gpu, ...]], visible: str | None) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
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
            if found and len({gpu.name for gpu in everything if not gpu.uuid.startswith("MIG-")}) > 1:
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


def _devices(nvml: Any, notes: list[str]) -> list[tuple[Gpu, ...]]:
    cards: list[tuple[Gpu, ...]] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError as error:
            notes.append(f"GPU {index} left out: {error}")  # fallen off the bus, or not permitted
            cards.append(())
            continue
        card = _describe(nvml, handle, index)
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


def _describe(nvml: Any, handle: Any, index: int) -> Gpu:
    memory = _soft(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    return Gpu(
        index=index,
        uuid=_text(_soft(nvml, nvml.nvmlDeviceGetUUID, handle)),
        name=_text(_soft(nvml, nvml.nvmlDeviceGetName, handle)) or "unknown GPU",
        total_bytes=None if memory is None else int(memory.total),
        free_bytes=None if memory is None else int(memory.free),
        cpus=_near_cpus(nvml, handle),
    )


def _mig_slices(nvml: Any, parent: Any, card: Gpu) -> tuple[Gpu, ...]:
    slices: list[Gpu] = []
    for number in range(_soft(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, parent) or 0):
        handle = _soft(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, parent, number)
        if handle is None:
            continue  # numbers have gaps: there is no slice here
        part = _describe(nvml, handle, card.index)
        if part.uuid:
            slices.append(replace(part, cpus=card.cpus))  # a slice has no cpu affinity of its own
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
