"""Nothing that a worker says is believed: what fits no lease breaks the protocol, and no lease is lost by it."""

from __future__ import annotations

import errno
import json
import zlib
from typing import Any

import pytest

from batchctl.engine.replies import Replies, init_seconds
from batchctl.guest import wire
from batchctl.model.events import ColumnsSeen, Event, GuestWarned, LeaseFailed, LeasesReturned, LeasesScored
from batchctl.model.lease import Lease
from batchctl.model.outcome import Shortage, StagedFile

LEASES = {1: Lease(0, 0, 10, 1), 2: Lease(1, 10, 10, 1), 3: Lease(2, 20, 5, 2)}


def record(serial: int, lease: Lease, rows: bytes = b"", *, length: int | None = None, ok: int = 0) -> bytes:
    size = len(rows) if length is None else length
    return wire.SCORED_RECORD.pack(serial, *lease, size, zlib.crc32(rows), 7, ok, 1000, 1500)


def frame(kind: int, head: bytes | dict[str, Any], body: bytes = b"") -> wire.Frame:
    return wire.Frame(kind, 1, 4, head if isinstance(head, bytes) else json.dumps(head).encode(), body)


def taken(given: wire.Frame) -> tuple[list[Event], dict[int, Lease]]:
    outstanding = dict(LEASES)
    replies, events = Replies(2, 4, outstanding), list[Event]()
    (replies.take_scored if given.kind == wire.SCORED else replies.take_other)(given, events)
    return events, outstanding


def long_head(**changes: Any) -> dict[str, Any]:
    head: dict[str, Any] = {"serial": 2, "lease": [1, 10, 10, 1], "n_rows": 3, "ok": 3, "crc": 9, "length": 4}
    return {**head, "run_ns": 5, "busy_ns": 8, "spill": "", "staged": "", "files": [], **changes}


def failed_head(**changes: Any) -> dict[str, Any]:
    head: dict[str, Any] = {"serial": 1, "lease": [0, 0, 10, 1], "run_ns": 5, "phase": "run", "errno": None}
    return {**head, "error": "ValueError", "message": "no", "traceback": "Traceback", **changes}


def test_many_results_in_one_frame() -> None:
    head = record(1, LEASES[1], b"ab", ok=10) + record(9, LEASES[1], b"xyz") + record(2, LEASES[2], b"", ok=3)
    events, outstanding = taken(frame(wire.SCORED, head, b"abxyz"))
    scored = [one for event in events if isinstance(event, LeasesScored) for one in event.scored]
    assert [(one.lease, one.rows, one.n_rows, one.ok, one.failed, one.run_ns, one.busy_ns) for one in scored] == [
        (LEASES[1], b"ab", 7, 10, 0, 1000, 1500),
        (LEASES[2], b"", 7, 3, 7, 1000, 1500),
    ]  # serial 9 was taken back: its rows are skipped
    assert outstanding == {3: LEASES[3]}


# name: a frame that no worker of ours sends
BROKEN = {
    "another mini-batch": frame(wire.SCORED, record(1, LEASES[2])),
    "another attempt": frame(wire.SCORED, record(3, LEASES[3]._replace(attempt=1))),
    "part of the lease": frame(wire.SCORED, record(1, Lease(0, 0, 9, 1))),
    "more succeeded than given": frame(wire.SCORED, record(1, LEASES[1], ok=11)),
    "rows beyond the body": frame(wire.SCORED, record(1, LEASES[1], length=3), b"ab"),
    "a length of 2**63": frame(wire.SCORED, record(1, LEASES[1], length=1 << 63), b"ab"),
    "rows of no result": frame(wire.SCORED, record(9, LEASES[1], b"a"), b"ab"),
    "a ragged head": frame(wire.SCORED, record(1, LEASES[1])[:-1]),
    "long: another lease": frame(wire.SCORED_LONG, long_head(lease=[0, 0, 10, 1]), b"rows"),
    "long: a lease that is none": frame(wire.SCORED_LONG, long_head(lease=5), b"rows"),
    "long: rows not all there": frame(wire.SCORED_LONG, long_head(), b"row"),
    "long: spilled and here": frame(wire.SCORED_LONG, long_head(spill="1.4.2"), b"rows"),
    "long: a negative length": frame(wire.SCORED_LONG, long_head(spill="1.4.2", length=-1)),
    "long: a spill elsewhere": frame(wire.SCORED_LONG, long_head(spill="../plan")),
    "long: a spill that is a folder": frame(wire.SCORED_LONG, long_head(spill="..")),
    "long: a spill with NUL": frame(wire.SCORED_LONG, long_head(spill="a\0b")),
    "long: staged elsewhere": frame(wire.SCORED_LONG, long_head(staged="a/b"), b"rows"),
    "long: too many succeeded": frame(wire.SCORED_LONG, long_head(ok=11), b"rows"),
    "long: fewer than none": frame(wire.SCORED_LONG, long_head(ok=-1), b"rows"),
    "long: an impossible CRC": frame(wire.SCORED_LONG, long_head(crc=1 << 32), b"rows"),
    "long: negative rows": frame(wire.SCORED_LONG, long_head(n_rows=-1), b"rows"),
    "long: files without sizes": frame(wire.SCORED_LONG, long_head(files=[["a"]]), b"rows"),
    "long: a key is missing": frame(wire.SCORED_LONG, {"serial": 2}),
    "long: infinity": frame(wire.SCORED_LONG, b'{"serial": 1e999}'),
    "failed: another lease": frame(wire.FAILED, failed_head(lease=[1, 10, 10, 1])),
    "failed: no message": frame(wire.FAILED, {"serial": 1, "lease": [0, 0, 10, 1], "run_ns": 5, "error": "E"}),
    "failed: a time that is none": frame(wire.FAILED, failed_head(run_ns="long")),
    "failed: a negative time": frame(wire.FAILED, failed_head(run_ns=-1)),
    "failed: longer than time itself": frame(wire.FAILED, failed_head(run_ns=10**400)),
    "long: longer than time itself": frame(wire.SCORED_LONG, long_head(busy_ns=1 << 64), b"rows"),
    "long: no time": frame(wire.SCORED_LONG, long_head(run_ns=None), b"rows"),
    "failed: not JSON": frame(wire.FAILED, b"\xff"),
    "failed: a list": frame(wire.FAILED, b"[]"),
    "failed: deeper than anything": frame(wire.FAILED, b"[" * 500_000),
    "a note without a text": frame(wire.NOTE, {"kind": "x"}),
    "an init failure without an error": frame(wire.INIT_FAILED, {}),
    "a kind that only the pool sends": frame(wire.LEASES, b""),
    "an unknown kind": frame(77, b"{}"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_no_worker_says_is_refused_and_loses_no_lease(case: str) -> None:
    outstanding, events = dict(LEASES), list[Event]()
    replies = Replies(2, 4, outstanding)
    given = BROKEN[case]
    with pytest.raises(wire.ProtocolError):
        (replies.take_scored if given.kind == wire.SCORED else replies.take_other)(given, events)
    assert outstanding == LEASES
    assert events == []


def test_a_result_too_much_is_taken_after_those_that_were_good() -> None:
    outstanding, events = dict(LEASES), list[Event]()
    head = record(1, LEASES[1], b"ab") + record(2, LEASES[1])
    with pytest.raises(wire.ProtocolError):
        Replies(2, 4, outstanding).take_scored(frame(wire.SCORED, head, b"ab"), events)
    assert len(events) == 1
    assert outstanding == {2: LEASES[2], 3: LEASES[3]}  # each lease is in one of the two


def test_a_long_result() -> None:
    files = [["a/b.txt", 5], ["caf\udce9", 0]]
    events, outstanding = taken(frame(wire.SCORED_LONG, long_head(spill="1.4.2", staged="1.4.1.10.1", files=files)))
    (event,) = events
    assert isinstance(event, LeasesScored)
    (one,) = event.scored
    assert (one.lease, one.spill, one.staged, one.length, one.rows) == (LEASES[2], "1.4.2", "1.4.1.10.1", 4, b"")
    assert one.files == (StagedFile("a/b.txt", 5), StagedFile("caf\udce9", 0))
    assert (one.run_ns, one.busy_ns) == (5, 8)
    assert (one.ok, one.failed, 2 in outstanding) == (3, 7, False)


# name: an answer to a lease that is not out (any more)
LATE_ANSWERS = {
    "scored": frame(wire.SCORED, record(8, LEASES[1], b"ab"), b"ab"),
    "long": frame(wire.SCORED_LONG, long_head(serial=8)),
    "failed": frame(wire.FAILED, failed_head(serial=8)),
    "voided": frame(wire.VOIDED, {"serials": [8]}),
}


@pytest.mark.parametrize("case", LATE_ANSWERS)
def test_answers_to_leases_taken_back_are_dropped(case: str) -> None:
    assert taken(LATE_ANSWERS[case]) == ([], LEASES)


def test_a_failure_is_capped() -> None:
    head = failed_head(error="E" * 999, message="m" * 99_999, traceback="t" * 99_999)
    events, outstanding = taken(frame(wire.FAILED, head))
    (event,) = events
    assert isinstance(event, LeaseFailed)
    assert tuple(map(len, (event.failure.error, event.failure.message, event.failure.traceback))) == (300, 10000, 70000)
    assert 1 not in outstanding


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_not_the_scripts_fault(number: int) -> None:
    events, outstanding = taken(frame(wire.FAILED, failed_head(phase="stage", errno=number)))
    (event,) = events
    assert isinstance(event, LeasesReturned)
    assert (event.leases, event.unsent) == ((LEASES[1],), True)
    assert event.full
    assert 1 not in outstanding


def test_what_is_rare() -> None:
    replies, events = Replies(2, 4, {}), list[Event]()
    for given in (frame(wire.COLUMNS, {}, b"a,b\n"), frame(wire.NOTE, {"text": "hm"}), frame(wire.BYE, {})):
        replies.take_other(given, events)
    replies.take_other(frame(wire.INIT_FAILED, {"error": "E", "message": "m"}), events)
    assert events == [ColumnsSeen(2, 4, b"a,b\n"), GuestWarned(2, 4, "hm")]
    assert replies.said_bye
    assert replies.init_failure is not None
    assert (replies.init_failure.error, replies.init_failure.traceback) == ("E", "")


@pytest.mark.parametrize("head", [b"{}", b'{"init_s": "soon"}', b'{"init_s": null}', b"nonsense"])
def test_ready_without_its_time(head: bytes) -> None:
    with pytest.raises(wire.ProtocolError):
        init_seconds(frame(wire.READY, head))


def test_a_failure_says_whether_a_gpu_was_full() -> None:
    for error, message, shortage in (
        ("torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB.", Shortage.GPU),
        ("ValueError", "no", Shortage.NONE),
    ):
        (event,), _ = taken(frame(wire.FAILED, failed_head(error=error, message=message)))
        assert isinstance(event, LeaseFailed)
        assert event.failure.shortage is shortage
