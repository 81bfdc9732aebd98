"""A folder is said to be as it was only where it is, whatever a script does with it or with our descriptors."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batchctl.guest.folder_watch import SETTLED_NS, FolderWatch
from batchctl.guest.harvest import Harvest


def later() -> int:
    """A clock by which everything has settled."""
    return time.time_ns() + SETTLED_NS


def make_file(out: Path) -> None:
    (out / "a").touch()


def make_and_remove_file(out: Path) -> None:
    make_file(out)
    (out / "a").unlink()


def make_folder(out: Path) -> None:
    (out / "a").mkdir()


def make_anew(out: Path) -> None:
    shutil.rmtree(out)
    out.mkdir()
    make_file(out)


def move_away(out: Path) -> None:
    out.rename(out.with_name("elsewhere"))
    out.mkdir()
    make_file(out)


def put_another_in_its_place(out: Path) -> None:
    other = out.with_name("other")
    other.mkdir()
    make_file(other)
    other.rename(out)


def make_a_link_of_it(out: Path) -> None:
    out.rename(out.with_name("elsewhere"))
    out.symlink_to("elsewhere")


def remove(out: Path) -> None:
    out.rmdir()


def close_all(out: Path) -> None:
    for fd in _descriptors_of(out):
        os.close(fd)


def _descriptors_of(folder: Path) -> list[int]:
    links = Path("/proc/self/fd")
    return [int(name) for name in os.listdir(links) if os.path.realpath(links / name) == str(folder)]


CHANGES: list[Callable[[Path], None]] = [
    *(make_file, make_and_remove_file, make_folder, make_anew, move_away),
    *(put_another_in_its_place, make_a_link_of_it, remove, close_all),
]


def _wait_for_a_tick(folder: Path) -> None:
    """Until what is changed in `folder` gets another change time."""
    first = folder.stat().st_ctime_ns
    while folder.stat().st_ctime_ns == first:
        folder.chmod(0o700)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change.__name__))
def test_a_change_is_never_missed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    watch = FolderWatch(later)
    assert not watch.is_unchanged()
    watch.begin(str(out), os.stat(out))
    assert watch.is_unchanged()
    tick = tmp_path / "tick"
    tick.mkdir()
    _wait_for_a_tick(tick)
    change(out)
    assert not watch.is_unchanged()


def test_what_has_just_changed_is_not_watched(tmp_path: Path) -> None:
    watch = FolderWatch(lambda: os.stat(tmp_path).st_ctime_ns + SETTLED_NS - 1)
    watch.begin(str(tmp_path), os.stat(tmp_path))
    assert not watch.is_unchanged()


def test_a_watch_goes_on_after_a_change(tmp_path: Path) -> None:
    out, tick = tmp_path / "out", tmp_path / "tick"
    out.mkdir()
    tick.mkdir()
    watch = FolderWatch(later)
    watch.begin(str(out), os.stat(out))
    _wait_for_a_tick(tick)
    make_file(out)
    assert not watch.is_unchanged()
    watch.begin(str(out), os.stat(out))
    assert watch.is_unchanged()


def test_a_descriptor_of_the_scripts_is_left_alone(tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.mkdir()
    watch = FolderWatch(later)
    watch.begin(str(out), os.stat(out))
    (ours,) = _descriptors_of(out)
    fd = os.open(other, os.O_RDONLY)
    os.dup2(fd, ours)
    assert not watch.is_unchanged()
    watch.begin(str(out), os.stat(out))
    assert not watch.is_unchanged()
    assert os.path.samestat(os.fstat(ours), os.stat(other))
    os.close(fd)
    os.close(ours)


def test_the_harvest_sees_files_under_a_watch(tmp_path: Path) -> None:
    out, stage = tmp_path / "out", tmp_path / "stage"
    out.mkdir()
    stage.mkdir()
    harvest = Harvest(str(out), str(stage), lambda _kind, _text: None)
    harvest.after_init()
    deadline = time.monotonic_ns() + SETTLED_NS
    while time.monotonic_ns() <= deadline:  # looks are what a worker does all the time
        assert not harvest.has_new()
    for change in (make_file, make_anew, move_away):
        change(out)
        assert harvest.has_new()
        assert harvest.collect(change.__name__) == [("a", 0)]
        assert harvest.collect("nothing") == []
        assert not harvest.has_new()
