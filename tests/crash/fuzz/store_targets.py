"""The readers of the checkpoint log and of job.json: frames, payloads, whole logs up to a recovered run, documents."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path

from batchctl.errors import BatchctlError, CorruptionError, ExitCode, ResumeRefusedError
from batchctl.model.column_types import pack_columns, parse_columns
from batchctl.model.records import Quarantined
from batchctl.run.document import parse_document
from batchctl.run.existing import read_existing
from batchctl.store.creation import RunState, run_state
from batchctl.store.documents import read_document
from batchctl.store.finish import open_finished
from batchctl.store.frames import HEADER_SIZE, Frame, FrameType, encode, scan, seed_of
from batchctl.store.inspection import inspect_log
from batchctl.store.layout import RunLayout
from batchctl.store.payloads import (
    MALFORMED,
    pack_epoch,
    pack_failures,
    pack_publication,
    pack_reopened,
    pack_wholes,
    unpack_done,
    unpack_epoch,
    unpack_failures,
    unpack_publication,
    unpack_reopened,
    unpack_wholes,
)
from batchctl.store.recover import recover
from batchctl.store.replay import read_records, replay
from batchctl.store.verify import verify
from tests.crash.fuzz.mutations import mutated, mutated_json
from tests.crash.fuzz.target import Target, holds
from tests.crash.model.life import Acked, Life
from tests.crash.model.workload import BOUNDS, RUN_ID, SCENARIOS
from tests.doubles.disk import EMPTY, FileState, Image, MemoryDisk

_SEED = seed_of(RUN_ID)
_JSON = (
    *(FrameType.FAIL, FrameType.QUARANTINE, FrameType.EPOCH),
    *(FrameType.PUBLISH, FrameType.PART, FrameType.ASSEMBLED, FrameType.TYPES),
)
REFUSALS = (CorruptionError, ResumeRefusedError)
NAMED = (ExitCode.CORRUPTION, ExitCode.RESUME_REFUSED, ExitCode.USAGE, ExitCode.STORAGE)


class Refused(Exception):
    """By an error that the command line knows how to tell."""


def targets() -> list[Target]:
    images = _images()
    logs = tuple(sorted({image.files[image.names[str(layout.log)]].view for layout, image in images}))
    payloads = tuple(sorted({bytes((kind,)) + payload for log in logs for kind, payload in _taken_apart(log)}))
    return [
        Target(
            "frames",
            20,
            _frames,
            REFUSALS,
            logs,
            (b"\xb7Fr1",),
            lambda dice: _resealed(logs, dice),
        ),
        Target("payloads", 50, _payloads, MALFORMED, payloads, (), lambda dice: _payload(payloads, dice)),
        *(_log_target(number, layout, image, logs) for number, (layout, image) in enumerate(images[::4])),
        _documents(),
    ]


def _images() -> list[tuple[RunLayout, Image]]:
    """Disks of the modelled job at several moments of several scenarios: created, half done, sealed, reopened."""
    found = []
    for scenario in SCENARIOS:
        taken: list[Image] = []

        def hook(disk: MemoryDisk, operation: str, _ino: int, _piece: object, taken: list[Image] = taken) -> None:
            if operation == "sync":
                taken.append(disk.image())

        disk = MemoryDisk(EMPTY, hook=hook)
        Life(disk, scenario, acked=Acked(), reverse=False).run(thorough=False)
        layout = scenario.layout
        started = [one for one in taken if str(layout.log) in one.names and one.files[one.names[str(layout.log)]].view]
        found += [(layout, started[len(started) * part // 4]) for part in (2, 3)] + [(layout, disk.image())]
    return found


def _frames(data: bytes) -> None:
    found = scan(memoryview(data), run_id=RUN_ID, where="log")
    again = b"".join(encode(one, data[one.start + HEADER_SIZE : one.end], seed=_SEED) for one in found.frames)
    holds(again == data[: found.good_end], "frames that do not encode to what was read")
    holds((found.torn == "") is (found.good_end == len(data)), "a torn tail without a word")


def _payloads(data: bytes) -> None:
    """The first byte is the type of the frame."""
    kind, payload = FrameType(data[0] if data else 0), data[1:]
    if kind in (FrameType.FAIL, FrameType.QUARANTINE):
        read = list(unpack_failures(payload))
        texts = list(pack_failures([Quarantined(*one) for one in read]))
        holds([one for text in texts for one in unpack_failures(text)] == read, "failures that read otherwise")
    elif kind is FrameType.EPOCH:
        opened = unpack_epoch(payload, number=3)
        holds(unpack_epoch(pack_epoch(opened), number=3) == opened, "an epoch that reads otherwise")
    elif kind in (FrameType.PUBLISH, FrameType.PART):
        publication = unpack_publication(payload, kind=kind)
        holds(unpack_publication(pack_publication(publication), kind=kind) == publication, "a publication, otherwise")
    elif kind is FrameType.ASSEMBLED:
        wholes = unpack_wholes(payload)
        again = [one for text in pack_wholes(wholes) for one in unpack_wholes(text)]
        holds(again == wholes, "wholes that read otherwise")
    elif kind is FrameType.TYPES:
        columns = parse_columns(payload)
        holds(parse_columns(pack_columns(columns)) == columns, "column types that read otherwise")
    elif kind is FrameType.REOPEN:
        holds(pack_reopened(unpack_reopened(payload))[8:] == payload[8:], "a reopening that reads otherwise")
    elif kind is FrameType.DONE:
        unpack_done(payload)


def _log_target(number: int, layout: RunLayout, image: Image, logs: tuple[bytes, ...]) -> Target:
    """The log in its place: all that reads it, then what the same command would do."""
    ino = image.names[str(layout.log)]
    own = image.files[ino].view
    seeds = (own, own, own, *logs)

    def check(data: bytes) -> None:
        files = {**image.files, ino: FileState(data, data)}
        _follow(image._replace(files=files), layout)

    return Target(f"log-{number}", 1, check, (Refused,), seeds, (b"\xb7Fr1",), lambda dice: _resealed(seeds, dice))


def _follow(image: Image, layout: RunLayout) -> None:
    disk = MemoryDisk(image)
    unreadable = False
    readers: tuple[Callable[[], object], ...] = (
        lambda: list(inspect_log(disk, layout, run_id=RUN_ID)),
        lambda: list(read_records(disk, layout, run_id=RUN_ID)),
        lambda: replay(memoryview(disk.read(layout.log)), layout, run_id=RUN_ID, bounds=BOUNDS).rows_end,
    )
    for read in readers:
        try:
            read()
        except REFUSALS:
            unreadable = True
    try:
        sound = verify(disk, layout, run_id=RUN_ID, bounds=BOUNDS).sound
    except ResumeRefusedError:  # of a later format: exit 6, by name
        sound = False
    holds(not (unreadable and sound), "a log that cannot be read is sound to verify")
    holds(disk.operations == 0, "a reader wrote something")
    try:
        if run_state(disk, layout) is RunState.FINISHED:
            done = open_finished(disk, layout, run_id=RUN_ID, bounds=BOUNDS, locked=True)
            list(done.records)
        else:
            recovered = recover(disk, layout, run_id=RUN_ID, bounds=BOUNDS, boot_id="b", version="1")
            list(recovered.records)
            ledger = recovered.ledger
            covered = sum(count for batch in range(len(BOUNDS) - 1) for _, count in ledger.open_ranges(batch))
            whole = covered + ledger.committed + ledger.quarantined == BOUNDS[-1]
            holds(whole, "items that are neither concluded nor open")
            recovered.committer.close(clean=True)
            again = replay(memoryview(disk.read(layout.log)), layout, run_id=RUN_ID, bounds=BOUNDS)
            holds(not again.scan.torn, "what recovery wrote cannot be read")
            holds(again.ledger.committed == ledger.committed, "what recovery wrote counts otherwise")
    except BatchctlError as error:
        holds(error.exit_code in NAMED, f"{type(error).__name__}: {error}")
        raise Refused from error


def _taken_apart(log: bytes) -> list[tuple[int, bytes]]:
    frames = scan(memoryview(log), run_id=RUN_ID, where="log").frames
    return [(one.kind, log[one.start + HEADER_SIZE : one.end]) for one in frames]


def _resealed(logs: tuple[bytes, ...], dice: random.Random) -> bytes:
    """A log whose frames were changed, and whose CRCs hold: what only checks of the meaning can refuse."""
    log = dice.choice(logs)
    frames = scan(memoryview(log), run_id=RUN_ID, where="log").frames
    pairs = [(one, log[one.start + HEADER_SIZE : one.end]) for one in frames]
    for _ in range(dice.choice((1, 1, 2))):
        if not pairs:
            break
        at = dice.randrange(len(pairs))
        frame, payload = pairs[at]
        what = dice.random()
        if what < 0.6:
            pairs[at] = (frame, _payload((bytes((frame.kind,)) + payload,), dice)[1:])
        elif what < 0.75:
            pairs[at] = (_header(frame, dice), payload)
        elif what < 0.83:
            del pairs[at]
        elif what < 0.91:
            pairs.insert(at, pairs[dice.randrange(len(pairs))])
        else:
            pairs[at] = (frame._replace(kind=dice.randrange(1, 13)), payload)
    pieces, size = [], 0
    for sequence, (frame, payload) in enumerate(pairs):
        placed = frame._replace(sequence=sequence) if dice.random() < 0.98 else frame
        pieces.append(encode(placed._replace(log_durable=min(placed.log_durable, size)), payload, seed=_SEED))
        size += len(pieces[-1])
    return b"".join(pieces)


def _header(frame: Frame, dice: random.Random) -> Frame:
    field = dice.choice(("flags", "epoch", "sequence", "rows_durable", "log_durable", "group"))
    width = {"flags": 8, "epoch": 32, "group": 32}.get(field, 64)
    values = (0, 1, 2, 255, (1 << width) - 1, 1 << width - 1, getattr(frame, field) + 1)
    return frame._replace(**{field: dice.choice(values) & ((1 << width) - 1)})


def _payload(payloads: tuple[bytes, ...], dice: random.Random) -> bytes:
    """Type and payload; JSON as JSON, records as records."""
    chosen = dice.choice(payloads)
    kind, payload = chosen[:1], chosen[1:]
    if kind[0] in _JSON and dice.random() < 0.8:
        try:
            return kind + mutated_json(json.loads(payload), dice)
        except (ValueError, RecursionError):  # what an earlier change has made of it
            return chosen
    return kind + mutated((payload,), (), dice)


def _documents() -> Target:
    """job.json (or accepted.json) of which every CRC holds, in a run directory."""
    layout = RunLayout(Path("/data/out"))
    manifest = [{"path": "score.py", "size": 3, "mtime_ns": 5, "sha256": "ab" * 32}]
    fingerprint = {
        "script": manifest,
        "code": manifest,
        "model": [],
        "salt": "ab" * 16,
        "environment": {"A": "ab" * 32},
        "fields": {"mini_batch_size": "10"},
        "interpreter": {"path": "/usr/bin/python3"},
        "inputs": ["in"],
    }
    request = {"command": ["batchctl", "run", "x", "-o", "out"], "folder": "/data"}
    document = {
        "run_id": "ab" * 16,
        "spec": "x",
        "output": {"file_name": "p.csv", "action": "append_row", "format": "csv", "on_collision": "fail"},
        "plan": {"crc32": 1, "items": 4, "batches": 2, "bytes": 0},
        "request": request,
        "fingerprint": fingerprint,
    }
    whole = _sealed(json.dumps(document).encode())
    accepted = {"fingerprint": fingerprint, "request": request}

    def check(data: bytes) -> None:
        mark, text = data[:1], data[1:]
        job, other = (whole, text) if mark == b"a" else (text, b"")
        disk = MemoryDisk(EMPTY)
        for folder in ("/data", "/data/out", "/data/out/.batchctl"):
            disk.mkdir(Path(folder))
        disk.open_append(layout.job, create=True).append(job)
        disk.open_append(layout.plan, create=True)
        if mark == b"a":
            disk.open_append(layout.directory / "accepted.json", create=True).append(other)
        found = read_document(disk, layout.job)
        parse_document(found, where="job.json")
        existing = read_existing(disk, layout)
        holds(existing is not None, "the run is gone")
        assert existing is not None
        layouts = existing.layout
        holds(layouts.final.parent == layouts.out and layouts.final != layouts.out, "a result outside of OUT")
        existing.fingerprint.to_dict()

    def make(dice: random.Random) -> bytes:
        if dice.random() < 0.3:
            return b"a" + _sealed(mutated_json(accepted, dice))
        return b"j" + _sealed(mutated_json(document, dice))

    return Target("documents", 6, check, (CorruptionError, ResumeRefusedError), (b"j" + whole,), (), make)


def _sealed(text: bytes) -> bytes:
    """A document with its CRC, whatever is in it."""
    try:
        document = json.loads(text)
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")
    except (ValueError, RecursionError):
        canonical = text
    crc = zlib.crc32(canonical)
    return b'{"format": 1, "crc32": "%08x", "document": %s}' % (crc, text)
