"""What a worker answers, checked against the leases in its hands and turned into events.

Nothing is believed: a result has to fit the lease that its serial names, lengths have to add up, names to be plain.
Anything else is a ProtocolError, after which the worker is replaced. Answers to leases taken back are dropped.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Any

from batchctl.engine.gpu_memory import gpu_shortage
from batchctl.guest import wire
from batchctl.model.events import ColumnsSeen, Event, GuestWarned, LeaseFailed, LeasesReturned, LeasesScored
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Scored, StagedFile

# The guest caps these too; here they keep a broken worker from filling the log.
_ERROR_CAP, _MESSAGE_CAP, _TRACEBACK_CAP, _PHASE_CAP = 300, 10_000, 70_000, 20
_NAME_MAX = 255  # bytes, of a component of a path
_new_scored = tuple.__new__  # half the time of Scored(...), once per mini-batch
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Replies:
    """Reads the answers of one incarnation. `outstanding` (serial -> lease) is shared with the worker's near side."""

    def __init__(self, slot: int, incarnation: int, outstanding: dict[int, Lease]) -> None:
        self._slot = slot
        self._incarnation = incarnation
        self._outstanding = outstanding
        self.init_failure: Failure | None = None
        self.said_bye = False

    def take_scored(self, frame: wire.Frame, events: list[Event]) -> None:
        """The hot path: many results in one frame."""
        outstanding, body, room = self._outstanding, frame.body, len(frame.body)
        records = wire.scored_records(frame.head)
        found: list[Scored] = []
        at = 0
        try:
            for serial, batch, first, count, attempt, length, crc, n_rows, ok, run_ns, busy_ns in records:
                end = at + length
                lease = outstanding.pop(serial, None)
                if lease is not None:
                    if lease != (batch, first, count, attempt) or end > room or ok > count:
                        outstanding[serial] = lease  # still the worker's: it comes back when that is gone
                        raise wire.ProtocolError("a result that fits no lease")
                    fields = (lease, body[at:end], length, crc, n_rows, ok, count - ok, run_ns, "", "", (), busy_ns)
                    found.append(_new_scored(Scored, fields))
                at = end
        finally:  # what was right before a wrong one stands
            if found:
                events.append(LeasesScored(self._slot, self._incarnation, found))
        if at != len(body):
            raise wire.ProtocolError("rows that belong to no result")

    def take_other(self, frame: wire.Frame, events: list[Event]) -> None:
        """Everything that is rare."""
        slot, incarnation = self._slot, self._incarnation
        try:
            match frame.kind:
                case wire.SCORED_LONG:
                    self._take_long(frame, events)
                case wire.FAILED:
                    self._take_failed(frame, events)
                case wire.INIT_FAILED:
                    self.init_failure = _failure(frame.json())
                case wire.COLUMNS:
                    events.append(ColumnsSeen(slot, incarnation, frame.body))
                case wire.NOTE:
                    events.append(GuestWarned(slot, incarnation, str(frame.json()["text"])))
                case wire.BYE:
                    self.said_bye = True
                case wire.VOIDED:
                    pass  # handed on already when it was taken back
                case _:
                    raise wire.ProtocolError(f"an unknown frame kind {frame.kind}")
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise wire.ProtocolError(f"frame kind {frame.kind} with a malformed head") from error

    def _take_failed(self, frame: wire.Frame, events: list[Event]) -> None:
        said = frame.json()
        serial, failure, run_ns = int(said["serial"]), _failure(said), _nanoseconds(said["run_ns"])
        lease = self._outstanding.get(serial)
        if lease is None:
            return
        if tuple(said["lease"]) != lease:
            raise wire.ProtocolError("a failure that fits no lease")
        del self._outstanding[serial]
        if said.get("errno") in _FULL:  # no room for its files: not the script's fault, so not charged
            why = f"no room for what mini-batch {lease.batch} writes: {failure.message}"
            events.append(LeasesReturned(self._slot, self._incarnation, (lease,), True, why))
        else:
            events.append(LeaseFailed(self._slot, self._incarnation, lease, failure, run_ns))

    def _take_long(self, frame: wire.Frame, events: list[Event]) -> None:
        said = frame.json()
        serial = int(said["serial"])
        lease = self._outstanding.get(serial)
        if lease is None:
            return
        spill, staged, length, ok = str(said["spill"]), str(said["staged"]), int(said["length"]), int(said["ok"])
        if tuple(said["lease"]) != lease or not 0 <= ok <= lease.count or not (_is_plain(spill) and _is_plain(staged)):
            raise wire.ProtocolError("a result that fits no lease")
        if not 0 <= length < 1 << 63 or len(frame.body) != (0 if spill else length):
            raise wire.ProtocolError("a result whose rows are not all there")
        if not (0 <= int(said["crc"]) < 1 << 32 and 0 <= int(said["n_rows"]) < 1 << 32):
            raise wire.ProtocolError("a result with impossible numbers")
        scored = Scored(
            lease,
            frame.body,
            length,
            int(said["crc"]),
            int(said["n_rows"]),
            ok,
            lease.count - ok,
            _nanoseconds(said["run_ns"]),
            spill,
            staged,
            tuple(_staged_file(str(path), int(size)) for path, size in said["files"]),
            _nanoseconds(said["busy_ns"]),
        )
        del self._outstanding[serial]
        events.append(LeasesScored(self._slot, self._incarnation, (scored,)))


def init_seconds(frame: wire.Frame) -> float:
    """How long `init()` took, from a READY frame."""
    try:
        return float(frame.json()["init_s"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise wire.ProtocolError("READY with a malformed head") from error


def _nanoseconds(value: Any) -> int:
    """A time as the binary records hold it; ValueError for one that no clock shows."""
    found = int(value)
    if not 0 <= found < 1 << 64:
        raise ValueError("an impossible time")
    return found


def _staged_file(path: str, size: int) -> StagedFile:
    """Whether it may be published is for the store to say; ValueError for what no file system could hold."""
    os.fsencode(path)
    if "\0" in path or not 0 <= size < 1 << 63:
        raise ValueError("an impossible file")
    return StagedFile(path, size)


def _is_plain(name: str) -> bool:
    """A name in a folder of ours (or none), not a way out of it. ValueError for one that nothing can be called."""
    return "/" not in name and "\0" not in name and name not in (".", "..") and len(os.fsencode(name)) <= _NAME_MAX


def _failure(said: Mapping[str, Any]) -> Failure:
    error, message = str(said["error"])[:_ERROR_CAP], str(said["message"])[:_MESSAGE_CAP]
    return Failure(
        FailureKind.FAILED,
        error,
        message,
        str(said.get("traceback", ""))[:_TRACEBACK_CAP],
        str(said.get("phase", ""))[:_PHASE_CAP],
        None if said.get("peak") is None else max(0, int(said["peak"])),
        gpu_shortage(error, message),
    )
