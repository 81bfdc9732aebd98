"""A real memory cgroup (v1 or v2) with a limit, for tests that a command has to live in one.

Made below this process's own cgroup where that may be done, else at the top of the hierarchy; removed at the end, with
whatever is left in it killed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from batchctl.node.cgroup import Mount, enclosing, parse_membership, parse_mounts

_numbers = itertools.count()


@dataclass(frozen=True)
class MemoryCgroup:
    """`prefix` runs a command inside."""

    folder: Path
    v2: bool

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh")

    @property
    def oom_kills(self) -> int:
        """How many processes the kernel has killed here for want of memory."""
        text = (self.folder / ("memory.events" if self.v2 else "memory.oom_control")).read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.split()[0] == "oom_kill")

    @property
    def pids(self) -> list[int]:
        return [int(word) for word in (self.folder / "cgroup.procs").read_text().split()]


@contextlib.contextmanager
def memory_cgroup(limit: int) -> Iterator[MemoryCgroup]:
    """One with a limit of so many bytes; the test is skipped where none can be made."""
    group = _made(limit)
    try:
        yield group
    finally:
        _remove(group)


def _made(limit: int) -> MemoryCgroup:
    why = "no memory controller is mounted"
    name = f"batchctl-test-{os.getpid()}-{next(_numbers)}"
    for place, v2 in _places():
        group = MemoryCgroup(place / name, v2)
        try:
            group.folder.mkdir()
        except OSError as error:
            why = f"no cgroup can be made in {place}: {error.strerror}"
            continue
        try:
            (group.folder / ("memory.max" if v2 else "memory.limit_in_bytes")).write_text(str(limit))
            swap, none = ("memory.swap.max", "0") if v2 else ("memory.memsw.limit_in_bytes", str(limit))
            if (group.folder / swap).exists():  # else what does not fit goes to swap, and nobody is killed
                (group.folder / swap).write_text(none)
            return group
        except OSError as error:
            why = f"no limit can be set in {place}: {error.strerror}"
            group.folder.rmdir()
    pytest.skip(f"not run: {why}")


def _places() -> Iterator[tuple[Path, bool]]:
    membership = parse_membership(Path("/proc/self/cgroup").read_text())
    mounts = parse_mounts(Path("/proc/self/mountinfo").read_text())
    v2 = "memory" not in membership
    path = membership.get("" if v2 else "memory")
    mount = next((one for one in mounts if _holds_memory(one, v2=v2)), None)
    if path is not None and mount is not None:
        for folder in enclosing(path, mount):
            yield Path(folder), v2


def _holds_memory(mount: Mount, *, v2: bool) -> bool:
    return mount.controllers is None if v2 else mount.controllers is not None and "memory" in mount.controllers


def _remove(group: MemoryCgroup) -> None:
    deadline = time.monotonic() + 10.0
    while True:
        for pid in group.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            group.folder.rmdir()
            return
        except OSError:  # the dead are still being taken apart
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
