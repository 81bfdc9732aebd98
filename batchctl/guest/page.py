"""The shared page of a worker: what it is doing right now, readable by the pool without asking.

    offset 0    sequence u64 | state u32 | zero u32 | serial u64 | start u64 | sequence u64     written by the worker
    offset 2048 void from u64 | void to u64                                                    written by the pool

Blame and time never depend on what was sent: the worker writes its state before it acts, the pool judges deadlines and
charges deaths by this page. The two sequence numbers are equal in a consistent picture; the writer stores the first one
first and the last one last, the reader reads again where they differ. `start` is CLOCK_MONOTONIC in nanoseconds (one
machine). Leases whose serial lies in [void from, void to) have been taken back: the worker skips them unstarted.
"""

from __future__ import annotations

import mmap
import struct
import time

from .named_tuple import NamedTuple

SIZE = 4096
_STATE = struct.Struct("<QIIQQQ")
_SEQUENCE = struct.Struct("<Q")
_LAST_AT = _STATE.size - _SEQUENCE.size
_VOID = struct.Struct("<QQ")
_VOID_AT = 2048

STARTING = 0
INIT = 1
IDLE = 2
RUN = 3
RENDER = 4
SEND = 5
SHUTDOWN = 6
STATE_NAMES = ("starting", "init", "idle", "run", "render", "send", "shutdown")


class Picture(NamedTuple):
    """One consistent reading: state number, serial of the lease begun last (0: none yet), when that state began.

    Leases of a higher serial have not been begun, whatever the state.
    """

    state: int
    serial: int
    start_ns: int


class Page:
    """Either side's view of a mapped page. One writer per half; no locks."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, SIZE)
        self._sequence = 0
        self._serial = 0

    def put(self, state: int, serial: int, start_ns: int) -> None:
        """Worker: say what happens from now on."""
        self._sequence = sequence = self._sequence + 1
        self._serial = serial
        _STATE.pack_into(self._map, 0, sequence, state, 0, serial, start_ns, sequence)

    def move(self, state: int, start_ns: int) -> None:
        """Worker: as `put`, with the serial of the lease that was begun last."""
        self.put(state, self._serial, start_ns)

    def is_void(self, serial: int) -> bool:
        """Worker: has this lease been taken back?"""
        begin, end = _VOID.unpack_from(self._map, _VOID_AT)
        return bool(begin <= serial < end)

    def look(self) -> Picture:
        """Pool: what the worker does now. A writer that died in the middle of a write leaves the last try standing.

        Read against the writer's order: the last number, the data, the first number. If both are equal, no write
        began between the end of that one and our reading of the data.
        """
        state = serial = start = 0
        for _ in range(1000):
            (last,) = _SEQUENCE.unpack_from(self._map, _LAST_AT)
            _first, state, _zero, serial, start, _last = _STATE.unpack_from(self._map, 0)
            (first,) = _SEQUENCE.unpack_from(self._map, 0)
            if first == last:
                break
        return Picture(state if state < len(STATE_NAMES) else STARTING, serial, start)

    def void(self, begin: int, end: int) -> None:
        """Pool: take back the leases with begin <= serial < end."""
        _VOID.pack_into(self._map, _VOID_AT, begin, end)

    def close(self) -> None:
        """Unmap."""
        self._map.close()


def now_ns() -> int:
    """The clock of `start`: CLOCK_MONOTONIC, the same for every process of the machine."""
    return time.monotonic_ns()
