"""A file that is digested while it grows: the digest is that of its bytes, and no error on the way there is lost."""

from __future__ import annotations

import hashlib
import random
import zlib
from itertools import accumulate, pairwise
from pathlib import Path

import pytest

from batchctl.errors import CorruptionError, NoSpaceError, StorageError
from batchctl.files import RealDisk
from batchctl.handles import ReadFile
from batchctl.model.job import Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Scored
from batchctl.model.records import Quarantined
from batchctl.store import copying
from batchctl.store import extents as blocks
from batchctl.store import growing as module
from batchctl.store.commit import Group
from batchctl.store.copying import copy_checked, hand_on_checked
from batchctl.store.creation import create_run
from batchctl.store.finish import finish
from batchctl.store.growing import growing
from batchctl.store.layout import RunLayout
from batchctl.store.ledger import Extent, Ledger
from batchctl.store.recover import Recovered, recover

DISK = RealDisk()


@pytest.mark.parametrize("step", [1, 7, 100, 1 << 20])
def test_the_digest_is_that_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(module, "_STEP", step)
    path = tmp_path / "new"
    path.write_bytes(b"of a life before")
    with growing(DISK, path) as file:
        file.append(b"header")
        for byte in range(3, 193):
            file.append(bytes([byte]))
        file.append(b"")
        file.append(b"end")
    assert path.read_bytes() == b"header" + bytes(range(3, 193)) + b"end"
    assert (file.size, file.sha256) == (199, hashlib.sha256(path.read_bytes()).digest())


def test_an_empty_file_has_a_digest(tmp_path: Path) -> None:
    with growing(DISK, tmp_path / "new") as file:
        pass
    assert (file.size, file.sha256) == (0, hashlib.sha256().digest())


def test_where_the_disk_is_full_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(NoSpaceError), growing(DISK, tmp_path / "new") as file:
        file.append(b"rows")
        raise NoSpaceError("full", where="new")
    assert not (tmp_path / "new").exists()


BOUNDS = (0, 1, 2)


def begun(layout: RunLayout) -> Recovered:
    if not layout.job.exists():
        create_run(DISK, layout, job_document={"run_id": "r"}, plan_chunks=[b"plan"])
    return recover(DISK, layout, run_id="r", bounds=BOUNDS, boot_id="b", version="0")


@pytest.mark.parametrize("batches", [pytest.param((0, 1), id="in order"), pytest.param((1, 0), id="to be copied")])
@pytest.mark.parametrize("large", [False, True])
def test_damaged_rows_are_never_sealed(tmp_path: Path, batches: tuple[int, int], large: bool) -> None:
    layout = RunLayout(tmp_path / "out", "p.csv")
    committer = begun(layout).committer
    for batch in batches:
        rows = b"%d\n" % batch * ((1 << 20) if large else 1)
        one = Scored(Lease(batch, batch, 1, 1), rows, len(rows), zlib.crc32(rows), len(rows) // 2, 1, 0, 5)
        committer.commit(Group(scored=[one], columns=b"h\n"))
    good = layout.partial.read_bytes()
    layout.partial.write_bytes(good[:-2] + b"9\n")
    for _ in range(2):
        with pytest.raises(CorruptionError):
            finish(DISK, layout, committer=committer, order=Order.PLAN)
        assert committer.done is None and not layout.final.exists() and not layout.sorting.exists()
        committer.close(clean=True)
        committer = begun(layout).committer
    layout.partial.write_bytes(good)
    done = finish(DISK, layout, committer=committer, order=Order.PLAN)
    assert (done.size, done.sha256) == (len(good), hashlib.sha256(layout.final.read_bytes()).digest())
    assert {path.name for path in layout.out.iterdir()} == {"p.csv", ".batchctl"}


@pytest.mark.parametrize("order", Order)
def test_the_items_whose_rows_are_damaged_are_named(tmp_path: Path, order: Order) -> None:
    layout = RunLayout(tmp_path / "out", "p.csv")
    create_run(DISK, layout, job_document={"run_id": "r"}, plan_chunks=[b"plan"])
    committer = recover(DISK, layout, run_id="r", bounds=(0, 2, 4, 6), boot_id="b", version="0").committer
    scored = [Scored(Lease(n, 2 * n, 2, 1), b"1\n2\n", 4, zlib.crc32(b"1\n2\n"), 2, 2, 0, 5) for n in (1, 2)]
    gone = Quarantined(Lease(0, 0, 2, 1), Failure(FailureKind.FAILED, "OSError", "no file"))
    committer.commit(Group(scored=scored, columns=b"h\n", quarantined=[gone]))
    for at, items in ((2, "items 2 to 3"), (6, "items 4 to 5")):
        good = layout.partial.read_bytes()
        layout.partial.write_bytes(good[:at] + b"9" + good[at + 1 :])
        with pytest.raises(CorruptionError, match=items):
            finish(DISK, layout, committer=committer, order=order)
        layout.partial.write_bytes(good)
    assert finish(DISK, layout, committer=committer, order=order).size == 10


@pytest.mark.parametrize(("order", "way"), [(Order.PLAN, "hand_on_checked"), (Order.COMPLETION, "copy_checked")])
def test_a_sector_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Order, way: str
) -> None:
    layout = RunLayout(tmp_path / "out", "p.csv")
    committer = begun(layout).committer
    scored = [Scored(Lease(n, n, 1, 1), b"1\n", 2, zlib.crc32(b"1\n"), 1, 1, 0, 5) for n in (0, 1)]
    committer.commit(Group(scored=scored, columns=b"h\n"))

    def broken(rows: ReadFile, target: object, extents: object, *, at: int = 0) -> None:
        raise StorageError("cannot read", where="p.csv.partial")

    with monkeypatch.context() as patch:
        patch.setattr(f"batchctl.store.finish.{way}", broken)
        with pytest.raises(StorageError, match="cannot read"):
            finish(DISK, layout, committer=committer, order=order)
    assert committer.done is None
    assert finish(DISK, layout, committer=committer, order=order).size == 6


class Held:
    """A `ReadFile` of these bytes, and a file that grows."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size, self.written = data, len(data), b""

    def pread(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= self.size
        return self.data[offset : offset + length]

    def append(self, data: bytes) -> None:
        self.written += data


@pytest.mark.parametrize("large", [1, 1000, 300 << 10])
@pytest.mark.parametrize("at_once", [2, 1 << 14])
def test_rows_are_copied_in_the_order_of_their_extents(
    monkeypatch: pytest.MonkeyPatch, large: int, at_once: int
) -> None:
    monkeypatch.setattr(copying, "_AT_ONCE", at_once)
    monkeypatch.setattr(blocks, "_HELD", 2)
    dice = random.Random(large)
    lengths = [dice.choice([0, 1, 7, large, large]) for _ in range(40)]
    file = Held(dice.randbytes(sum(lengths) + 5))
    at, extents = 5, []
    for number, length in enumerate(lengths):
        extents.append(Extent(number, 1, at, length, zlib.crc32(file.data[at : at + length])))
        at += length
    dice.shuffle(extents)
    assert copy_checked(file, file, extents) is None  # type: ignore[arg-type]
    assert file.written == b"".join(file.data[one.offset : one.offset + one.length] for one in extents)
    for bad in (extents[9]._replace(crc=extents[9].crc ^ 1), Extent(0, 1, file.size - 2, 3, 0)):
        assert copy_checked(file, Held(b""), [*extents[:9], bad, *extents[10:]]) == bad  # type: ignore[arg-type]


@pytest.mark.parametrize("window", [1, 10, 64, 1 << 20])
@pytest.mark.parametrize("large", [1, 63, 64, 65, 200])
def test_rows_in_a_row_are_handed_on_and_the_first_that_is_another_is_told(
    monkeypatch: pytest.MonkeyPatch, window: int, large: int
) -> None:
    monkeypatch.setattr(copying, "_WINDOW", window)
    dice = random.Random(window * large)
    lengths = [dice.choice([0, 1, 7, large, large]) for _ in range(40)]
    ends = list(accumulate(lengths, initial=5))
    file, target = Held(dice.randbytes(ends[-1] + 3)), Held(b"")
    checks = [(high - low, zlib.crc32(file.data[low:high])) for low, high in pairwise(ends)]
    assert hand_on_checked(file, target, checks, at=5) is None  # type: ignore[arg-type]
    assert target.written == file.data[5:-3]
    for number, (length, crc) in enumerate(checks):
        other, part = [*checks[:number], (length, crc ^ 1), *checks[number + 1 :]], Held(b"")
        assert hand_on_checked(file, part, other, at=5) == number  # type: ignore[arg-type]
        assert file.data[5 : ends[number + 1]].startswith(part.written)
        if length:  # the file ends in it, or before
            short = Held(file.data[: ends[number + 1] - 1])
            assert hand_on_checked(short, Held(b""), checks, at=5) == number  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "rows", [pytest.param(b"1234", id="any"), pytest.param(bytes.fromhex("9d0ad96d"), id="CRC-32 of nothing")]
)
def test_rows_that_are_not_there_are_told_whatever_their_check(rows: bytes) -> None:
    for there in range(len(rows)):
        file = Held(b"head\n" + rows[:there])
        checks = [(len(rows), zlib.crc32(rows))]
        assert hand_on_checked(file, Held(b""), checks, at=5) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("batches", "end", "found"),
    [
        pytest.param([(5, 2), (7, 3)], 10, [2, 3], id="in plan order"),
        pytest.param([(7, 3), (5, 2)], 10, None, id="in another order"),
        pytest.param([(5, 2), (8, 3)], 11, None, id="a gap"),
        pytest.param([(6, 2), (8, 3)], 11, None, id="a gap at the start"),
        pytest.param([(5, 2), (7, 3)], 11, None, id="something behind them"),
        pytest.param([(5, 2), None, (7, 3)], 10, [2, 0, 3], id="one was given up"),
        pytest.param([None, (5, 2), (7, 3)], 10, [0, 2, 3], id="the first was given up"),
        pytest.param([(5, 2), (5, 0), (7, 3)], 10, [2, 0, 3], id="one without rows"),
        pytest.param([(8, 2), None, (5, 3)], 10, None, id="one was given up, the others in another order"),
        pytest.param([(5, 2), (8, 1), (7, 1)], 9, None, id="two have changed places"),
    ],
)
def test_what_lies_in_a_row_is_known(batches: list[tuple[int, int] | None], end: int, found: list[int] | None) -> None:
    ledger = Ledger(range(len(batches) + 1))
    for number, one in enumerate(batches):
        if one is None:
            ledger.quarantine(Lease(number, number, 1, 1))
        else:
            ledger.commit([(number, number, 1, 1, *one, 100 + number, 1, 1, 0)])
    checks = ledger.checks_in_a_row(5, end)
    wanted = found and [(length, 100 + number if batches[number] else 0) for number, length in enumerate(found)]
    assert (checks and list(checks)) == wanted


def test_what_was_concluded_in_parts_does_not_lie_in_a_row() -> None:
    ledger = Ledger([0, 2])
    ledger.commit([(0, 0, 1, 1, 5, 2, 1, 1, 1, 0), (0, 1, 1, 1, 7, 2, 1, 1, 1, 0)])
    assert ledger.complete
    assert ledger.checks_in_a_row(5, 9) is None
