"""What a worker may say: the frames of the wire, its answers, its shared page; and the orders that a guest is given."""

from __future__ import annotations

import json
import os
import random
import struct
import zlib
from pathlib import Path

from batchctl.engine.replies import Replies, init_seconds
from batchctl.engine.worker import Phase, Worker
from batchctl.guest import page, wire
from batchctl.guest.config import fork_of, job_of
from batchctl.model.events import ColumnsSeen, Event, GuestWarned, LeaseFailed, LeasesReturned, LeasesScored
from batchctl.model.lease import Lease
from batchctl.model.node import Slot
from batchctl.model.records import Charged
from batchctl.store.payloads import COMMIT, pack_failures
from tests.crash.fuzz.mutations import DEEP, mutated, mutated_json
from tests.crash.fuzz.target import Target, holds

_LEASES = {1: Lease(0, 0, 10, 1), 2: Lease(1, 10, 10, 1), 3: Lease(2, 20, 5, 2)}
_EPOCH, _INCARNATION = 1, 4
_HEADS = {
    wire.SCORED_LONG: {
        "serial": 2,
        "lease": [1, 10, 10, 1],
        "n_rows": 3,
        "ok": 3,
        "crc": 9,
        "length": 4,
        "run_ns": 5,
        "busy_ns": 8,
        "spill": "",
        "staged": "1.1.10.1",
        "files": [["a/b.txt", 5]],
    },
    wire.FAILED: {
        "serial": 1,
        "lease": [0, 0, 10, 1],
        "run_ns": 5,
        "error": "ValueError",
        "message": "no",
        "traceback": "Traceback: no",
        "phase": "run",
        "peak": 1 << 30,
        "errno": None,
    },
    wire.INIT_FAILED: {"kind": "failed", "error": "ValueError", "message": "no", "traceback": ""},
    wire.NOTE: {"text": "something"},
    wire.READY: {"init_s": 0.5},
    wire.BYE: {},
    wire.VOIDED: {"serials": [3]},
}
_JOB = {
    "run_id": "ab" * 16,
    "epoch": 1,
    "plan": "/p",
    "script": "/s/score.py",
    "code": "/s",
    "argv": ["--logging_level", "info"],
    "env": {"A": "b"},
    "logging_level": "info",
    "output_format": "csv",
    "output_action": "append_row",
    "header": False,
    "spill": "/x/spill",
    "stage": "/x/stage",
    "out": "/x",
    "logs": "/x/logs",
    "mlruns": "/x/mlruns",
    "own_files": "staged",
    "preload": ["json"],
    "spill_over": 1 << 20,
    "linger_ms": 2.0,
    "linger_bytes": 65536,
    "timeout": 60.0,
    "scorer": "script",
    "chunk_rows": 0,
}
_FORK = {
    "slot": 0,
    "incarnation": 1,
    "epoch": 1,
    "cpus": [0],
    "threads": 1,
    "gpu": None,
    "oom_score_adj": 500,
    "home": "/x/stage/worker-0",
}


def targets() -> list[Target]:
    answers = tuple(_answer(kind) for kind in (wire.SCORED, wire.COLUMNS, *_HEADS))
    streams = (*answers, b"".join(answers), answers[0] * 3)
    orders = tuple(wire.encode_json(kind, 1, 0, head) for kind, head in ((wire.JOB, _JOB), (wire.FORK, _FORK)))
    pages = tuple(struct.pack("<QIIQQQ", 7, state, 0, serial, 99, 7) for state in range(7) for serial in range(4))
    return [
        Target("wire", 50, _decode, (wire.ProtocolError,), streams, (b"\0" * 4, b"\xff" * 4)),
        Target("replies", 40, _reply, (wire.ProtocolError,), answers, (), lambda dice: _made(dice)),
        Target("orders", 8, _order, (wire.ProtocolError,), orders, (), lambda dice: _ordered(dice)),
        Target("worker", 2, _Bench(), (wire.ProtocolError,), tuple(one + two for one in pages for two in answers)),
    ]


def _answer(kind: int) -> bytes:
    if kind == wire.SCORED:
        rows = (b"a\n", b"")
        records = [
            wire.SCORED_RECORD.pack(number, *_LEASES[number], len(text), zlib.crc32(text), 1, 1, 9, 9)
            for number, text in enumerate(rows, start=1)
        ]
        return wire.encode(kind, _EPOCH, _INCARNATION, b"".join(records), b"".join(rows))
    if kind == wire.COLUMNS:
        return wire.encode(kind, _EPOCH, _INCARNATION, b"{}", b"a,b\n")
    body = b"abcd" if kind == wire.SCORED_LONG else b""
    return wire.encode_json(kind, _EPOCH, _INCARNATION, _HEADS[kind], body)


def _made(dice: random.Random) -> bytes:
    """One answer whose frame is right."""
    kind = dice.choice((wire.SCORED, *_HEADS, wire.SCORED_LONG, wire.FAILED))
    if kind == wire.SCORED:
        frame = wire.Decoder().feed(_answer(kind))[0]
        head = mutated((frame.head,), (), dice)
        return wire.encode(kind, _EPOCH, _INCARNATION, head, frame.body if dice.random() < 0.7 else b"abc")
    body = dice.choice((b"abcd", b"", b"abc")) if kind == wire.SCORED_LONG else b""
    return wire.encode(kind, _EPOCH, _INCARNATION, mutated_json(_HEADS[kind], dice), body)


def _decode(data: bytes) -> None:
    """In pieces or at once: the same frames, which encode to what was read; nothing is held beyond the caps."""
    whole = wire.Decoder()
    frames = whole.feed(data)
    pieces = wire.Decoder()
    step = 1 + len(data) // 3
    again = [frame for at in range(0, len(data), step) for frame in pieces.feed(data[at : at + step])]
    holds(again == frames, "other frames in pieces")
    encoded = b"".join(wire.encode(one.kind, one.epoch, one.incarnation, one.head, one.body) for one in frames)
    holds(data.startswith(encoded), "frames that do not encode to what was read")
    holds(len(encoded) + whole.pending == len(data), "bytes that are neither read nor waiting")


def _reply(data: bytes) -> None:
    outstanding = dict(_LEASES)
    replies, events = Replies(2, _INCARNATION, outstanding), list[Event]()
    for frame in wire.Decoder().feed(data):
        if frame.kind == wire.SCORED:
            replies.take_scored(frame, events)
        elif frame.kind == wire.READY:
            init_seconds(frame)
        else:
            replies.take_other(frame, events)
    _sensible(events, outstanding)


def _sensible(events: list[Event], outstanding: dict[int, Lease]) -> None:
    """Whatever comes of an answer can be written to the log, and no lease is lost or doubled by it."""
    concluded: list[Lease] = []
    for event in events:
        match event:
            case LeasesScored():
                for one in event.scored:
                    concluded.append(one.lease)
                    holds(one.spill != "" or len(one.rows) == one.length, "rows of another length")
                    record = (*one.lease, 0, one.length, one.crc, one.n_rows, one.ok, one.failed)
                    COMMIT.pack(*record)
                    for file in one.files:  # where they may go is the store's affair; that they can be asked for is not
                        holds("\0" not in file.path and file.size >= 0, "a file that cannot be")
                        os.fsencode(file.path)
                    for name in (one.spill, one.staged):
                        holds(len(Path("/x", os.fsdecode(os.fsencode(name))).parts) <= 3, "a way out of our folder")
            case LeaseFailed():
                concluded.append(event.lease)
                list(pack_failures([Charged(event.lease, event.failure)]))
            case LeasesReturned():
                concluded += event.leases
            case GuestWarned():
                json.dumps(event.text)
            case ColumnsSeen():
                pass
    found = sorted([*concluded, *outstanding.values()])
    holds(found == sorted(_LEASES.values()), "a lease was lost or doubled")


def _ordered(dice: random.Random) -> bytes:
    kind, head = dice.choice(((wire.JOB, _JOB), (wire.FORK, _FORK)))
    body = dice.choice((b"", b'{"A":"b"}', DEEP, b"[1]", b'{"A":null}')) if kind == wire.JOB else b""
    return wire.encode(kind, 1, 0, mutated_json(head, dice), body)


def _order(data: bytes) -> None:
    for frame in wire.Decoder().feed(data):
        if frame.kind == wire.JOB:
            job = job_of(frame)
            holds(isinstance(job.argv, list) and isinstance(job.env, dict), "an order of other types")
        elif frame.kind == wire.FORK:
            fork_of(frame)


class _Silent:
    """Where a worker's output goes here."""

    def feed(self, data: bytes) -> None:
        pass

    def tail(self, size: int) -> str:
        return ""

    def close(self) -> None:
        pass


class _Bench:
    """The near side of a worker, its channel and its page: what the pool does with whatever stands there."""

    def __call__(self, data: bytes) -> None:
        written, said = data[:40], data[40:]
        worker = Worker(Slot(0, (), 1), _EPOCH, _INCARNATION, log_sink=_Silent(), started_ns=1)
        try:
            worker.phase = Phase.READY
            worker.outstanding.update(_LEASES)
            os.pwrite(worker.ends.page, written, 0)
            worker.ends.channel.sendall(said[: 1 << 15])
            events: list[Event] = []
            worker.view(page.now_ns())
            refused = None
            try:
                worker.read_channel(events)
            except wire.ProtocolError as error:  # then it is killed, and what it holds comes back
                refused, worker.fault = error, "broke the protocol"
            back = worker.take_back()
            worker.ends.channel.close()
            worker.conclude(events, cause="it was killed", charge=True)
            if back:
                events.append(LeasesReturned(0, _INCARNATION, back, True))
            _sensible(events, {})
            if refused:
                raise refused
        finally:
            worker.ends.close()
            worker.close()
