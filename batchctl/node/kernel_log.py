"""The kernel's log, where it may be read: whom the OOM killer killed, and which GPU reported an Xid error.

6,1234,98765432,-;Memory cgroup out of memory: Killed process 4242 (python) total-vm:...
4,1240,98765500,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=4242, GPU has fallen off the bus.
"""

from __future__ import annotations

import os
import re

_DEVICE = "/dev/kmsg"
_KILLED = r"Killed process (\d+)[ ,]"
_XID = r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (\d+)"


class KernelLog:
    """A place in the log. `new_lines` gives what has been written since the last call; None: it cannot be read."""

    def __init__(self, *, from_now: bool, device: str = _DEVICE) -> None:
        try:
            self._fd = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if from_now:
                os.lseek(self._fd, 0, os.SEEK_END)
        except OSError:  # a container without it, dmesg_restrict
            self._fd = -1

    def new_lines(self) -> list[str] | None:
        """Never blocks. Lines that were overwritten before we came are lost, and that is not an error."""
        if self._fd < 0:
            return None
        lines: list[str] = []
        while True:
            try:
                record = os.read(self._fd, 8192)  # one record a read
            except BlockingIOError:
                return lines
            except BrokenPipeError:  # overwritten: the next read is at what is left
                continue
            except OSError:
                return None
            if not record:
                return lines
            lines.append(record.partition(b";")[2].partition(b"\n")[0].decode("utf-8", "replace"))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def killed_pid(line: str) -> int | None:
    """Whom the OOM killer says in this line that it has killed."""
    found = re.search(_KILLED, line) if "emory" in line else None
    return int(found[1]) if found else None


def xid_error(line: str) -> tuple[str, int] | None:
    """(PCI address as the driver writes it, "0000:3b:00"; error number)."""
    found = re.search(_XID, line)
    return (found[1].lower(), int(found[2])) if found else None
