"""Files that several mini-batches write: what is kept, what is assembled of it, what is refused."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from batchctl.errors import CorruptionError, NoSpaceError, StorageError
from batchctl.files import RealDisk
from batchctl.model.job import OnCollision, Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored, StagedFile
from batchctl.store.commit import Committer, Group
from batchctl.store.creation import RunState, create_run, run_state
from batchctl.store.finish import finish, open_finished
from batchctl.store.inspection import inspect_log
from batchctl.store.layout import RunLayout
from batchctl.store.names import Names
from batchctl.store.parts import Parts, Piece, Whole
from batchctl.store.publish import FilesCollideError, FilesRefusedError
from batchctl.store.recover import recover
from batchctl.store.verify import verify

RUN = "r"
BOUNDS = (0, 2, 4, 6)
DISK = RealDisk()
A, B = Lease(0, 0, 2, 1), Lease(1, 2, 2, 1)


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path / "out", "p.csv")


def begin(layout: RunLayout, rule: OnCollision = OnCollision.APPEND) -> Committer:
    if run_state(DISK, layout) is not RunState.STARTED:
        create_run(DISK, layout, job_document={"run_id": RUN}, plan_chunks=[b"plan"])
    return recover(DISK, layout, run_id=RUN, bounds=BOUNDS, boot_id="", version="0", on_collision=rule).committer


def wrote(layout: RunLayout, lease: Lease, **files: bytes) -> Scored:
    """An attempt that left these files; `__` in a name stands for a folder's end."""
    staged, found = f"1.{lease.batch}.{lease.first}.{'.'.join(files)}", []
    for name, data in files.items():
        path = layout.stage / staged / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        found.append(StagedFile(name.replace("__", "/"), len(data)))
    rows = b"%d\n" % lease.first
    return Scored(lease, rows, len(rows), zlib.crc32(rows), 1, lease.count, 0, 5, staged=staged, files=tuple(found))


def three(layout: RunLayout, committer: Committer) -> None:
    """Mini-batch 2 first, mini-batch 1 in two parts, the second part first."""
    committer.commit(Group(scored=[wrote(layout, Lease(2, 4, 2, 1), all=b"four\n", sub__all=b"4")]))
    committer.commit(Group(scored=[wrote(layout, Lease(1, 3, 1, 2), all=b"three\n")]))
    committer.commit(
        Group(scored=[wrote(layout, A, all=b"", sub__all=b"0"), wrote(layout, Lease(1, 2, 1, 2), all=b"two\n")])
    )


def published(layout: RunLayout) -> dict[str, bytes]:
    found = (path for path in layout.out.rglob("*") if path.is_file() and layout.directory not in path.parents)
    return {str(path.relative_to(layout.out)): path.read_bytes() for path in found if path.name[:5] != "p.csv"}


# rule: what is in OUT in the end
RULES = {
    OnCollision.APPEND: {"all": b"two\nthree\nfour\n", "sub/all": b"04"},
    OnCollision.LAST: {"all": b"four\n", "sub/all": b"4"},
}


@pytest.mark.parametrize("rule", RULES)
def test_files_are_assembled_in_plan_order(layout: RunLayout, rule: OnCollision) -> None:
    committer = begin(layout, rule)
    three(layout, committer)
    assert published(layout) == {}
    assert {path.name for path in layout.parts.iterdir()} == {"0.0", "1.2", "1.3", "2.4"}
    assert verify(DISK, layout, run_id=RUN, bounds=BOUNDS).problems == ()
    finish(DISK, layout, committer=committer, order=Order.PLAN)
    assert published(layout) == RULES[rule]
    assert not layout.parts.exists()
    said = list(inspect_log(DISK, layout, run_id=RUN))
    assert [record["type"] for record in said if record["type"] in {"PART", "PUBLISH"}] == ["PART"] * 4
    assembled = next(record for record in said if record["type"] == "ASSEMBLED")
    assert {file["path"]: file["size"] for file in assembled["files"]} == {k: len(v) for k, v in RULES[rule].items()}
    assert open_finished(DISK, layout, run_id=RUN, bounds=BOUNDS, locked=True).ledger.complete
    assert verify(DISK, layout, run_id=RUN, bounds=BOUNDS).sound


def test_a_resume_goes_on_with_the_pieces_that_are_there(layout: RunLayout) -> None:
    committer = begin(layout)
    committer.commit(Group(scored=[wrote(layout, B, all=b"two\n")]))
    committer.close(clean=False)
    committer = begin(layout)
    committer.commit(Group(scored=[wrote(layout, Lease(2, 4, 2, 1), all=b"four\n"), wrote(layout, A, all=b"zero\n")]))
    finish(DISK, layout, committer=committer, order=Order.PLAN)
    assert published(layout) == {"all": b"zero\ntwo\nfour\n"}


def test_what_is_assembled_but_not_sealed_is_made_again_of_its_pieces(
    layout: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    committer = begin(layout)
    three(layout, committer)
    with monkeypatch.context() as patch:
        patch.setattr(RealDisk, "rename_new", lambda disk, source, target: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finish(DISK, layout, committer=committer, order=Order.PLAN)
    committer.close(clean=False)
    finish(DISK, layout, committer=begin(layout), order=Order.PLAN)
    assert published(layout) == RULES[OnCollision.APPEND]
    types = [record["type"] for record in inspect_log(DISK, layout, run_id=RUN)]
    assert types.count("ASSEMBLED") == 1


def test_a_full_disk_while_joining_leaves_the_room_and_fits_later(
    layout: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    committer = begin(layout)
    three(layout, committer)
    real = os.pwrite

    def full(fd: int, data: Any, offset: int) -> int:
        if "whole" in os.readlink(f"/proc/self/fd/{fd}"):
            raise OSError(28, "full")
        return real(fd, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(NoSpaceError):
            finish(DISK, layout, committer=committer, order=Order.PLAN)
    assert not (layout.parts / "whole").exists()
    finish(DISK, layout, committer=committer, order=Order.PLAN)
    assert published(layout) == RULES[OnCollision.APPEND]


def test_a_piece_that_was_damaged_is_not_assembled(layout: RunLayout) -> None:
    committer = begin(layout)
    three(layout, committer)
    (layout.parts / "1.3" / "all").write_bytes(b"THREE\n")
    assert len(verify(DISK, layout, run_id=RUN, bounds=BOUNDS).problems) == 1
    with pytest.raises(CorruptionError, match=r"1\.3/all"):
        finish(DISK, layout, committer=committer, order=Order.PLAN)
    assert published(layout) == {}


def test_a_name_taken_meanwhile_is_not_replaced(layout: RunLayout) -> None:
    committer = begin(layout)
    three(layout, committer)
    (layout.out / "all").write_bytes(b"mine")
    with pytest.raises(StorageError, match="appeared while the run was going on"):
        finish(DISK, layout, committer=committer, order=Order.PLAN)
    assert published(layout) == {"all": b"mine"}


@pytest.mark.parametrize("name", ["all__below", "sub", "mine", "p.csv"])
def test_what_no_rule_can_place_is_refused(layout: RunLayout, name: str) -> None:
    committer = begin(layout)
    (layout.out / "mine").write_bytes(b"")
    committer.commit(Group(scored=[wrote(layout, A, all=b"0", sub__all=b"0")]))
    with pytest.raises(FilesRefusedError):
        committer.commit(Group(scored=[wrote(layout, B, **{name: b"1"})]))
    committer.commit(Group(scored=[wrote(layout, B, all=b"1")]))
    committer.close(clean=True)


def test_with_fail_a_second_writer_is_refused_and_told_what_to_do(layout: RunLayout) -> None:
    committer = begin(layout, OnCollision.FAIL)
    committer.commit(Group(scored=[wrote(layout, A, all=b"0")]))
    assert published(layout) == {"all": b"0"}
    with pytest.raises(FilesCollideError) as caught:
        committer.commit(Group(scored=[wrote(layout, B, all=b"1")]))
    assert "on_collision = append" in caught.value.remedy
    committer.close(clean=True)


def test_what_no_log_may_say() -> None:
    file = (StagedFile("all", 1),)
    parts = Parts()
    parts.add(B, file, digests=["b"])
    parts.add(A, file, digests=["a"])
    assert parts.pieces("all") == [Piece(0, 0, 1, "a"), Piece(2, 1, 1, "b")]
    with pytest.raises(ValueError, match="two pieces"):
        parts.add(A, file, digests=["a"])
    with pytest.raises(ValueError, match="from nothing"):
        parts.assembled([Whole("other", 1, "x")])
    parts.assembled([Whole("all", 2, "ab")])
    with pytest.raises(ValueError, match="twice"):
        parts.assembled([Whole("all", 2, "ab")])
    with pytest.raises(ValueError, match="after files were assembled"):
        parts.add(Lease(2, 4, 2, 1), file, digests=["c"])


# (name, shared) -> who is in the way of it where A wrote dir/file
WAYS = {
    "the same file": ("dir/file", False, A),
    "the same file, shared": ("dir/file", True, None),
    "another file": ("dir/other", False, None),
    "a file where a folder is": ("dir", True, A),
    "a file below a file": ("dir/file/x", True, A),
    "a name that begins alike": ("dir/filed", False, None),
}


@pytest.mark.parametrize("case", WAYS)
def test_a_name_is_a_files_or_a_folders(case: str) -> None:
    path, shared, whose = WAYS[case]
    names = Names()
    assert names.add("dir/file", A) == A
    assert names.add("dir/file", B) == A
    assert names.in_the_way(path, shared=shared) == whose
