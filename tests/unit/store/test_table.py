"""The parquet file of a run: types, row groups, what is wrong with blocks, and a finish that is cut off."""

from __future__ import annotations

import itertools
import sys
import weakref
import zlib
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchctl.errors import CorruptionError, NoSpaceError, StoppedError, StorageError
from batchctl.files import RealDisk
from batchctl.guest.arrow_rows import block
from batchctl.model.column_types import Columns, parse_columns, unify
from batchctl.model.job import Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Scored
from batchctl.model.records import Quarantined, Reopening
from batchctl.store import row_groups, table
from batchctl.store.commit import Committer, Group, ProtocolError
from batchctl.store.creation import create_run
from batchctl.store.finish import finish, open_finished
from batchctl.store.layout import RunLayout
from batchctl.store.recover import Recovered, recover
from batchctl.store.reopen import reopen_finished
from batchctl.store.verify import verify
from tests.doubles.disk import MemoryDisk, Piece

RUN, DISK, BOUNDS = "r", RealDisk(), (0, 2, 4)


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path / "out", "p.parquet")


def begin(layout: RunLayout, disk: Any = DISK) -> Recovered:
    return recover(disk, layout, run_id=RUN, bounds=BOUNDS, boot_id="boot", version="0")


def fresh(layout: RunLayout, disk: Any = DISK) -> Committer:
    create_run(disk, layout, job_document={"run_id": RUN}, plan_chunks=[b"plan"])
    return begin(layout, disk).committer


def scored(batch: int, columns: dict[str, Any], *, data: bytes = b"", n_rows: int = 0) -> tuple[Scored, Columns]:
    made, types = block(columns)
    rows = data or made
    lease = Lease(batch, BOUNDS[batch], 2, 1)
    return Scored(lease, rows, len(rows), zlib.crc32(rows), n_rows or 2, 2, 0, 5), parse_columns(types)


def commit(committer: Committer, one: tuple[Scored, Columns]) -> None:
    committer.commit(Group(scored=[one[0]], types=one[1]))


def done(layout: RunLayout, committer: Committer, disk: Any = DISK) -> Any:
    return finish(disk, layout, committer=committer, order=Order.PLAN, table=True)


KINDS = [
    pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.binary(),
    pa.binary(16), pa.date32(), pa.time32("ms"), pa.time64("us"), pa.time64("ns"), pa.timestamp("ms"),
    pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("us", "+01:00"), pa.duration("s"), pa.duration("ns"),
    pa.decimal128(10, 2), pa.decimal256(50, 3), pa.list_(pa.null()), pa.list_(pa.list_(pa.string())),
    reduce(lambda kind, _: pa.list_(kind), range(48), pa.int8()),
    pa.struct([("a", pa.null()), ("b, c", pa.list_(pa.timestamp("ns", "UTC")))]),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_type_that_the_guest_tells_is_understood_and_written(kind: pa.DataType, layout: RunLayout) -> None:
    values = pd.Series([None, None], dtype=pd.ArrowDtype(kind))
    committer = fresh(layout)
    one = scored(0, {"x": values})
    assert table.schema_of(one[1]).field("x").type.equals(kind)
    commit(committer, one)
    commit(committer, (scored(1, {"x": [None, None]})[0], one[1]))
    done(layout, committer)
    found = pq.read_table(layout.final)
    assert (found.column("x").null_count, found.schema.field("x").type.equals(kind)) == (4, True)


def test_a_run_without_rows_is_a_parquet_file_too(layout: RunLayout) -> None:
    committer = fresh(layout)
    committer.commit(
        Group(scored=[Scored(Lease(batch, BOUNDS[batch], 2, 1), b"", 0, 0, 0, 2, 0, 5) for batch in (0, 1)])
    )
    assert done(layout, committer).n_rows == 0
    assert pq.ParquetFile(layout.final).metadata.num_rows == 0
    assert verify(DISK, layout, run_id=RUN, bounds=BOUNDS).problems == ()


def test_what_is_fixed_stays_fixed_and_is_refined(layout: RunLayout) -> None:
    committer = fresh(layout)
    commit(committer, scored(0, {"a": [1, 2], "b": [None, None]}))
    with pytest.raises(ProtocolError, match="fixed otherwise"):
        commit(committer, scored(1, {"a": ["x", "y"], "b": [None, None]}))
    commit(committer, scored(1, {"a": [3, 4], "b": ["x", None]}))
    committer.close(clean=False)
    found = begin(layout)
    assert found.types == (("a", "int64"), ("b", "string"))
    done(layout, found.committer)
    assert pq.read_table(layout.final).to_pydict() == {"a": [1, 2, 3, 4], "b": [None, None, "x", None]}


def test_decimals_take_the_digits_of_all(layout: RunLayout) -> None:
    committer = fresh(layout)
    rows = [[Decimal("0.01"), None], [Decimal("1234567.5"), Decimal("1" * 40)]]
    first, second = (scored(batch, {"x": rows[batch], "y": [[row] for row in rows[batch]]}) for batch in (0, 1))
    commit(committer, first)
    commit(committer, (second[0], unify(first[1], second[1])))
    done(layout, committer)
    found = pq.read_table(layout.final)
    assert str(found.schema.field("x").type) == "decimal256(42, 2)"
    assert found.column("x").to_pylist() == [*rows[0], *rows[1]]
    assert found.column("y").to_pylist() == [[row] for row in (*rows[0], *rows[1])]


def test_row_groups_end_at_the_quantum_that_fills_them(layout: RunLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "GROUP_BYTES", 64 << 10)
    committer = fresh(layout)
    for batch in (0, 1):
        one, types = scored(batch, {"x": [*range(3000)], "y": ["text"] * 3000}, n_rows=3000)
        commit(committer, (one, types))
    done(layout, committer)
    metadata = pq.ParquetFile(layout.final).metadata
    sizes = [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)]
    assert sum(sizes) == 6000
    assert len(sizes) >= 2
    assert {size % row_groups.QUANTUM for size in sizes[:-1]} == {0}
    assert len(set(sizes[:-1])) == 1


def test_a_dictionary_is_made_of_the_columns_that_it_makes_smaller(layout: RunLayout) -> None:
    committer = fresh(layout)
    n = 10_000
    scores = np.random.default_rng(1).random(n)
    columns = {
        "number": np.arange(n),
        "score": scores,
        "label": np.arange(n) % 2,
        "class": ["cat", "dog"] * (n // 2),
        "name": [f"img-{score}.jpg" for score in scores],
        "dotted.name": [7] * n,
        "nothing": [None] * n,
        "place": [{"x": score, "y": 1} for score in scores],
        "tags": [[f"only-{score}"] for score in scores],
    }
    for batch in (0, 1):
        half = {name: values[batch * n // 2 :][: n // 2] for name, values in columns.items()}
        commit(committer, scored(batch, half, n_rows=n // 2))
    finish(DISK, layout, committer=committer, order=Order.PLAN, table=True)
    group = pq.ParquetFile(layout.final).metadata.row_group(0)
    found = [group.column(at) for at in range(group.num_columns)]
    with_one = {one.path_in_schema for one in found if one.has_dictionary_page}
    assert with_one == {"label", "class", "dotted.name", "place.y"}
    assert pq.read_table(layout.final).to_pylist() == pa.table(columns).to_pylist()


@pytest.mark.parametrize("said", [StoppedError("stopped by SIGTERM"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("name", ["pyarrow.parquet", "pyarrow.compute"])
def test_a_signal_during_the_import_is_heard(monkeypatch: pytest.MonkeyPatch, said: BaseException, name: str) -> None:
    class Finder:
        def find_spec(self, wanted: str, path: Any = None, target: Any = None) -> None:
            if wanted == name:
                raise said

    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(type(said)):
        table.load_arrow((("x", "decimal128(10, 2)"),))
    assert sys.modules.get("numpy") is np


def test_what_cannot_be_imported_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow.compute", None)
        patch.delitem(sys.modules, "pyarrow.parquet")
        patch.setattr(sys, "meta_path", [])
        assert not table.load_arrow((("x", "int64"),))
    assert table.load_arrow((("x", "int64"),))


def test_a_sample_of_large_rows_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    write = pq.ParquetWriter.write_table

    def counted(self: pq.ParquetWriter, rows: pa.Table, **options: Any) -> None:
        asked.append(rows.num_rows)
        write(self, rows, **options)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", counted)
    small = pa.table({"x": np.arange(300_000)})
    assert table._worth_a_dictionary(small) == []
    large = pa.table({"x": [bytes(4096)] * 3000})
    assert table._worth_a_dictionary(large) == ["x"]
    assert 1 << 16 <= asked[0] == asked[1] <= (1 << 16) + (1 << 12)
    assert 1900 < asked[2] == asked[3] < 2400  # 8 MiB, and a last piece
    huge = pa.table({"x": [bytes(1 << 17)] * 600})
    assert table._worth_a_dictionary(huge) == ["x"]
    assert asked[4] == asked[5] <= 3 * row_groups.QUANTUM


def test_a_sample_comes_from_all_over_the_row_group() -> None:
    dice = np.random.default_rng(1)
    alone, few = dice.random(100_000), dice.random(100)
    for rows in (
        np.concatenate([alone, dice.choice(few, 500_000)]),
        np.concatenate([dice.choice(few, 500_000), alone]),
    ):
        assert table._worth_a_dictionary(pa.table({"x": rows})) == ["x"]
    assert table._worth_a_dictionary(pa.table({"x": dice.random(600_000)})) == []


def test_no_row_group_is_held_longer_than_it_takes_to_write_it(
    layout: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_groups, "GROUP_ROWS", row_groups.QUANTUM)
    alive: list[weakref.ref[pa.Table]] = []
    most = [0]
    write = pq.ParquetWriter.write_table

    def watched(self: pq.ParquetWriter, rows: pa.Table, **options: Any) -> None:
        write(self, rows, **options)
        if all(found() is not rows for found in alive):
            alive.append(weakref.ref(rows))
        most[0] = max(most[0], sum(found() is not None for found in alive))

    monkeypatch.setattr(pq.ParquetWriter, "write_table", watched)
    committer = fresh(layout)
    for batch in (0, 1):
        commit(committer, scored(batch, {"x": np.arange(5 * row_groups.QUANTUM)}, n_rows=5 * row_groups.QUANTUM))
    finish(DISK, layout, committer=committer, order=Order.PLAN, table=True)
    assert pq.ParquetFile(layout.final).metadata.num_row_groups == 10
    assert most == [1]  # of those that were written; one more is being made


@pytest.mark.parametrize("in_quantum", [True, False], ids=["in 256 rows", "in a row group"])
def test_more_than_an_array_of_arrows_holds_is_halved(in_quantum: bool) -> None:
    long = 9_000_000 if in_quantum else 2_000_000  # elements of a row: nulls, which take no memory
    schema = pa.schema([("x", pa.list_(pa.null()))])
    found = []
    for at_once in (1, 7):
        offsets = pa.array([long * row for row in range(at_once + 1)], pa.int32())
        lists = pa.ListArray.from_arrays(offsets, pa.nulls(long * at_once))
        batch = pa.RecordBatch.from_arrays([lists], schema=schema)
        batches = (batch.slice(0, min(at_once, 1400 - at)) for at in range(0, 1400, at_once))
        found.append([group.num_rows for group in row_groups.RowGroups(schema).of(batches)])
    assert found[0] == found[1]
    assert sum(found[0]) == 1400
    assert max(found[0]) * long < 1 << 31
    assert len(found[0]) == (11 if in_quantum else 2)


WIDTHS = {
    "numbers": {"a": range(3000), "b": [k / 7 for k in range(3000)]},
    "nulls": {"a": [None if k % 700 == 0 else k for k in range(3000)]},
    "bits": {"a": [k % 3 == 0 for k in range(3000)]},
    "texts": {"a": ["x" * (k % 50) for k in range(3000)]},
    "nothing": {"a": pa.nulls(3000)},
}


@pytest.mark.parametrize("case", WIDTHS)
@pytest.mark.parametrize("cuts", [(3000,), (100, 1000, 2000, 3000), (256, 300, 1024, 2999, 3000)])
def test_quanta_of_one_width_are_dealt_as_others_are(
    case: str, cuts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are added up at once; the row groups are those that come of quantum by quantum."""
    monkeypatch.setattr(row_groups, "GROUP_BYTES", 9000)
    rows = pa.table(WIDTHS[case])
    batches = [
        rows.slice(low, high - low).combine_chunks().to_batches()[0] for low, high in itertools.pairwise((0, *cuts))
    ]
    dealt = row_groups.RowGroups(rows.schema)
    found = list(dealt.of(batches))
    with monkeypatch.context() as patch:
        patch.setattr(row_groups, "_has_one_width", lambda kind: False)
        one_by_one = list(row_groups.RowGroups(rows.schema).of(batches))
    assert [group.num_rows for group in found] == [group.num_rows for group in one_by_one]
    assert found == one_by_one
    assert pa.concat_tables(found).equals(rows)
    assert dealt._fixed is (case in {"numbers", "nulls"})


GOOD = block({"a": [1, 2]})[0]
BAD: dict[str, tuple[bytes, int, str]] = {
    "no block": (b"\xff\xff", 2, "longer than its place"),
    "a length that cannot be": (b"\xff" * 40, 2, "longer than its place"),
    "cut off": (GOOD[:-20], 2, "longer than its place"),
    "no stream": (GOOD[:40] + b"?" * (len(GOOD) - 40), 2, "cannot be made a table"),
    "too few rows": (GOOD, 3, "have 2 rows, the log says 3"),
    "other columns": (block({"b": [1, 2]})[0], 2, "has the columns b"),
    "another type": (block({"a": ["x", "y"]})[0], 2, "cannot be made a table"),
}


@pytest.mark.parametrize("case", BAD)
def test_rows_that_are_no_table_are_corruption(case: str, layout: RunLayout) -> None:
    data, n_rows, told = BAD[case]
    committer = fresh(layout)
    commit(committer, scored(0, {"a": [1, 2]}))
    commit(committer, (scored(1, {"a": [1, 2]}, data=data, n_rows=n_rows)[0], parse_columns('[["a","int64"]]')))
    with pytest.raises(CorruptionError, match=told):
        done(layout, committer)
    committer.close(clean=False)
    assert not layout.final.exists()


def test_a_full_disk_leaves_room_and_can_be_tried_again() -> None:
    layout = RunLayout(Path("/out"), "p.parquet")
    disk = MemoryDisk()
    committer = fresh(layout, disk)
    for batch in (0, 1):
        commit(committer, scored(batch, {"a": [1, 2]}))
    full: list[type[StorageError]] = [NoSpaceError, NoSpaceError, StorageError]

    def hook(disk: MemoryDisk, operation: str, ino: int, piece: Piece | None) -> None:
        if operation == "write" and ino == disk.names.get(str(layout.sorting)) and full:
            raise full.pop(0)("no")

    disk.hook = hook
    for kind in tuple(full):
        with pytest.raises(StorageError) as caught:
            done(layout, committer, disk)
        assert type(caught.value) is kind
        assert (str(layout.sorting) in disk.names) is (kind is StorageError)
    done(layout, committer, disk)
    assert verify(disk, layout, run_id=RUN, bounds=BOUNDS).problems == ()


def test_a_retry_of_a_table_that_is_shorter_than_it_has_rows(layout: RunLayout) -> None:
    """Below its end offsets are numbers of rows then, and lead to no bytes of the old file."""
    committer = fresh(layout)
    count = 20_000
    commit(committer, scored(0, {"a": [1] * count}, n_rows=count))
    failure = Failure(FailureKind.FAILED, "ValueError", "no", phase="run")
    committer.commit(Group(quarantined=[Quarantined(Lease(1, 2, 2, 1), failure)]))
    done(layout, committer)
    assert layout.final.stat().st_size < count
    again = (Reopening(1, 2, 2, 0, 0, 0),)
    reopen_finished(DISK, layout, run_id=RUN, bounds=BOUNDS, ranges=again)
    committer = begin(layout).committer
    commit(committer, scored(1, {"a": [2, 3]}))
    done(layout, committer)
    assert pq.read_table(layout.final)["a"].to_pylist() == [1] * count + [2, 3]
    assert verify(DISK, layout, run_id=RUN, bounds=BOUNDS).problems == ()


def test_a_sealed_table_is_not_made_anew(layout: RunLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    committer = fresh(layout)
    for batch in (0, 1):
        commit(committer, scored(batch, {"a": [1, 2]}))

    def killed(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(DISK), "rename_new", killed)
        with pytest.raises(KeyboardInterrupt):
            done(layout, committer)
    committer.close(clean=False)
    sealed = layout.sorting.read_bytes()
    with monkeypatch.context() as patched:  # of another version of pyarrow there might be other bytes
        patched.setattr(table, "write_table", killed)
        done(layout, begin(layout).committer)
    assert layout.final.read_bytes() == sealed
    assert open_finished(DISK, layout, run_id=RUN, bounds=BOUNDS, locked=True).done.n_rows == 4
