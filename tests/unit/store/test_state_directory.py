"""Where OUT says that its run directory lies: what is followed, what is refused, and which lock keeps whom apart."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from batchctl.errors import BatchctlError, CorruptionError, ResumeRefusedError, RunLockedError, UsageError
from batchctl.files import RealDisk
from batchctl.handles import FileLock, storage_error
from batchctl.store.creation import RunState, create_run, run_state
from batchctl.store.layout import RunLayout
from batchctl.store.lock import held_lock, held_state, this_process
from batchctl.store.state_directory import find, forget_created, is_own, read_pointer, settle
from tests.doubles.disk import DIR, Crash, MemoryDisk
from tests.doubles.power_cut import survive

DISK = RealDisk()
RUN, OTHER = "a" * 32, "b" * 32


class Place:
    """An OUT and state directories beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def asked(self, name: str | None, out: str = "out") -> RunLayout:
        return RunLayout(self.folder / out, "p.csv", state=self.folder / name if name else None)

    def create(self, name: str | None, out: str = "out", *, run_id: str = RUN) -> RunLayout:
        layout = self.asked(name, out)
        create_run(DISK, layout, job_document={"run_id": run_id}, plan_chunks=[b"plan"])
        return layout


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_the_run_knows_is_there_and_what_is_renamed_is_not(place: Place) -> None:
    layout = place.create("state")
    assert sorted(os.listdir(place.folder / "state")) == ["job.json", "plan"]
    assert os.listdir(layout.home) == ["state.json"]
    assert {layout.stage, layout.parts, layout.lock} <= {layout.home / name for name in ("stage", "parts", "lock")}
    assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in layout.folders)
    assert run_state(DISK, layout) is RunState.STARTED
    assert find(DISK, place.asked(None)) == layout
    assert find(DISK, place.asked("state")) == layout
    plain = place.create(None, "plain")
    assert (plain.directory, plain.state_lock) == (plain.home, plain.lock)
    assert find(DISK, plain) == plain


def test_out_may_be_moved_without_its_state(place: Place) -> None:
    place.create("state")
    (place.folder / "out").rename(place.folder / "moved")
    assert run_state(DISK, find(DISK, place.asked(None, "moved"))) is RunState.STARTED


def gone(place: Place) -> None:
    shutil.rmtree(place.folder / "state")


def emptied(place: Place) -> None:
    gone(place)
    (place.folder / "state").mkdir(mode=0o700)


def another_run(place: Place) -> None:
    gone(place)
    place.create("state", "elsewhere", run_id=OTHER)


def open_to_others(place: Place) -> None:
    (place.folder / "state").chmod(0o755)


def a_link(place: Place) -> None:
    (place.folder / "state").rename(place.folder / "real")
    (place.folder / "state").symlink_to(place.folder / "real")


def another_user(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("not run: giving a folder away takes root")
    os.chown(place.folder / "state", 12345, -1)


def out_of_another_user(place: Place) -> None:
    another_user(place)
    os.chown(place.folder / "out" / ".batchctl", 12345, -1)


def damaged(place: Place) -> None:
    pointer = place.folder / "out" / ".batchctl" / "state.json"
    pointer.write_text(pointer.read_text().replace(str(place.folder), "/elsewhere"))


def from_the_future(place: Place) -> None:
    pointer = place.folder / "out" / ".batchctl" / "state.json"
    pointer.write_text(json.dumps({**json.loads(pointer.read_text()), "format": 2}))


def copied(place: Place) -> None:
    shutil.copytree(place.folder / "state", place.folder / "copy")
    (place.folder / "copy").chmod(0o700)


def nothing(place: Place) -> None:
    """As it was created."""


REFUSED: dict[str, tuple[Callable[[Place], None], str | None, type[BatchctlError], str]] = {
    # name: what happened to a run in `state`, the directory asked for -> the refusal
    "gone": (gone, None, CorruptionError, "is gone"),
    "gone, and asked for": (gone, "state", CorruptionError, "is gone"),
    "gone, another asked for": (gone, "other", UsageError, "has its state in"),
    "emptied": (emptied, None, CorruptionError, "job.json is gone"),
    "emptied, and asked for": (emptied, "state", CorruptionError, "job.json is gone"),
    "emptied, another asked for": (emptied, "other", UsageError, "has its state in"),
    "of another run": (another_run, None, UsageError, f"holds run {OTHER}"),
    "of another user": (another_user, None, UsageError, "belongs to user 12345"),
    "of a user who may plant state.json": (out_of_another_user, None, UsageError, "belongs to user 12345"),
    "open to others": (open_to_others, None, UsageError, "others may enter"),
    "a link": (a_link, None, UsageError, "is not a directory"),
    "another than the one asked for": (nothing, "other", UsageError, "has its state in"),
    "a copy of it asked for": (copied, "copy", UsageError, "has its state in"),
    "state.json damaged": (damaged, None, CorruptionError, "CRC"),
    "state.json of a later version": (from_the_future, None, ResumeRefusedError, "format 2"),
}


@pytest.mark.parametrize(("happened", "asked", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_followed(
    place: Place, happened: Callable[[Place], None], asked: str | None, error: type[BatchctlError], words: str
) -> None:
    place.create("state")
    happened(place)
    before = sorted(place.folder.rglob("*"))
    for look in (find, settle):
        with pytest.raises(error, match=words):
            look(DISK, place.asked(asked))
    assert sorted(place.folder.rglob("*")) == before


def test_a_run_in_out_does_not_move_by_being_asked_to(place: Place) -> None:
    place.create(None)
    with pytest.raises(UsageError, match=r"has its state in .*\.batchctl, not in"):
        find(DISK, place.asked("state"))


def test_a_moved_state_directory_is_taken_up_where_it_is_named(place: Place) -> None:
    place.create("state")
    (place.folder / "state").rename(place.folder / "moved")
    assert find(DISK, place.asked("moved")) == place.asked("moved")
    with pytest.raises(CorruptionError, match="is gone"):  # to look is not to move
        find(DISK, place.asked(None))
    assert settle(DISK, place.asked("moved")) == place.asked("moved")
    assert find(DISK, place.asked(None)) == place.asked("moved")


def test_a_half_created_run_may_choose_anew(place: Place) -> None:
    layout = place.create("state")
    forget_created(DISK, layout)
    layout.job.unlink()
    assert find(DISK, place.asked(None)) == layout
    assert settle(DISK, place.asked("other")) == place.asked("other")
    assert read_pointer(DISK, layout) is not None
    assert find(DISK, place.asked(None)) == layout  # until it is created
    place.create("other", run_id=OTHER)
    assert find(DISK, place.asked(None)) == place.asked("other")


def test_a_crash_before_out_says_that_the_run_is_created_is_made_good(place: Place) -> None:
    layout = place.create("state")
    forget_created(DISK, layout)  # as a crash right after job.json leaves it
    assert settle(DISK, place.asked(None)) == layout
    emptied(place)
    with pytest.raises(CorruptionError, match=r"job\.json is gone"):
        settle(DISK, place.asked(None))


def test_a_power_cut_right_after_that_loses_no_run() -> None:
    """A kill had come between the rename of job.json and the sync of its name."""
    disk = MemoryDisk()
    for folder in ("/data", "/else"):
        disk.names[folder] = disk.durable_names[folder] = DIR
    layout = RunLayout(Path("/data/out"), "p.csv", state=Path("/else/state"))

    def kill(disk: MemoryDisk, operation: str, *_: object) -> None:
        if operation == "sync_dir" and str(layout.job) in disk.names and str(layout.job) not in disk.durable_names:
            raise Crash

    disk.hook = kill
    with pytest.raises(Crash):
        create_run(disk, layout, job_document={"run_id": RUN}, plan_chunks=[b"plan"])
    disk.hook = None
    assert settle(disk, layout.at(None)) == layout
    after = MemoryDisk(survive(disk.image(), choose=random.Random(1), keep=0.0))
    assert find(after, layout.at(None)) == layout
    assert after.stat(layout.job) is not None


@pytest.mark.parametrize(
    ("names", "words"),
    [
        pytest.param([], "", id="empty"),
        pytest.param(["lock", "guest.pyz", "plan.tmp", ".status.json.tmp", "logs"], "", id="half-created"),
        pytest.param(["job.json"], "another output folder", id="a run"),
        pytest.param(["checkpoint.log"], "another output folder", id="a log"),
        pytest.param(["lock", "thesis.tex"], "holds 'thesis.tex'", id="somebody's"),
        pytest.param([".job.json"], "not empty", id="almost a name of ours"),
    ],
)
def test_a_state_directory_has_to_be_free(place: Place, names: list[str], words: str) -> None:
    folder = place.folder / "state"
    folder.mkdir(mode=0o700)
    for name in names:
        (folder / name).touch()
    if words:
        with pytest.raises(UsageError, match=words):
            find(DISK, place.asked("state"))
    else:
        assert find(DISK, place.asked("state")).state == folder
    assert sorted(os.listdir(folder)) == sorted(names)


def test_every_path_in_a_state_directory_is_known_to_be_ours() -> None:
    layout = RunLayout(Path("/out"), state=Path("/state"))
    paths = vars(layout).values()
    inside = [path.name for path in paths if isinstance(path, Path) and path.parent == layout.state]
    assert len(inside) > 10
    assert all(map(is_own, inside))


def test_one_coordinator_for_each_out_and_for_each_state_directory(place: Place) -> None:
    one, other = place.asked("state"), place.asked("state", "elsewhere")
    holder = this_process()
    with held_lock(DISK, one, holder=holder), held_state(DISK, one, holder=holder):
        with pytest.raises(RunLockedError, match="out is held by process"), held_lock(DISK, one, holder=holder):
            pass
        with held_lock(DISK, other, holder=holder):
            with pytest.raises(RunLockedError, match="state is held by"), held_state(DISK, other, holder=holder):
                pass
            with held_state(DISK, place.asked(None, "elsewhere"), holder=holder):  # none is asked for
                pass
    with held_lock(DISK, other, holder=holder), held_state(DISK, other, holder=holder):
        pass


class GivesToAll(RealDisk):
    """A file system whose locks exclude nobody, as some FUSE ones have them."""

    def lock(self, path: Path) -> FileLock | None:
        own = path.with_name(f"{path.name}.{os.urandom(4).hex()}")
        return super().lock(own)


class GivesToNobody(RealDisk):
    """A file system without locks."""

    def lock(self, path: Path) -> FileLock | None:
        raise storage_error("lock", path, cause=OSError(errno.ENOLCK, "No locks available"))


def test_no_locks_at_all_are_refused(place: Place) -> None:
    with (
        pytest.raises(UsageError, match="has no locks: No locks available"),
        held_lock(GivesToNobody(), place.asked(None), holder=this_process()),
    ):
        pass


def test_a_lock_that_two_get_is_refused(place: Place) -> None:
    with (
        pytest.raises(UsageError, match="gives one lock to two"),
        held_lock(GivesToAll(), place.asked(None), holder=this_process()),
    ):
        pass
