"""The final file begun early: the same bytes as without, whatever comes between, and nothing left where it fails."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchctl.errors import CorruptionError, NoSpaceError, StorageError
from batchctl.files import RealDisk
from batchctl.guest.arrow_rows import block
from batchctl.model.column_types import Columns, parse_columns, unify
from batchctl.model.job import Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Scored
from batchctl.model.records import Quarantined
from batchctl.store import early as early_module
from batchctl.store import finish as finishing
from batchctl.store import row_groups, table
from batchctl.store.commit import Committer, Group
from batchctl.store.creation import create_run
from batchctl.store.early import EarlyFinish
from batchctl.store.finish import finish, open_finished
from batchctl.store.layout import RunLayout
from batchctl.store.payloads import Done
from batchctl.store.recover import recover
from batchctl.store.verify import verify

DISK, BATCHES, EACH = RealDisk(), 12, 3
BOUNDS = tuple(range(0, (BATCHES + 1) * EACH, EACH))
HEADER = b"number\n"


class Run:
    """A run of one kind, driven by hand as the journal drives it."""

    def __init__(self, folder: Path, kind: str, order: Order, disk: RealDisk = DISK) -> None:
        self.table, self.order, self.disk = kind == "parquet", order, disk
        self.header = HEADER if kind == "csv" else b""
        self.layout = RunLayout(folder / "out", f"predictions.{kind}")
        create_run(DISK, self.layout, job_document={"run_id": "r"}, plan_chunks=[b"plan"])
        self.early: EarlyFinish | None = None
        self.open()

    def open(self) -> None:
        found = recover(self.disk, self.layout, run_id="r", bounds=BOUNDS, boot_id="b", version="0")
        self.committer = found.committer

    def begin(self) -> EarlyFinish:
        self.early = EarlyFinish(self.disk, self.layout, committer=self.committer, order=self.order, table=self.table)
        return self.early

    def commit(self, *batches: int, group: Group | None = None) -> None:
        made = [scored(Lease(batch, BOUNDS[batch], EACH, 1), table=self.table) for batch in batches]
        types = unify(self.committer.types or made[0][1], made[0][1]) if made and self.table else ()
        default = Group(scored=[one for one, _ in made], columns=self.header, types=types)
        committed = self.committer.commit(group or default)
        if self.early:
            self.early.follow(committed)

    def finish(self) -> Done:
        return finish(
            self.disk,
            self.layout,
            committer=self.committer,
            order=self.order,
            table=self.table,
            early=self.early,
        )

    def ends_well(self, done: Done) -> bytes:
        assert not {path.name for path in self.layout.out.iterdir()} - {self.layout.final.name, ".batchctl"}
        data = self.layout.final.read_bytes()
        assert (done.size, done.sha256) == (len(data), hashlib.sha256(data).digest())
        open_finished(DISK, self.layout, run_id="r", bounds=BOUNDS, locked=True)
        assert verify(DISK, self.layout, run_id="r", bounds=BOUNDS).problems == ()
        return data


def scored(lease: Lease, *, table: bool, note: str | None = None) -> tuple[Scored, Columns]:
    items = np.arange(lease.first, lease.first + lease.count).repeat(200)
    if table:
        rows, told = block({"number": items, "text": [f"t{item}" for item in items], "note": [note] * len(items)})
        types = parse_columns(told)
    else:
        rows, types = b"".join(b"%d\n" % item for item in items), ()
    return Scored(lease, rows, len(rows), zlib.crc32(rows), len(items), lease.count, 0, 5), types


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Several windows and row groups of what little there is; and no thread stays."""
    before = threading.active_count()
    monkeypatch.setattr(early_module, "_WINDOW", 1000)
    monkeypatch.setattr(table, "_SINK_BUFFER", 100)
    monkeypatch.setattr(row_groups, "QUANTUM", 16)
    monkeypatch.setattr(row_groups, "GROUP_ROWS", 1024)
    yield
    assert threading.active_count() == before


def without(folder: Path, kind: str, order: Order, batches: Iterable[int]) -> bytes:
    run = Run(folder / "plain", kind, order)
    for batch in batches:
        run.commit(batch)
    return run.ends_well(run.finish())


def never(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("the end did it all over again")


KINDS = ["csv", "jsonl", "parquet"]
IN_TURN = [*range(BATCHES)]
OUT_OF_TURN = [1, 0, 2, 4, 3, 5, 7, 6, 8, 11, 10, 9]


@pytest.mark.parametrize("before", [0, 1, 5, BATCHES])
@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turns", [IN_TURN, OUT_OF_TURN], ids=["in turn", "out of turn"])
def test_begun_after_any_commit_it_is_the_same_file(
    tmp_path: Path, kind: str, order: Order, before: int, turns: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if before == 0 and kind != "jsonl":
        before = 1  # else nobody knows the columns
    plain = without(tmp_path, kind, order, turns)
    run = Run(tmp_path, kind, order)
    for at, batch in enumerate(turns):
        if at == before:
            run.begin()
        run.commit(batch)
    early = run.early or run.begin()
    to_be_copied = kind != "parquet" and order is Order.PLAN and turns is OUT_OF_TURN
    with monkeypatch.context() as patch:
        if not to_be_copied:
            patch.setattr(finishing, "_ordered", never)
        done = run.finish()
    assert (early.result(order) is None) is to_be_copied
    assert run.ends_well(done) == plain


def test_items_that_were_given_up_and_parts_are_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for order in Order:
        files = []
        for begun in (False, True):
            run = Run(tmp_path / f"{order}{begun}", "parquet", order)
            run.commit(*range(3))
            if begun:
                run.begin()
            low = BOUNDS[4]
            first, last = (scored(Lease(4, at, 1, 2), table=True)[0] for at in (low, low + 2))
            lost = Quarantined(Lease(4, low + 1, 1, 2), Failure(FailureKind.FAILED, "E", "m", ""))
            run.commit(group=Group(scored=[last]))
            run.commit(group=Group(scored=[first], quarantined=[lost]))
            run.commit(*range(5, BATCHES))
            run.commit(3)
            with monkeypatch.context() as patch:
                if begun:
                    patch.setattr(finishing, "_ordered", never)
                files.append(run.ends_well(run.finish()))
        assert files[0] == files[1]


def _given_up(run: Run) -> None:
    if run.early:
        run.early.give_up()
    run.commit(6)


def _other_types(run: Run) -> None:
    one, types = scored(Lease(6, BOUNDS[6], EACH, 1), table=True, note="there is one")
    run.commit(group=Group(scored=[one], types=types))


def _nothing(run: Run) -> None:
    run.commit(6)


BETWEEN = {"given up": _given_up, "column types that change": _other_types, "nothing": _nothing}


@pytest.mark.parametrize("between", BETWEEN)
def test_what_comes_between_ends_it_and_the_end_does_it(tmp_path: Path, between: str) -> None:
    files = []
    for begun in (False, True):
        run = Run(tmp_path / str(begun), "parquet", Order.PLAN)
        run.commit(*range(6))
        if begun:
            run.begin()
        BETWEEN[between](run)
        run.commit(*range(7, BATCHES))
        files.append(run.ends_well(run.finish()))
    assert files[0] == files[1]
    assert run.early
    assert (run.early.result(Order.PLAN) is None) is (between != "nothing")


@pytest.mark.parametrize("kind", KINDS)
def test_another_order_than_it_was_begun_in_is_none(tmp_path: Path, kind: str) -> None:
    run = Run(tmp_path, kind, Order.COMPLETION)
    run.commit(*OUT_OF_TURN)
    run.begin()
    run.order = Order.PLAN
    assert run.ends_well(run.finish()) == without(tmp_path, kind, Order.PLAN, OUT_OF_TURN)


@pytest.mark.parametrize("kind", KINDS)
def test_an_end_that_does_not_come_leaves_nothing(tmp_path: Path, kind: str) -> None:
    run = Run(tmp_path, kind, Order.PLAN)
    run.commit(*range(8))
    early = run.begin()
    run.commit(8)
    early.close()
    assert not run.layout.sorting.exists()
    run.committer.close(clean=True)
    run.early = None
    run.open()
    run.layout.sorting.write_bytes(b"PAR1 of a life that was killed")
    run.commit(9)
    run.begin()
    run.commit(10, 11)
    assert run.ends_well(run.finish()) == without(tmp_path, kind, Order.PLAN, IN_TURN)


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_that_nobody_takes_is_removed(tmp_path: Path, kind: str) -> None:
    run = Run(tmp_path, kind, Order.PLAN)
    run.commit(*range(8))
    early = run.begin()
    run.commit(*range(8, BATCHES))  # all there is: it comes to its end by itself
    early._thread.join(30)
    assert run.layout.sorting.exists() is (kind == "parquet")
    early.close()
    assert not run.layout.sorting.exists()
    run.committer.close(clean=True)
    run.early = None
    run.open()
    assert run.ends_well(run.finish()) == without(tmp_path, kind, Order.PLAN, IN_TURN)


def test_one_that_is_sealed_stays_for_the_next_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, "parquet", Order.PLAN)
    run.commit(*range(8))
    early = run.begin()
    run.commit(*range(8, BATCHES))

    def cut_off(self: Committer, done: Done) -> None:
        self._dead = "it was cut off at its end"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Committer, "seal", cut_off)
        with pytest.raises(KeyboardInterrupt):
            run.finish()
    early.close()
    assert run.layout.sorting.exists()
    run.committer.close(clean=False)
    run.early = None
    run.open()
    assert run.ends_well(run.finish()) == without(tmp_path, "parquet", Order.PLAN, IN_TURN)


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_it_never_saw_are_missed(tmp_path: Path, kind: str, order: Order) -> None:
    run = Run(tmp_path, kind, order)
    run.commit(*range(8))
    early = run.begin()
    run.commit(8, 9)
    run.early = None
    run.commit(10, 11)  # behind its back
    assert early.result(order) is None
    early.close()
    run.early = early
    assert run.ends_well(run.finish()) == without(tmp_path, kind, order, IN_TURN)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_rows_are_never_sealed(tmp_path: Path, kind: str) -> None:
    run = Run(tmp_path, kind, Order.PLAN)
    run.commit(*range(6))
    good = run.layout.partial.read_bytes()
    run.layout.partial.write_bytes(good[:1000] + b"#" + good[1001:])
    run.begin()
    run.commit(*range(6, BATCHES))
    with pytest.raises(CorruptionError, match="damaged"):
        run.finish()
    assert run.committer.done is None
    assert not run.layout.final.exists() and not run.layout.sorting.exists()
    run.committer.close(clean=True)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_gone_are_damaged(tmp_path: Path, kind: str) -> None:
    run = Run(tmp_path, kind, Order.PLAN)
    run.commit(*range(BATCHES - 1))
    os.truncate(run.layout.partial, 3000)
    run.begin()
    with pytest.raises(CorruptionError, match="damaged"):
        run.commit(BATCHES - 1)
        run.finish()
    assert not run.layout.final.exists() and not run.layout.sorting.exists()
    run.committer.close(clean=True)


def test_rows_that_come_late_to_their_place_end_it(tmp_path: Path) -> None:
    run = Run(tmp_path, "parquet", Order.COMPLETION)
    run.commit(*range(8))
    early = run.begin()
    first, second = (
        run.committer.commit(Group(scored=[scored(Lease(batch, BOUNDS[batch], EACH, 1), table=True)[0]]))
        for batch in (8, 9)
    )
    early.follow(second)
    early.follow(first)
    run.commit(10, 11)
    assert early.result(Order.COMPLETION) is None
    assert run.ends_well(run.finish()) == without(tmp_path, "parquet", Order.COMPLETION, IN_TURN)


class FullDisk(RealDisk):
    """Has no room for the final file until told otherwise; or breaks there."""

    def __init__(self) -> None:
        self.trouble: Exception | None = None
        self.asked, self.ready = threading.Event(), threading.Event()

    def open_append(self, path: Path, *, create: bool = False) -> Any:
        handle = super().open_append(path, create=create)
        if path.name.endswith(".sorting") and self.trouble:
            trouble, asked, ready = self.trouble, self.asked, self.ready

            class Full(type(handle)):  # type: ignore[misc]
                __slots__ = ()

                def append(self, data: bytes) -> None:
                    asked.set()
                    assert ready.wait(30)
                    raise trouble

            handle.__class__ = Full
        return handle


@pytest.mark.parametrize(
    "trouble", [NoSpaceError("no room", where="x"), StorageError("broken", where="x"), MemoryError()], ids=repr
)
def test_a_disk_that_is_full_or_broken_ends_it_at_once(tmp_path: Path, trouble: Exception) -> None:
    disk = FullDisk()
    run = Run(tmp_path, "parquet", Order.PLAN, disk)
    disk.trouble = trouble
    run.commit(*range(10))
    early = run.begin()
    assert disk.asked.wait(30)
    until = time.monotonic() + 30
    while not early._coming.empty() and time.monotonic() < until:
        pass  # until what is made aside waits for more: then it is given up, which must not be what is told
    disk.ready.set()
    early._thread.join(30)  # while more may come
    assert not early._thread.is_alive() and not run.layout.sorting.exists()
    run.commit(10, 11)
    with pytest.raises(type(trouble)):
        run.finish()
    disk.trouble = None
    if type(trouble) is StorageError:  # the disk may not say so again
        with pytest.raises(StorageError, match="broken"):
            run.finish()
        run.committer.close(clean=False)
        run.early = None
        run.open()
    assert run.ends_well(run.finish()) == without(tmp_path, "parquet", Order.PLAN, IN_TURN)


def test_the_seal_of_an_early_table_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    run = Run(tmp_path, "parquet", Order.PLAN)
    run.begin()
    run.commit(*IN_TURN)
    with monkeypatch.context() as patch:
        patch.setattr(type(DISK), "rename_new", killed)
        with pytest.raises(KeyboardInterrupt):
            run.finish()
    made = run.layout.sorting.read_bytes()
    run.committer.close(clean=False)
    run.early = None
    run.open()
    monkeypatch.setattr(table, "write_table", killed)
    assert run.ends_well(run.finish()) == made
