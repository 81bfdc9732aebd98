"""Driving a recovered run to its end without workers: what each range yields is taken from the run that was not
damaged, so the end must have its bytes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from batchctl.model.job import OnCollision, Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, Scored, StagedFile
from batchctl.model.records import Quarantined, Reopening
from batchctl.store.commit import Group
from batchctl.store.finish import Finished, finish, open_finished
from batchctl.store.frames import HEADER_SIZE, FrameType
from batchctl.store.layout import RunLayout
from batchctl.store.payloads import unpack_publication
from batchctl.store.recover import Recovered, recover
from batchctl.store.standing import committed, quarantined
from tests.crash.corrupt.subjects import Subject
from tests.doubles.disk import DIR, FileState, Image, MemoryDisk, parent_of

OUT = Path("/job/out")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a range: rows with counts and files, or a failure."""

    batch: int
    first: int
    count: int
    rows: bytes = b""
    n_rows: int = 0
    failed: int = 0
    files: tuple[tuple[str, bytes], ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """Of a finished run: its answers in item order, and its state, to be compared with."""

    ranges: tuple[Answer, ...]
    columns: bytes
    end: State
    collision: OnCollision
    _by_batch: dict[int, list[Answer]] = field(default_factory=dict)

    def within(self, batch: int, first: int, count: int) -> list[Answer]:
        """Those that lie in a range of a mini-batch."""
        if not self._by_batch:
            for one in self.ranges:
                self._by_batch.setdefault(one.batch, []).append(one)
        return [one for one in self._by_batch.get(batch, ()) if first <= one.first < first + count]


@dataclass(frozen=True, slots=True)
class State:
    """What a run has come to: bytes of all files in OUT but the run directory's, and what counts."""

    files: tuple[tuple[str, bytes], ...]
    counts: tuple[int, ...]
    given_up: tuple[tuple[int, int], ...]


def image_of(files: dict[str, bytes]) -> Image:
    """A disk on which these files are durable."""
    names: dict[str, int] = {"/": DIR}
    states: dict[int, FileState] = {}
    for number, (name, data) in enumerate(files.items(), start=1):
        path = str(OUT / name)
        folder = parent_of(path)
        while folder not in names:
            names[folder] = DIR
            folder = parent_of(folder)
        names[path] = number
        states[number] = FileState(data, data)
    return Image(states, names, dict(names), (), len(files))


def state_of(disk: MemoryDisk, layout: RunLayout, finished: Finished) -> State:
    prefix, own = f"{layout.out}/", f"{layout.directory}/"
    files = tuple(
        sorted(
            (name[len(prefix) :], disk.files[ino].view)
            for name, ino in disk.names.items()
            if ino != DIR and name.startswith(prefix) and not name.startswith(own)
        )
    )
    ledger = finished.ledger
    counts = (ledger.items, ledger.committed, ledger.quarantined, ledger.ok, ledger.failed, ledger.n_rows)
    given_up = sorted((one.lease.first, one.lease.count) for one in quarantined(finished.records))
    return State(files, counts, tuple(given_up))


def layout_of(subject: Subject) -> RunLayout:
    return RunLayout(OUT, subject.final, rows=subject.rows)


def answers_of(subject: Subject) -> Answers:
    """`subject` is finished and whole."""
    disk = MemoryDisk(image_of(subject.files))
    layout = layout_of(subject)
    found = open_finished(disk, layout, run_id=subject.run_id, bounds=subject.bounds, locked=False)
    joined = "all.txt" in subject.files
    wrote = _files(subject, joined=joined)
    answers = []
    at = len(found.columns)
    final = subject.files.get(subject.final, b"")
    counts = {one.first: one for one in committed(found.records)}
    for extent in found.ledger.extents():  # the final file is in item order
        record = counts[extent.first]
        rows = final[at : at + extent.length]
        assert zlib.crc32(rows) == extent.crc
        at += extent.length
        files = wrote.get(extent.first, ())
        answers.append(Answer(record.batch, record.first, record.count, rows, record.n_rows, record.failed, files))
    for given_up in quarantined(found.records):
        lease = given_up.lease
        answers.append(Answer(lease.batch, lease.first, lease.count, failure=given_up.failure))
    answers.sort(key=lambda one: one.first)
    assert sum(one.count for one in answers) == subject.bounds[-1]
    collision = OnCollision.APPEND if joined else OnCollision.FAIL
    return Answers(tuple(answers), found.columns, state_of(disk, layout, found), collision)


def _files(subject: Subject, *, joined: bool) -> dict[int, tuple[tuple[str, bytes], ...]]:
    """First item -> (path, bytes) of what its attempt wrote: a file in OUT, or its piece of one."""
    published = [
        unpack_publication(subject.log[one.start + HEADER_SIZE : one.end], kind=FrameType(one.kind))
        for one in subject.frames
        if one.kind in (FrameType.PUBLISH, FrameType.PART)
    ]
    published.sort(key=lambda one: one.committed.first)
    taken: dict[str, int] = {}
    found = {}
    for one in published:
        pieces = []
        for file in one.files:
            at = taken.get(file.path, 0) if joined else 0
            pieces.append((file.path, subject.files[file.path][at : at + file.size]))
            taken[file.path] = at + file.size
        found[one.committed.first] = tuple(pieces)
    return found


def recover_run(disk: MemoryDisk, layout: RunLayout, subject: Subject, answers: Answers) -> Recovered:
    return recover(
        disk,
        layout,
        run_id=subject.run_id,
        bounds=subject.bounds,
        boot_id="b",
        version="1",
        on_collision=answers.collision,
    )


def to_reopen(finished: Finished) -> list[Reopening]:
    return [Reopening(*one.lease[:3], 0, 0, 0) for one in quarantined(finished.records)]


def drive(disk: MemoryDisk, layout: RunLayout, recovered: Recovered, answers: Answers) -> None:
    """Conclude what is open, and finish. Raises what the store raises."""
    committer = recovered.committer
    ledger = committer.ledger
    scored, given_up = [], []
    for batch in range(len(ledger.bounds) - 1):
        for first, count in ledger.open_ranges(batch):
            for one in answers.within(batch, first, count):
                lease = Lease(one.batch, one.first, one.count, 1)
                if one.failure:
                    given_up.append(Quarantined(lease, one.failure))
                else:
                    scored.append(_scored(disk, layout, lease, one, epoch=recovered.epoch))
    if scored or given_up:
        columns = b"" if committer.columns else answers.columns
        committer.commit(Group(scored=scored, quarantined=given_up, columns=columns if scored else b""))
    finish(disk, layout, committer=committer, order=Order.PLAN)


def _scored(disk: MemoryDisk, layout: RunLayout, lease: Lease, one: Answer, *, epoch: int) -> Scored:
    staged = f"{epoch}.{lease.batch}.{lease.first}.1" if one.files else ""
    files = []
    for path, data in one.files:
        _write(disk, layout.stage / staged / PurePosixPath(path), data)
        files.append(StagedFile(path, len(data)))
    rows = one.rows
    return Scored(
        lease,
        rows,
        len(rows),
        zlib.crc32(rows),
        one.n_rows,
        lease.count - one.failed,
        one.failed,
        1,
        "",
        staged,
        tuple(files),
    )


def _write(disk: MemoryDisk, path: Path, data: bytes) -> None:
    for folder in reversed(path.parents):
        if str(folder) not in disk.names:
            disk.mkdir(folder)
    disk.open_append(path, create=True).append(data)
