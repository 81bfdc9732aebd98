"""How a run ends where something is in the way: the order asked for is another by now, the disk is too full to remove
anything, a file of the result's name is there, other people's files lie beside."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest

from batchctl.errors import NoSpaceError, UsageError
from batchctl.files import RealDisk
from batchctl.model.job import Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored, StagedFile
from batchctl.store.commit import Committer, Group
from batchctl.store.creation import RunState, check_vacant, create_run, run_state
from batchctl.store.finish import finish, open_finished, tidy
from batchctl.store.layout import RunLayout
from batchctl.store.recover import recover
from batchctl.store.verify import verify

RUN, BOUNDS = "r", (0, 2, 4)


class Disk(RealDisk):
    """`stuck`: there is no room to remove a file, as a full btrfs or a ZFS at its quota has it; `cut`: a rename into
    place is the end of this process."""

    stuck = cut = False

    def remove(self, path: Path) -> None:
        if self.stuck and path.exists():
            raise NoSpaceError("no room to remove it", where=str(path))
        super().remove(path)

    def remove_tree(self, path: Path) -> None:
        if self.stuck and path.exists():
            raise NoSpaceError("no room to remove it", where=str(path))
        super().remove_tree(path)

    def rename_new(self, source: Path, target: Path) -> bool:
        if self.cut:
            raise KeyboardInterrupt
        return super().rename_new(source, target)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path / "out", "p.csv")


def begin(disk: Disk, layout: RunLayout) -> Committer:
    if run_state(disk, layout) is not RunState.STARTED:
        create_run(disk, layout, job_document={"run_id": RUN}, plan_chunks=[b"plan"])
    return recover(disk, layout, run_id=RUN, bounds=BOUNDS, boot_id="boot", version="0").committer


def scored(batch: int, rows: bytes, **more: Any) -> Scored:
    lease = Lease(batch, BOUNDS[batch], 2, 1)
    return Scored(lease, rows, len(rows), zlib.crc32(rows), rows.count(b"\n"), 2, 0, 5)._replace(**more)


def all_committed(disk: Disk, layout: RunLayout) -> Committer:
    """The second mini-batch first."""
    committer = begin(disk, layout)
    committer.commit(Group(scored=[scored(1, b"3\n4\n"), scored(0, b"1\n2\n")]))
    return committer


def problems(disk: Disk, layout: RunLayout) -> tuple[str, ...]:
    return verify(disk, layout, run_id=RUN, bounds=BOUNDS).problems


@pytest.mark.parametrize("then", [Order.PLAN, Order.COMPLETION])
@pytest.mark.parametrize("order", [Order.PLAN, Order.COMPLETION])
def test_what_is_sealed_stays_in_its_order(disk: Disk, layout: RunLayout, order: Order, then: Order) -> None:
    committer = all_committed(disk, layout)
    disk.cut = True
    with pytest.raises(KeyboardInterrupt):
        finish(disk, layout, committer=committer, order=order)
    disk.cut = False
    committer.close(clean=False)
    finish(disk, layout, committer=begin(disk, layout), order=then)
    assert layout.final.read_bytes() == (b"1\n2\n3\n4\n" if order is Order.PLAN else b"3\n4\n1\n2\n")
    assert problems(disk, layout) == ()


def test_a_commit_stands_where_what_it_leaves_cannot_be_removed(disk: Disk, layout: RunLayout) -> None:
    committer = begin(disk, layout)
    for name in ("a", "b"):
        (layout.stage / name).mkdir(parents=True)
        (layout.stage / name / f"{name}.txt").write_text("file")
    layout.spill.mkdir(exist_ok=True)
    (layout.spill / "rows").write_bytes(b"3\n4\n")
    disk.stuck = True
    spilled = scored(1, b"3\n4\n")._replace(rows=b"", spill="rows", staged="b", files=(StagedFile("b.txt", 4),))
    committer.commit(Group(scored=[scored(0, b"1\n2\n", staged="a", files=(StagedFile("a.txt", 4),))]))
    committer.commit(Group(scored=[spilled]))
    assert committer.ledger.committed == 4
    finish(disk, layout, committer=committer, order=Order.PLAN)
    assert layout.final.read_bytes() == b"1\n2\n3\n4\n"
    assert problems(disk, layout) == ()
    disk.stuck = False
    open_finished(disk, layout, run_id=RUN, bounds=BOUNDS, locked=True)
    assert not layout.spill.exists()
    assert sorted(path.name for path in layout.out.iterdir()) == [".batchctl", "a.txt", "b.txt", "p.csv"]


def test_a_file_of_the_results_name_is_no_damage(disk: Disk, layout: RunLayout) -> None:
    committer = all_committed(disk, layout)
    committer.close(clean=True)
    layout.final.write_text("somebody's")
    with pytest.raises(UsageError, match="is not this run's result") as refused:
        problems(disk, layout)
    assert "move it away" in refused.value.remedy
    layout.final.unlink()
    assert problems(disk, layout) == ()


@pytest.mark.parametrize("tidies", [True, False])
def test_a_run_that_ends_while_it_is_looked_at_is_sound(layout: RunLayout, tidies: bool) -> None:
    """The log was read before its seal was there."""

    class Racing(Disk):
        committer: Committer | None = None

        def read(self, path: Path) -> bytes:
            data = super().read(path)
            if path == layout.log and self.committer is not None:
                committer, self.committer = self.committer, None
                self.stuck = not tidies
                finish(self, layout, committer=committer, order=Order.PLAN)
                self.stuck = False
            return data

    disk = Racing()
    disk.committer = all_committed(disk, layout)
    found = verify(disk, layout, run_id=RUN, bounds=BOUNDS)
    assert (found.problems, found.finished) == ((), True)


def test_names_of_the_run_that_goes_are_free(disk: Disk, layout: RunLayout) -> None:
    finish(disk, layout, committer=all_committed(disk, layout), order=Order.PLAN)
    check_vacant(disk, layout, but_for=layout)
    other = RunLayout(layout.out, "p.parquet")
    check_vacant(disk, other, but_for=layout)
    other.final.write_text("made of the other one")
    with pytest.raises(UsageError, match=r"p\.parquet exists and belongs to no run"):
        check_vacant(disk, other, but_for=layout)
    with pytest.raises(UsageError, match=r"p\.csv exists"):
        check_vacant(disk, layout)


def test_other_peoples_files_stay_in_a_state_directory(disk: Disk, tmp_path: Path) -> None:
    layout = RunLayout(tmp_path / "out", "p.csv", state=tmp_path / "state")
    committer = all_committed(disk, layout)
    finish(disk, layout, committer=committer, order=Order.PLAN)
    (layout.directory / "notes.tmp").write_text("mine")
    (layout.directory / "cache.tmp").mkdir()
    (layout.directory / ".learned.json.tmp").write_text("{")
    tidy(disk, layout)
    assert sorted(path.name for path in layout.directory.glob("*.tmp")) == ["cache.tmp", "notes.tmp"]
