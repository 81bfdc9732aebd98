"""Which mount a path lies on, by /proc/self/mountinfo; and what a file system is where that is silent. Pure, but for
`existing` and `magic_of`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from batchctl.named_tuple import NamedTuple
from batchctl.node.cgroup import unescape


class MountPoint(NamedTuple):
    """`kind` is the file system's type, "fuse.NAME" where a FUSE file system gives one; `source` what was mounted;
    `options` those of the mount and of the file system, all of them in words. All "" where nothing is known."""

    point: str
    kind: str
    source: str = ""
    options: tuple[str, ...] = ()


NOWHERE = MountPoint("", "")


def parse_mount_points(text: str) -> list[MountPoint]:
    """/proc/PID/mountinfo; later lines lie over earlier ones."""
    mounts: list[MountPoint] = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        head, tail = before.split(" "), after.split(" ")
        if dash and len(head) >= 5 and tail[0]:
            options = ",".join([*head[5:6], *tail[2:3]]).split(",")
            source = unescape(tail[1]) if len(tail) > 1 else ""
            mounts.append(MountPoint(unescape(head[4]), tail[0], source, tuple(filter(None, options))))
    return mounts


def mount_of(path: str, mounts: Iterable[MountPoint]) -> MountPoint:
    """The mount that an absolute, resolved path lies on; NOWHERE where none is known."""
    best = NOWHERE
    for mount in mounts:
        covers = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        if covers and len(mount.point) >= len(best.point):
            best = mount
    return best


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there (or that we may not look into: statvfs will tell)."""
    for candidate in (path, *path.parents):
        if os.path.lexists(candidate):
            return candidate
    return Path("/")


# What statfs calls them (linux/magic.h and the file systems' own headers), for machines without a readable /proc.
_MAGIC: Mapping[int, str] = MappingProxyType(
    {
        0xEF53: "ext4",
        0x58465342: "xfs",
        0x9123683E: "btrfs",
        0x2FC12FC1: "zfs",
        0xF2F52010: "f2fs",
        0xCA451A4E: "bcachefs",
        0x01021994: "tmpfs",
        0x858458F6: "ramfs",
        0x794C7630: "overlay",
        0x6969: "nfs",
        0xFF534D42: "cifs",
        0xFE534D42: "smb3",
        0x01021997: "9p",
        0x00C36400: "ceph",
        0x0BD00BD0: "lustre",
        0x47504653: "gpfs",
        0x19830326: "beegfs",
        0x5346414F: "afs",
        0x7461636F: "ocfs2",
        0x01161970: "gfs2",
        0x65735546: "fuse",
        0x4D44: "vfat",
        0x2011BAB0: "exfat",
        0x7366746E: "ntfs3",
    }
)


def magic_of(path: Path) -> str:
    """The type of the file system by statfs, "" where that has no name here. OSError where it cannot be asked."""
    import ctypes  # only where /proc is not there

    buffer = ctypes.create_string_buffer(512)  # struct statfs begins with f_type, a long
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    return _MAGIC.get(ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF, "")
