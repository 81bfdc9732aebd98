"""What one process holds, and who its descendants are: three small files of /proc. A process that has gone is None.

PSS (each shared page in parts) is what a worker costs: preloaded libraries and models are shared by all workers, and
RSS would count them for each. The kernel adds PSS up page by page (15 ms per GiB), so it is read only when it may have
changed.
"""

from __future__ import annotations

import os
from pathlib import Path

from batchctl.named_tuple import NamedTuple


class Resident(NamedTuple):
    """Bytes: resident now, and the most that was ever resident (VmHWM)."""

    rss: int
    peak: int


def resident(pid: int) -> Resident | None:
    """Of one process; None where it is gone, or a zombie, which holds nothing."""
    text = _read(f"/proc/{pid}/status")
    rss, peak = _field(text, b"\nVmRSS:"), _field(text, b"\nVmHWM:")
    return Resident(rss, max(rss, peak or 0)) if rss is not None else None


def pss(pid: int, rss: int) -> int | None:
    """Of one process whose RSS is known; None where it is gone. Where the kernel does not let us look, its RSS."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_bytes()
    except FileNotFoundError:
        return _pss_of_old_kernels(pid) if os.path.exists(f"/proc/{pid}") else None  # noqa: PTH110 - on a hot path
    except PermissionError:  # it has changed its user
        return rss
    except OSError:  # ESRCH: it is ending
        return None
    return _field(text, b"\nPss:")


def children(pid: int) -> list[int]:
    """The children of a process, those of all its threads; none where it is gone."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names only, on a hot path
    except OSError:
        return found
    for thread in threads:
        found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return found


def family(pid: int) -> list[int]:
    """A process and all its descendants, itself first."""
    found = [pid]
    for member in found:  # grows while it is walked
        found += (child for child in children(member) if child not in found)
    return found


def _pss_of_old_kernels(pid: int) -> int | None:
    """Below Linux 4.14 each mapping has to be added up, which psutil does."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    except psutil.Error:
        return None


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 1 << 16)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _field(text: bytes, name: bytes) -> int | None:
    """Bytes of a "Name:   123 kB" line."""
    at = text.find(name)
    return int(text[at + len(name) :].split(None, 1)[0]) << 10 if at >= 0 else None
