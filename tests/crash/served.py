"""Disks that nbdkit serves, through nbdfuse, as a file: with faults that the kernel's own loop device has not."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.crash.images import KINDS, Image, Kind, NotHereError
from tests.crash.lives import POLL_S
from tests.system_tools import find, missing

_TOOLS = ("nbdkit", "nbdfuse", "fusermount3")
_START_S = 10.0


class Server:
    """Serves `image` at `disk`. `filters`, `settings`: nbdkit's."""

    def __init__(self, image: Path, folder: Path, *, filters: tuple[str, ...], settings: tuple[str, ...]) -> None:
        self._image = image
        self._at = folder / "served"
        self._log = folder / "nbdkit.log"
        self._filters = [f"--filter={name}" for name in filters]
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self.disk = self._at / "disk"

    def start(self) -> None:
        """NotHereError where this machine cannot."""
        if absent := missing(*_TOOLS):
            raise NotHereError(f"no {', '.join(absent)}")
        if not Path("/dev/fuse").exists():
            raise NotHereError("no /dev/fuse")
        self._at.mkdir(exist_ok=True)
        nbdkit = [str(find("nbdkit")), "-s", "--exit-with-parent", *self._filters, "file", str(self._image)]
        command = [str(find("nbdfuse")), str(self.disk), "--command", *nbdkit, *self._settings]
        with self._log.open("ab") as sink:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
        deadline = time.monotonic() + _START_S
        while not self.disk.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._log.read_text(encoding="utf-8", errors="replace").strip()[-300:]
                self.stop()
                raise NotHereError(f"nbdfuse does not serve: {said}")
            time.sleep(POLL_S)

    def kill(self) -> None:
        """Nbdkit is gone between two instructions, and with it what it had not written."""
        assert self._process is not None
        pid = self._process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
            os.kill(int(child), signal.SIGKILL)

    def stop(self) -> None:
        """Whatever state it is in; what is mounted from it must be unmounted before."""
        if self._process is None:
            return
        subprocess.run([str(find("fusermount3")), "-u", str(self._at)], capture_output=True, timeout=60)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            subprocess.run(["umount", "-l", str(self._at)], capture_output=True, timeout=60)
        self._process = None


class ServedImage(Image):
    """A file system on such a disk, which works whenever it is mounted. With the filter `cache` the disk has a cache of
    its own that only a flush empties: `cut` takes that too, as the real thing does."""

    def __init__(self, kind: Kind, folder: Path, *, filters: tuple[str, ...], settings: tuple[str, ...]) -> None:
        self._server = Server(folder / "image", folder, filters=filters, settings=settings)
        super().__init__(kind, folder, disk=self._server.disk)

    def mount(self) -> None:
        self._server.start()
        super().mount()

    def unmount(self) -> None:
        try:
            super().unmount()
        finally:
            self._server.stop()

    def revive(self) -> None:
        self._server.stop()
        super().revive()

    def cut(self) -> None:
        self._server.kill()

    def close(self) -> None:
        super().close()
        self._server.stop()


def opened(name: str, folder: Path) -> Image:
    """A file system by its name: one of images.KINDS, or `ext4-cached`, on a disk with a cache."""
    if name == "ext4-cached":
        return ServedImage(KINDS["ext4"], folder, filters=("cache",), settings=("cache=writeback",))
    return Image(KINDS[name], folder)
