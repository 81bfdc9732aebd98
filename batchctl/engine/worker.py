"""A worker process as the pool sees it: its channel, its shared page, its log pipe and the leases in its hands."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
from collections.abc import Sequence
from enum import Enum, auto

from batchctl import processes
from batchctl.engine.base import LogSink
from batchctl.engine.deaths import without_our_frames
from batchctl.engine.replies import Replies, init_seconds
from batchctl.guest import page, wire
from batchctl.model.events import Event, InitFailed, LeaseFailed, LeasesReturned, WorkerReady
from batchctl.model.lease import Lease
from batchctl.model.node import Slot
from batchctl.model.outcome import Failure, FailureKind, Shortage
from batchctl.model.progress import WorkerView
from batchctl.named_tuple import NamedTuple

_READ = 1 << 20
_LOG_READ = 1 << 16
_LOG_READS_PER_ROUND = 4  # a worker that floods its log must not starve the others
_PIPE_SIZE = 1 << 20


class Phase(Enum):
    """Where a worker is in its life."""

    STARTING = auto()  # asked for; not passed init() yet
    READY = auto()
    STOPPING = auto()  # told to stop; finishes what it has
    KILLED = auto()  # killed on somebody's order; nobody is charged
    LATE = auto()  # killed because a deadline passed


class Ends(NamedTuple):
    """The far ends of a worker's descriptors, until they have travelled to the fork server."""

    channel: socket.socket
    page: int
    log: int

    def fds(self) -> tuple[int, int, int]:
        """In the order in which the fork server takes them."""
        return (self.channel.fileno(), self.page, self.log)

    def close(self) -> None:
        self.channel.close()
        os.close(self.page)
        os.close(self.log)


class Worker:
    """The near side of one incarnation. Its methods turn what arrives into events; they kill nothing by themselves."""

    def __init__(self, slot: Slot, epoch: int, incarnation: int, *, log_sink: LogSink, started_ns: int) -> None:
        self.slot = slot
        self.epoch = epoch
        self.incarnation = incarnation
        self.pid = 0
        self.phase = Phase.STARTING
        self.started_ns = started_ns
        self.ready = False  # passed init()
        self.told_ns = 0  # when it was told to stop; 0: it was not
        self.fault = ""  # what it did that no worker of ours does; it is killed for it
        self.late_because = ""
        self._before_late = self.phase
        self._late_serial = 0
        self._peak: int | None = None
        self.outstanding: dict[int, Lease] = {}
        self._next_serial = 1
        self._decoder = wire.Decoder()
        self._replies = Replies(slot.index, incarnation, self.outstanding)
        self._log_sink = log_sink
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        self.channel = ours
        memory = os.memfd_create("batchctl-worker", os.MFD_CLOEXEC)
        os.ftruncate(memory, page.SIZE)
        self.page = page.Page(memory)
        self.log, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(write_end, True)
        _enlarge(self.log)
        self.ends = Ends(theirs, memory, write_end)

    def send(self, leases: Sequence[Lease]) -> None:
        """Put leases into the worker's hands. A dead worker is not an error: they will be returned."""
        numbered = list(enumerate(leases, self._next_serial))
        self.outstanding.update(numbered)
        self._next_serial += len(numbered)
        pack = wire.LEASE_RECORD.pack
        records = [pack(serial, *lease) for serial, lease in numbered]
        self._write(wire.encode(wire.LEASES, self.epoch, self.incarnation, b"".join(records)))

    def tell_to_stop(self) -> None:
        """Let it finish and leave; a late one too, should it come back by itself."""
        self.told_ns = page.now_ns()
        if self.phase is Phase.LATE:
            self._before_late = Phase.STOPPING
        else:
            self.phase = Phase.STOPPING
        self._write(wire.encode_json(wire.STOP, self.epoch, self.incarnation, {}))

    def _write(self, data: bytes) -> None:
        try:
            sent = self.channel.send(data)
        except (BrokenPipeError, ConnectionResetError):
            return
        except BlockingIOError:
            sent = 0
        if sent != len(data):  # a few hundred bytes into an empty socket buffer: only a broken peer gets us here
            raise wire.ProtocolError("the channel is full")

    def mark_late(self, why: str) -> None:
        """Its deadline has passed. Only the lease that it is at now may be charged for that, and `why` is kept: what it
        does by the time of its end is another matter."""
        self.late_because = why
        self._before_late, self.phase, self._late_serial = self.phase, Phase.LATE, self.page.look().serial
        self._peak = processes.peak_memory(self.pid)  # now: soon there is nobody to ask

    def forgive(self) -> None:
        """It came back by itself before it was told to go."""
        if self.phase is Phase.LATE:  # an order to kill it stands
            late_to_start = self._before_late is Phase.STARTING
            self.phase = Phase.READY if late_to_start and self.ready else self._before_late

    @property
    def owes(self) -> bool:
        """Should it be doing something that no deadline watches: take up a lease, render, answer, leave?"""
        if not self.pid or not self.ready or not (self.outstanding or self.told_ns):
            return False
        return self.page.look().state not in (page.RUN, page.SHUTDOWN)

    def take_back(self) -> tuple[Lease, ...]:
        """The leases it has not started, by its page; they are void from now on.

        A worker that starts one at this very moment runs it in vain: its answer is no longer expected and is dropped.
        """
        reached = self.page.look().serial
        waiting = [serial for serial in self.outstanding if serial > reached]
        if not waiting:
            return ()
        # All that it has not begun was taken back, now or before: the page has room for one range only.
        self.page.void(reached + 1, self._next_serial)
        return tuple(self.outstanding.pop(serial) for serial in waiting)

    def read_channel(self, events: list[Event]) -> bool:
        """Turn what has arrived into events; False at the end of the stream, which proves nothing about the worker.

        Raises wire.ProtocolError: then the worker is not to be trusted.
        """
        try:
            data = self.channel.recv(_READ)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        if not data:
            return False
        replies = self._replies
        for frame in self._decoder.feed(data):
            if frame.epoch != self.epoch or frame.incarnation != self.incarnation:
                raise wire.ProtocolError("a frame of another incarnation")
            if frame.kind == wire.SCORED:
                replies.take_scored(frame, events)
            elif frame.kind == wire.READY:
                self._take_ready(frame, events)
            else:
                replies.take_other(frame, events)
        return True

    def _take_ready(self, frame: wire.Frame, events: list[Event]) -> None:
        if self.phase is Phase.STARTING:
            self.phase = Phase.READY
        self.ready = True
        if self.phase is Phase.KILLED or self.told_ns:  # nobody is to count on it any more
            return
        events.append(WorkerReady(self.slot.index, self.incarnation, self.pid, init_seconds(frame)))

    def drain_channel(self, events: list[Event]) -> None:
        """After its death: everything that it had sent. What cannot be understood any more is left out."""
        if self.fault:
            return
        with contextlib.suppress(OSError, wire.ProtocolError):
            while self.channel.recv(1, socket.MSG_PEEK):
                self.read_channel(events)

    def read_log(self) -> bool:
        """Take some of what it printed; False at the end of the stream."""
        for _ in range(_LOG_READS_PER_ROUND):
            try:
                data = os.read(self.log, _LOG_READ)
            except OSError:
                return True
            if not data:
                return False
            self._log_sink.feed(data)
        return True

    def log_tail(self, size: int) -> str:
        """The end of its output, for a message."""
        return without_our_frames(self._log_sink.tail(size))

    def conclude(self, events: list[Event], *, cause: str, charge: bool, shortage: Shortage = Shortage.NONE) -> None:
        """It is dead: say what became of its leases. `charge`: a death in `run` counts as an attempt. `shortage`: the
        kernel killed it for memory, which may be the doing of rows that were being rendered, too.

        Who answers for it clears the others (LeasesReturned): the lease that it died at, else what it had begun, else
        all. One that broke the protocol may have done so long before, so it is not known which one it was at then.
        """
        for _ in range(_PIPE_SIZE // _LOG_READ):  # at most what the pipe can hold; a stray child may go on writing
            if not (_readable(self.log) and self.read_log()):
                break
        self.drain_channel(events)
        picture = self.page.look()
        slot, incarnation = self.slot.index, self.incarnation
        name = "OutOfMemory" if shortage is Shortage.MEMORY else "WorkerDied"
        told = self._replies.init_failure
        if told is not None or (not self.ready and self.phase in (Phase.STARTING, Phase.LATE)):
            kind = FailureKind.TIMED_OUT if self.phase is Phase.LATE else FailureKind.LOST
            silent = Failure(kind, name, f"in init(): {cause}", self.log_tail(4000), shortage=shortage)
            events.append(InitFailed(slot, incarnation, told or silent))
        cleared = False
        if (
            charge
            and (picture.state == page.RUN or (shortage and picture.state == page.RENDER))
            and (self.phase is not Phase.LATE or picture.serial == self._late_serial)
        ):
            lease = self.outstanding.pop(picture.serial, None)
            if lease is not None:
                late = self.phase is Phase.LATE
                kind = FailureKind.TIMED_OUT if late else FailureKind.LOST
                name, peak = ("TimedOut", self._peak) if late else (name, None)
                phase = page.STATE_NAMES[picture.state]
                failure = Failure(kind, name, cause, self.log_tail(4000), phase, peak, shortage)
                events.append(LeaseFailed(slot, incarnation, lease, failure, page.now_ns() - picture.start_ns))
                cleared = not self.fault
        died_at = picture.serial if charge and picture.state == page.RENDER and not self.fault else 0
        begun = {serial for serial in self.outstanding if serial <= picture.serial}
        for serials in ({died_at} & begun, begun - {died_at}, self.outstanding.keys() - begun):
            if serials:
                found = tuple(self.outstanding[serial] for serial in sorted(serials))
                events.append(LeasesReturned(slot, incarnation, found, serials <= begun, cleared=cleared))
                cleared = True
        self.outstanding.clear()

    def view(self, now_ns: int) -> WorkerView:
        """What it is doing, by its page."""
        picture = self.page.look()
        busy = picture.state in (page.RUN, page.RENDER)
        lease = self.outstanding.get(picture.serial) if busy else None
        since = max(0, now_ns - (picture.start_ns or self.started_ns)) / 1e9
        slot = self.slot
        return WorkerView(
            slot.index,
            self.incarnation,
            self.pid,
            page.STATE_NAMES[picture.state],
            lease.batch if lease else None,
            since,
            slot.cpus,
            slot.gpu,
        )

    def kill(self, number: int) -> None:
        """Signal the worker's whole group."""
        if self.pid:
            processes.kill_group(self.pid, number)

    def close(self) -> None:
        """Give the descriptors back."""
        self.channel.close()
        self.page.close()
        os.close(self.log)
        self._log_sink.close()


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return any(bits & select.POLLIN for _fd, bits in poll.poll(0))


def _enlarge(fd: int) -> None:
    with contextlib.suppress(OSError):  # over the user's pipe quota: the small one works too
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
