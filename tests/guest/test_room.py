"""Is the disk full? Asked on one that really is."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from batchctl.guest.failure import FileError
from batchctl.guest.harvest import Harvest
from batchctl.guest.room import make_folders, no_room

FULL, OTHER = OSError(errno.ENOSPC, "no space"), ValueError("bad")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB and few inodes."""
    at = tmp_path / "small"
    at.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=50", "tmpfs", str(at)], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"not run: {done.stderr.strip()}")
    yield at
    subprocess.run(["umount", str(at)], check=True)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


# name: (error, is the disk full to the last byte?) -> errno, on a small disk
CASES: dict[str, tuple[Exception, bool, int | None]] = {
    "no space": (FULL, True, errno.ENOSPC),
    "no space, and others have tidied up": (FULL, False, errno.ENOSPC),
    "a library's own error": (RuntimeError("unexpected pos 64"), True, errno.ENOSPC),
    "a library's own error that came of it": (caused(RuntimeError(), FULL), False, errno.ENOSPC),
    "of one file": (FileError("a.csv", FULL), False, errno.ENOSPC),
    "something else": (OTHER, False, None),
    "something else in the system": (PermissionError(errno.EACCES, "no"), False, None),
}


@pytest.mark.parametrize("case", CASES)
def test_on_a_small_disk(case: str, small: Path) -> None:
    error, full, wanted = CASES[case]
    (small / "ballast").write_bytes(bytes(256 << 10) if full else b"")
    assert no_room(error, str(small)) == wanted
    assert os.listdir(small) == ["ballast"]


def test_a_full_disk_elsewhere_is_the_scripts_own_affair(tmp_path: Path) -> None:
    if os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize < 1 << 30:
        pytest.skip("not run: this disk is nearly full itself")
    assert no_room(FULL, str(tmp_path)) is None


def test_folders_wait_for_room(small: Path) -> None:
    taken = []
    with pytest.raises(OSError, match="No space left"):
        for number in range(100):
            taken.append(small / str(number))
            taken[-1].touch()
    said = []

    def note(kind: str, text: str) -> None:
        said.append(kind)
        for path in taken[:3]:
            path.unlink()

    make_folders([str(small / "a"), str(small / "a" / "b")], note)
    assert (small / "a" / "b").is_dir()
    assert said == ["room"]


def test_what_could_not_be_staged_is_not_the_next_ones(small: Path) -> None:
    out, stage = small / "out", small / "stage"
    out.mkdir()
    stage.mkdir()
    harvest = Harvest(str(out), str(stage), lambda kind, text: None)
    harvest.after_init()
    (out / "a.txt").write_text("a mini-batch's own")
    for number in count():
        try:
            (small / f"ballast{number}").touch()
        except OSError:
            break
    with pytest.raises(OSError, match="No space"):
        harvest.collect("staged")
    assert harvest.has_new()
    harvest.discard()
    assert os.listdir(out) == []
    (small / "ballast0").unlink()
    assert harvest.collect("next") == []
