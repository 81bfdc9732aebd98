"""What a worker has to say, gathered so that short mini-batches do not cost a system call each.

Results linger until `linger_bytes` or `linger_ms` have gathered, or until the worker would have to wait; everything
else leaves at once, behind the results that precede it. Where a long `run` follows short ones, nobody can know it
beforehand: a thread of our own sends what has lingered too long (it exists from the first time that results wait).
Results that were still here when the worker died are run again by the pool, uncharged.
"""

from __future__ import annotations

import _socket as socket
import os
import threading
import time

from . import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

_MOST_PAUSES = 4


class Outbox:
    """Writes frames to the pool. A pool that is gone ends this process quietly.

    One lock is around the channel; the methods take it, those with an underscore need it held. Results are added
    without it, by the script's thread alone: a frame takes those that were there when it was begun.

    gathered    results that wait, (record, rows) each
    watched     is somebody going to send what waits too long?
    stray       this process is not the worker, but a child that its script forked
    """

    def __init__(
        self, channel: socket.socket, *, epoch: int, incarnation: int, linger_ms: float, linger_bytes: int
    ) -> None:
        self._channel = channel
        self._epoch = epoch
        self._incarnation = incarnation
        self._linger_s = linger_ms / 1000
        self._linger_ns = int(linger_ms * 1_000_000)
        self._linger_bytes = linger_bytes
        self.gathered: List[Tuple[bytes, bytes]] = []
        self._bytes = 0  # too many rather than too few, where the other thread has just sent
        self._since = 0
        self._noted: Dict[str, bool] = {}
        self._lock = threading.Lock()
        self._waiting = threading.Event()
        self._sweeper: Optional[threading.Thread] = None
        self.watched = False
        self.stray = False

    def disown(self) -> None:
        """In a child that the script forked: it must never speak for this worker, and if it comes back out of the
        script it must leave."""
        self.stray = True
        self._channel.close()

    def add(self, record: bytes, rows: bytes, start_ns: int, end_ns: int) -> bool:
        """One result and when its `run` was; True when it is time to flush (at once after a long `run`)."""
        gathered = self.gathered
        if not gathered:
            self._since = start_ns
            self._bytes = 0
        gathered.append((record, rows))
        self._bytes += len(rows)
        return self._bytes >= self._linger_bytes or end_ns - self._since >= self._linger_ns

    def watch(self) -> None:
        """Results stay here while the next `run` begins, and nobody is `watched`: see to it that they do not stay too
        long."""
        if self._sweeper is None and not self._start_sweeper():
            self.flush()  # nobody else would in time
            return
        self.watched = True
        self._waiting.set()

    def _start_sweeper(self) -> bool:
        sweeper = threading.Thread(target=self._sweep, name="batchctl-outbox", daemon=True)
        try:
            sweeper.start()
        except RuntimeError:  # a limit on processes, or on memory: the script does without threads, and so do we
            return False
        self._sweeper = sweeper
        return True

    def flush(self) -> None:
        """Send the waiting results as one frame."""
        if self.gathered:
            with self._lock:
                self._flush()

    def say(self, kind: int, fields: Dict[str, Any], body: bytes = b"") -> None:
        """Send the waiting results and then this, now. wire.ProtocolError, and nothing sent, if it is too large."""
        frame = wire.encode_json(kind, self._epoch, self._incarnation, fields, body)
        with self._lock:
            self._flush()
            self._send(frame)

    def columns(self, header: bytes) -> None:
        """The rows that follow have this header, or these column types."""
        with self._lock:
            self._flush()
            self._send(wire.encode(wire.COLUMNS, self._epoch, self._incarnation, b"{}", header))

    def note(self, kind: str, text: str) -> None:
        """Tell the user, once per kind."""
        if kind not in self._noted:
            self._noted[kind] = True
            self.say(wire.NOTE, {"kind": kind, "text": text})

    def _flush(self) -> None:
        results = self.gathered[:]
        if not results:
            return
        records, rows = zip(*results)
        frame = wire.encode(wire.SCORED, self._epoch, self._incarnation, b"".join(records), b"".join(rows))
        del self.gathered[: len(results)]  # not those that came meanwhile
        self._send(frame)

    def _send(self, frame: bytes) -> None:
        try:
            self._channel.sendall(frame)
        except OSError:  # EPIPE: the pool is gone; EBADF: the script closed our descriptor. Nobody can be told.
            os._exit(wire.EXIT_NO_POOL)

    def _sweep(self) -> None:
        """The thread: a while after results began to wait, send those that still do.

        To wake it costs the script's thread more than a short mini-batch: each time that it was not needed it looks
        half as often, down to a quarter.
        """
        pause = self._linger_s
        while True:
            self._waiting.wait()
            time.sleep(pause)
            with self._lock:
                late = bool(self.gathered) and time.monotonic_ns() - self._since >= self._linger_ns
                if late:
                    self._flush()
            if not self.gathered:
                # In this order: whoever adds a result from here on finds that nobody watches, or is seen below.
                self._waiting.clear()
                self.watched = False
                if self.gathered:
                    self.watched = True
                    self._waiting.set()
            pause = max(pause / 2, self._linger_s) if late else min(pause * 2, self._linger_s * _MOST_PAUSES)
