"""How much room there is where inputs lie and output goes. Pure over what it is handed, but for `statvfs`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from batchctl.model.node import DiskSpace
from batchctl.node.cgroup import Read, unescape


def disks_of(paths: Iterable[str], read: Read) -> tuple[tuple[DiskSpace, ...], tuple[str, ...]]:
    """The disk of each path, in order, and notes. A path that is not there yet lies where its folder would be made."""
    mounts = parse_mount_points(read("/proc/self/mountinfo") or "")
    found: list[DiskSpace] = []
    notes: list[str] = []
    for path in dict.fromkeys(paths):
        there = _existing(Path.cwd() / path)
        try:
            room = os.statvfs(there)
        except OSError as error:
            notes.append(f"free space of {path} unknown: {error.strerror or error}")
            continue
        mount, kind = mount_of(os.path.realpath(there), mounts)
        found.append(DiskSpace(path, mount, kind, room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize))
    return tuple(found), tuple(notes)


def parse_mount_points(text: str) -> list[tuple[str, str]]:
    """/proc/PID/mountinfo -> (mount point, file system type); later lines lie over earlier ones."""
    mounts: list[tuple[str, str]] = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        head, tail = before.split(" "), after.split(" ")
        if dash and len(head) >= 5 and tail[0]:
            mounts.append((unescape(head[4]), tail[0]))
    return mounts


def mount_of(path: str, mounts: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """The mount that an absolute, resolved path lies on; ("", "") where none is known."""
    best = ("", "")
    for point, kind in mounts:
        covers = path == point or path.startswith(point.rstrip("/") + "/")
        if covers and len(point) >= len(best[0]):
            best = (point, kind)
    return best


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there (or that we may not look into: statvfs will tell)."""
    for candidate in (path, *path.parents):
        if os.path.lexists(candidate):
            return candidate
    return Path("/")
