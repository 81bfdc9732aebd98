"""Real file systems in files: made, mounted, filled, cut off from their disk as a power cut does, and mounted again.

Every loop device is freed by the kernel with its mount, so that there is nothing to clean up but mounts; `Image.close`
ends those, whatever holds them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.system_tools import find

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one number
_NO_LOG_FLUSH = 2
_PATIENCE_S = 10.0  # for killed processes to let go of their files
_MIB = 1 << 20


class NotHereError(Exception):
    """This machine cannot do it; the message says why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`make`: the command, without the image; `options`: of mount; `size` in bytes, most of it a hole."""

    make: tuple[str, ...]
    options: str
    size: int


_EXT4 = ("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0")
# `ext4-writeback` lets sizes reach the disk before the bytes: files end in whatever the blocks held before.
KINDS: Mapping[str, Kind] = {
    "ext4": Kind(_EXT4, "commit=1", 128 * _MIB),
    "ext4-writeback": Kind(_EXT4, "commit=1,data=writeback,nodelalloc", 128 * _MIB),
    "xfs": Kind(("mkfs.xfs", "-q", "-f"), "", 320 * _MIB),
}


class Image:
    """A file system in `folder`, mounted on `at`. A context manager: leaves neither mount nor loop device."""

    def __init__(self, kind: Kind, folder: Path, *, disk: Path | None = None) -> None:
        """`disk`: what to mount; default: the image file itself."""
        self._kind = kind
        self.file = folder / "image"
        self._disk = disk or self.file
        self.at = folder / "mounted"

    def make(self) -> Image:
        """Anew, not mounted. NotHereError where this machine cannot."""
        tool = find(self._kind.make[0])
        if tool is None or os.geteuid() != 0:
            raise NotHereError(f"no {self._kind.make[0]}" if tool is None else "only root may mount images")
        self.at.mkdir(parents=True, exist_ok=True)
        self.file.unlink(missing_ok=True)
        with self.file.open("wb") as handle:
            handle.truncate(self._kind.size)
        done = _run([tool, *self._kind.make[1:], str(self.file)])
        if done.returncode != 0:
            raise NotHereError(f"{self._kind.make[0]}: {done.stderr.strip()}")
        return self

    def mount(self) -> None:
        """As after a start of the machine: the journal is replayed, nothing is cached."""
        options = ",".join(filter(None, ("loop", "noatime", self._kind.options)))
        done = _run(["mount", "-o", options, str(self._disk), str(self.at)])
        if done.returncode != 0:
            raise NotHereError(f"cannot mount an image: {done.stderr.strip()}")

    def unmount(self) -> None:
        """OSError where something still holds it: it is gone from the tree all the same."""
        deadline = time.monotonic() + _PATIENCE_S
        while _run(["umount", str(self.at)]).returncode != 0:
            if not self._is_mounted():
                return
            if time.monotonic() > deadline:
                _run(["umount", "-l", str(self.at)])
                raise OSError(f"{self.at} was still in use {_PATIENCE_S:.0f} s after its processes had been ended")
            time.sleep(0.01)

    def cut(self) -> None:
        """From now on nothing reaches the disk, the journal in memory least of all; everybody gets EIO."""
        folder = os.open(self.at, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("=I", _NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def revive(self) -> None:
        """Mounted anew, whatever it was before and whoever still holds it."""
        while self._is_mounted():
            _run(["umount", "-l", str(self.at)])
        self.mount()

    def close(self) -> None:
        """Unmounted, and its file gone."""
        while self._is_mounted():
            if _run(["umount", str(self.at)]).returncode != 0:
                _run(["umount", "-l", str(self.at)])
        self.file.unlink(missing_ok=True)

    def _is_mounted(self) -> bool:
        """By the kernel's table: after a cut the file system itself says nothing any more."""
        mounted = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        return any(line.split()[4] == str(self.at) for line in mounted)

    def keep(self, out: Path, into: Path) -> None:
        """A copy of a folder in it, for whoever looks into a violation."""
        shutil.copytree(out, into, symlinks=True, dirs_exist_ok=True)

    def __enter__(self) -> Image:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
