"""A file that is digested while it grows: the digest is that of its bytes, and no error on the way there is lost."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import pytest

from batchctl.errors import CorruptionError, NoSpaceError, StorageError
from batchctl.files import RealDisk
from batchctl.handles import ReadFile
from batchctl.model.job import Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored
from batchctl.store import growing as module
from batchctl.store.commit import Group
from batchctl.store.creation import create_run
from batchctl.store.finish import finish
from batchctl.store.growing import growing
from batchctl.store.layout import RunLayout
from batchctl.store.recover import Recovered, recover

DISK = RealDisk()


@pytest.mark.parametrize("step", [1, 7, 100, 1 << 20])
def test_the_digest_is_that_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(module, "_STEP", step)
    monkeypatch.setattr(module, "_BLOCK", 5)
    path, source = tmp_path / "new", tmp_path / "source"
    path.write_bytes(b"of a life before")
    source.write_bytes(bytes(range(200)))
    with growing(DISK, path) as file, DISK.open_read(source) as opened:
        file.append(b"header")
        file.append_range(opened, offset=3, length=190)
        file.append(b"")
        file.append(memoryview(b"end"))
    assert path.read_bytes() == b"header" + bytes(range(3, 193)) + b"end"
    assert (file.size, file.sha256) == (199, hashlib.sha256(path.read_bytes()).digest())


def test_an_empty_file_has_a_digest(tmp_path: Path) -> None:
    with growing(DISK, tmp_path / "new") as file:
        pass
    assert (file.size, file.sha256) == (0, hashlib.sha256().digest())


def test_what_cannot_be_read_again_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError), growing(DISK, tmp_path / "new") as file:
        file.append(b"rows")
        (tmp_path / "new").unlink()


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


def test_a_sector_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = RunLayout(tmp_path / "out", "p.csv")
    committer = begun(layout).committer
    scored = [Scored(Lease(n, n, 1, 1), b"1\n", 2, zlib.crc32(b"1\n"), 1, 1, 0, 5) for n in (1, 0)]
    committer.commit(Group(scored=scored, columns=b"h\n"))

    def broken(rows: ReadFile, extents: object) -> None:
        raise StorageError("cannot read", where="p.csv.partial")

    with monkeypatch.context() as patch:
        patch.setattr("batchctl.store.finish.damaged", broken)
        with pytest.raises(StorageError, match="cannot read"):
            finish(DISK, layout, committer=committer, order=Order.PLAN)
    assert committer.done is None
    assert finish(DISK, layout, committer=committer, order=Order.PLAN).size == 6
