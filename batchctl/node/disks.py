"""How much room there is where inputs lie and output goes. Pure over what it is handed, but for `statvfs`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from batchctl.model.node import DiskSpace
from batchctl.node.cgroup import Read
from batchctl.node.mounts import existing, mount_of, parse_mount_points


def disks_of(paths: Iterable[str], read: Read) -> tuple[tuple[DiskSpace, ...], tuple[str, ...]]:
    """The disk of each path, in order, and notes. A path that is not there yet lies where its folder would be made."""
    mounts = parse_mount_points(read("/proc/self/mountinfo") or "")
    found: list[DiskSpace] = []
    notes: list[str] = []
    for path in dict.fromkeys(paths):
        there = existing(Path.cwd() / path)
        try:
            room = os.statvfs(there)
        except OSError as error:
            notes.append(f"free space of {path} unknown: {error.strerror or error}")
            continue
        mount, kind = mount_of(os.path.realpath(there), mounts)[:2]
        found.append(DiskSpace(path, mount, kind, room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize))
    return tuple(found), tuple(notes)
