"""When the final file is begun early, and when not."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchctl.errors import NoSpaceError
from batchctl.files import RealDisk
from batchctl.model.job import OutputFormat
from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored
from batchctl.run import near_end as near_end_module
from batchctl.run.journal import Journal
from batchctl.run.near_end import NearEnd, is_near
from batchctl.store import early as early_module
from batchctl.store.commit import Committer
from batchctl.store.creation import create_run
from batchctl.store.layout import RunLayout
from batchctl.store.recover import recover
from tests.unit.run.stage import Clock, job

MIB = 1 << 20

NEAR: dict[str, tuple[float, int, int, float, bool]] = {
    # elapsed s, done, left, seconds for the final file
    "nothing was done yet": (0, 0, 100, 5, False),
    "all is done": (10, 100, 0, 0, True),
    "a short run": (0.2, 8, 10, 0.5, True),
    "a long run": (60, 2, 1000, 0.5, False),
    "a long run, 6 s before its end": (36_000, 6000, 1, 5.9, False),
    "a long run, 6 s before its end, which takes them": (36_000, 6000, 1, 6.1, True),
}


@pytest.mark.parametrize("case", NEAR)
def test_it_is_begun_as_long_before_the_end_as_it_takes(case: str) -> None:
    elapsed, done, left, takes, near = NEAR[case]
    assert is_near(elapsed, done=done, left=left, takes_s=takes) is near


class Stand:
    """A run of `batches` mini-batches of one item and a MiB of rows each."""

    def __init__(self, folder: Path, *, batches: int = 10, rows: bool = True, **spec: Any) -> None:
        self.clock = Clock()
        self.ready = 1
        self.room = 1 << 30
        self.layout = RunLayout(folder / "out", "p.csv", rows=rows)
        create_run(RealDisk(), self.layout, job_document={"run_id": "r"}, plan_chunks=[b"plan"])
        self.committer: Committer = recover(
            RealDisk(), self.layout, run_id="r", bounds=range(batches + 1), boot_id="b", version="0"
        ).committer
        self.journal = Journal(self.committer, clock=self.clock, wake=lambda: None, pause_max=60)
        self.journal.set_columns(b"x\n")
        self.spec = job(folder)._replace(**spec)

    def near_end(self) -> NearEnd:
        return NearEnd(
            RealDisk(),
            self.layout,
            spec=self.spec,
            committer=self.committer,
            journal=self.journal,
            ready=lambda: self.ready,
            room=lambda: self.room,
            clock=self.clock,
        )

    def score(self, *batches: int) -> None:
        rows = b"1\n" * (MIB // 2) if self.layout.rows else b""
        found = [Scored(Lease(n, n, 1, 1), rows, len(rows), zlib.crc32(rows), 1, 1, 0, 5) for n in batches]
        self.journal.add_scored(found)
        while not self.journal.empty:
            self.journal.pump(idle=True)

    def close(self) -> None:
        self.journal.close()
        self.committer.close(clean=True)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path)
    yield made
    made.close()


def test_with_few_rows_there_is_nothing_to_begin(stand: Stand) -> None:
    near_end = stand.near_end()
    stand.score(0, 1, 2)
    near_end.look(last=True)
    assert stand.journal.early is None
    stand.score(3)
    stand.clock.now += 1
    near_end.look(last=False)
    assert stand.journal.early is None
    near_end.look(last=True)
    assert stand.journal.early is not None
    stand.score(*range(4, 10))
    assert stand.journal.early.result(stand.spec.order) is not None


def test_the_pace_is_that_of_this_life_once_somebody_is_ready(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_end_module, "_TEXT_PACE", MIB)  # 10 s for the file
    stand.score(0, 1, 2, 3)
    near_end = stand.near_end()
    stand.ready = 0
    near_end.look(last=False)
    stand.clock.now += 1000  # before anybody is ready
    stand.ready = 1
    near_end.look(last=False)
    stand.clock.now += 6
    stand.score(4)
    near_end.look(last=False)  # five more in 30 s
    assert stand.journal.early is None
    stand.clock.now += 1
    stand.score(5, 6)
    near_end.look(last=False)  # three more in 7 s
    early = stand.journal.early
    assert early is not None
    stand.score(7, 8, 9)
    near_end.look(last=True)
    assert stand.journal.early is early


def test_while_a_group_is_committed_it_waits(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    near_end = stand.near_end()
    stand.score(0, 1, 2, 3)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "committing", True)
        near_end.look(last=True)
        assert stand.journal.early is None
    near_end.look(last=True)
    assert stand.journal.early is not None


def test_a_machine_without_another_thread_does_without(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    near_end = stand.near_end()
    stand.score(0, 1, 2, 3)

    def none_left(self: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(early_module.threading.Thread, "start", none_left)
        near_end.look(last=True)
    near_end.look(last=True)
    assert stand.journal.early is None


@pytest.mark.parametrize(("module", "after_s", "ready"), [("shutil", 0.0, 1), ("hashlib", 0.3, 1), ("hashlib", 1.1, 0)])
def test_where_what_it_takes_cannot_be_imported_the_end_does_it(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, module: str, after_s: float, ready: int
) -> None:
    near_end = stand.near_end()
    stand.ready = ready
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, module, None)
        near_end.look(last=False)
        stand.clock.now += after_s
        near_end.look(last=False)
    stand.score(0, 1, 2, 3)
    near_end.look(last=True)
    assert stand.journal.early is None


@pytest.mark.parametrize(
    ("module", "output_format", "scored"),
    [
        ("hashlib", OutputFormat.CSV, 4),
        ("batchctl.store.table", OutputFormat.PARQUET, 4),
        ("batchctl.store.table", OutputFormat.PARQUET, 0),
    ],
)
def test_where_it_cannot_be_imported_at_the_very_end_the_end_does_it(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, module: str, output_format: OutputFormat, scored: int
) -> None:
    stand.spec = stand.spec._replace(output_format=output_format)
    near_end = stand.near_end()
    stand.score(*range(scored))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, module, None)
        near_end.look(last=True)
    near_end.look(last=True)
    assert stand.journal.early is None


def test_what_only_longer_runs_need_is_loaded_once_and_not_at_the_start(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    near_end = stand.near_end()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "hashlib", None)
        near_end.look(last=False)
        stand.clock.now += 0.1
        near_end.look(last=False)
    stand.clock.now += 0.2
    near_end.look(last=False)
    stand.score(0, 1, 2, 3)
    monkeypatch.setitem(sys.modules, "hashlib", None)
    near_end.look(last=True)
    assert stand.journal.early is not None


def test_a_run_without_rows_and_one_of_many_mini_batches_begin_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, made in (
        ("none", Stand(tmp_path / "none", rows=False)),
        ("many", Stand(tmp_path / "many", batches=near_end_module.MOST_BATCHES + 1)),
    ):
        near_end = made.near_end()
        made.score(0, 1, 2, 3)
        with monkeypatch.context() as patch:
            patch.setattr(Committer, "rows_size", 8 * MIB)
            near_end.look(last=True)
        assert made.journal.early is None, name
        made.close()


@pytest.mark.parametrize("table", [False, True])
def test_a_table_is_begun_where_there_is_memory_for_it(stand: Stand, table: bool) -> None:
    stand.spec = stand.spec._replace(output_format=OutputFormat.PARQUET if table else OutputFormat.CSV)
    near_end = stand.near_end()
    stand.score(0, 1, 2, 3)
    stand.room = 299 * MIB
    near_end.look(last=True)
    assert (stand.journal.early is None) is table
    stand.room = 300 * MIB
    near_end.look(last=True)
    assert stand.journal.early is not None


def test_on_a_full_disk_it_is_not_begun(stand: Stand) -> None:
    near_end = stand.near_end()
    stand.score(0, 1, 2, 3)
    stand.journal.no_room("spill/ is full")
    near_end.look(last=True)
    assert stand.journal.early is None


@pytest.mark.parametrize("whose", ["a commit's", "a claim's", "a worker's"])
def test_a_full_disk_ends_it(stand: Stand, monkeypatch: pytest.MonkeyPatch, whose: str) -> None:
    near_end = stand.near_end()
    stand.score(0, 1, 2, 3)
    near_end.look(last=True)
    early = stand.journal.early
    assert early is not None
    if whose == "a worker's":
        stand.journal.no_room("spill/ is full")
    else:
        full = [NoSpaceError("no room", where="x")]
        name = "note_claims" if whose == "a claim's" else "commit"
        original = getattr(Committer, name)

        def once(self: Committer, given: Any, **more: Any) -> Any:
            if full:
                raise full.pop()
            return original(self, given, **more)

        monkeypatch.setattr(Committer, name, once)
        rows = b"1\n"
        if whose == "a claim's":
            stand.journal.claim([Lease(4, 4, 1, 1)], alone=False)
            stand.clock.now += 2
        else:
            stand.journal.add_scored([Scored(Lease(4, 4, 1, 1), rows, 2, zlib.crc32(rows), 1, 1, 0, 5)])
        while full or stand.journal.committing:
            stand.journal.pump(idle=True)
        stand.clock.now += 2
    stand.score(*range(5, 10), *([4] if whose != "a commit's" else []))
    near_end.look(last=True)
    assert stand.journal.early is early
    assert early.result(stand.spec.order) is None
