"""What systemd is told while a run goes on (sd_notify): ready, a status line, the watchdog's food, the end.

    STATUS=.. EXTEND_TIMEOUT_USEC=..   ->   READY=1   ->   STATUS=.. WATCHDOG=1 ...   ->   STOPPING=1

The protocol alone, no library: datagrams to the socket that NOTIFY_SOCKET names. Where nobody listens everything here
costs a comparison. What cannot be sent never ends a run: the next message is tried on its own, and the two that must
arrive (READY, STOPPING) go out again with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from batchctl.model.progress import Progress, RunState
from batchctl.report.progress import progress_line

if TYPE_CHECKING:
    import socket
    import threading

STATUS_INTERVAL_S = 5.0
LOOK_INTERVAL_S = 1.0
# A step before READY is as long as the data is large: listing a slow file system, recovering a long log.
STARTING_S = 3600.0
# Beyond the grace of a drain: workers that are killed, strays that are looked for.
LEAVING_S = 90.0
_FEEDINGS = 3  # per watchdog interval: two may come late
_SHORTEST_FEEDING_S = 0.01  # however short the interval: the thread of the end must not spin
_LONGEST_WATCHDOG = 15  # digits of microseconds (31 years); systemd's "infinity" is 2**64 - 1
_LONGEST = 1024


class Notifier:
    """One per process. `clock` in monotonic seconds; `address` "" where nobody listens. Used from one thread."""

    def __init__(self, address: str, *, watchdog_s: float, clock: Callable[[], float]) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._clock = clock
        self._feed_every = max(watchdog_s / _FEEDINGS, _SHORTEST_FEEDING_S) if watchdog_s else 0.0
        self._fed: float | None = None
        self._next = self._look = 0.0
        self._state: RunState | None = None
        self._owed: tuple[str, ...] = ()
        self._ready = self._stopping = False
        self._over: threading.Event | None = None
        self._feeder: threading.Thread | None = None
        self._socket: socket.socket | None = None
        if self._address:
            import socket  # 4 ms before anything is started, that most runs can do without

            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)  # a listener that is stuck must not hold up the run

    @classmethod
    def of(cls, environ: MutableMapping[str, str], *, clock: Callable[[], float]) -> Self:
        """The one that the service manager asks for. Its variables are taken out: they are meant for this process, and
        a worker, or a program that a script starts, must neither speak for it nor feed its watchdog."""
        address, usec, pid = (environ.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))
        if not address.startswith(("/", "@")):
            address = ""
        ours = pid in ("", str(os.getpid()))
        return cls(address, watchdog_s=_watchdog_s(usec) if ours else 0.0, clock=clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def starting(self, text: str) -> None:
        """A step before READY has begun, which may take long."""
        self._send(f"STATUS={text}", _extension(STARTING_S))

    def ready(self) -> None:
        """The run is under way: from here on the watchdog counts, and `alive` is called."""
        if not self._ready:
            self._ready = True
            self._send("READY=1", must=True)
            self.alive()

    def alive(self) -> None:
        """A turn of the loop: feeds the watchdog where that is due."""
        if not self._feed_every or self._socket is None:
            return
        now = self._clock()
        if (self._fed is None or now - self._fed >= self._feed_every) and self._send("WATCHDOG=1"):
            self._fed = now

    def due(self) -> bool:
        """Would `progress` say anything now, as far as that can be told without a Progress?"""
        return self._socket is not None and self._clock() >= self._look

    def progress(self, progress: Progress, *, force: bool = False) -> None:
        """The status line: every 5 s, and where the state has changed."""
        now = self._clock()
        self._look = now + LOOK_INTERVAL_S
        if force or now >= self._next or progress.state is not self._state:
            self._next, self._state = now + STATUS_INTERVAL_S, progress.state
            self._send(f"STATUS={progress_line(progress)}")

    def stopping(self, *, within_s: float) -> None:
        """A drain or an end has begun, which takes at most about so long. May be said again: that prolongs it."""
        first, self._stopping = not self._stopping, True
        self._send(*(("STOPPING=1",) if first else ()), _extension(within_s + LEAVING_S), must=first)

    def ending(self) -> None:
        """The loop is over. What is left (order the rows, sync, digest) are system calls as long as the data, so a
        thread feeds the watchdog until `close`: a process that was stopped does not, a disk that is slow costs nothing.
        """
        if self._feed_every and self._socket is not None and self._feeder is None:
            import threading

            self._over = threading.Event()
            self._feeder = threading.Thread(target=self._keep_feeding, args=(self._over,), name="watchdog", daemon=True)
            self._feeder.start()

    def close(self) -> None:
        """The last word. May be called twice."""
        if self._feeder is not None and self._over is not None:
            self._over.set()
            self._feeder.join()
        if self._socket is not None:
            if self._ready and not self._stopping:
                self._stopping = True
                self._send("STOPPING=1", must=True)
            self._socket.close()
            self._socket = None

    def _keep_feeding(self, over: threading.Event) -> None:
        while True:
            self._deliver("WATCHDOG=1")
            if over.wait(self._feed_every):
                return

    def _send(self, *lines: str, must: bool = False) -> bool:
        if self._socket is None:
            return False
        sent = self._deliver("\n".join([*self._owed, *(line[:_LONGEST] for line in lines)]))
        if sent:
            self._owed = ()
        elif must:
            self._owed += lines
        return sent

    def _deliver(self, text: str) -> bool:
        """False where it did not arrive: the listener is busy, or gone. There is nobody else to be told."""
        assert self._socket is not None
        try:
            self._socket.sendto(text.encode(errors="backslashreplace"), self._address)
        except OSError:
            return False
        return True


def _watchdog_s(usec: str) -> float:
    """Seconds; 0.0 for what is no number, or a time that never passes (and that no thread can wait for)."""
    if not (usec.isascii() and usec.isdigit() and len(usec) <= _LONGEST_WATCHDOG):
        return 0.0
    return int(usec) / 1e6


def _extension(seconds: float) -> str:
    return f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}"
