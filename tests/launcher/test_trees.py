"""Trees that are there already: damaged ones are made anew, used ones stay, old and half ones go."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.launcher.box import Box
from tests.launcher.format import Entry, pack

DAY = 86400


def replace(path: Path, content: bytes) -> None:
    mode = path.stat().st_mode
    path.write_bytes(content)
    path.chmod(mode)


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def move_out(tree: Path) -> None:
    (tree / "_internal/lib").rename(tree / "lib")
    (tree / "_internal/lib").symlink_to("../lib")


def edit_manifest(tree: Path) -> None:
    path = tree / "MANIFEST"
    path.write_bytes(path.read_bytes().replace(b"0644", b"0755"))


HARMS = [
    pytest.param(lambda t: (t / "batchctl").unlink(), id="program gone"),
    pytest.param(lambda t: (t / "_internal/data/empty").unlink(), id="empty file gone"),
    pytest.param(lambda t: (t / "_internal/data.txt").unlink(), id="file gone"),
    pytest.param(lambda t: replace(t / "_internal/data.txt", b"short"), id="size"),
    pytest.param(lambda t: (t / "batchctl").chmod(0o644), id="mode of the program"),
    pytest.param(lambda t: (t / "_internal/data.txt").chmod(0o4644), id="setuid"),
    pytest.param(lambda t: (t / "_internal/data.txt").chmod(0o666), id="others write"),
    pytest.param(lambda t: relink(t / "_internal/libx.so", "/etc/passwd"), id="link elsewhere"),
    pytest.param(lambda t: replace(t / "_internal/libx.so", b""), id="what a link names"),
    pytest.param(lambda t: relink(t / "share/large.bin", "../_internal/data.txt"), id="link for a file"),
    pytest.param(lambda t: (t / "_internal/libx.so").unlink(), id="link gone"),
    pytest.param(move_out, id="link for a folder"),
    pytest.param(lambda t: (t / "_internal").chmod(0o777), id="folder for all"),
    pytest.param(lambda t: (t / "_internal").chmod(0o000), id="folder for nobody"),
    pytest.param(lambda t: t.chmod(0o777), id="tree for all"),
    pytest.param(lambda t: (t / "MANIFEST").unlink(), id="manifest gone"),
    pytest.param(edit_manifest, id="manifest changed"),
    pytest.param(lambda t: replace(t / "MANIFEST", b""), id="manifest empty"),
    pytest.param(lambda t: ((t / "MANIFEST").unlink(), os.mkfifo(t / "MANIFEST")), id="manifest a pipe"),
    pytest.param(lambda t: (t.rename(t.parent / "x"), t.write_text("")), id="a file for the tree"),
    pytest.param(lambda t: (t.rename(t.parent / "x"), t.symlink_to("x")), id="a link for the tree"),
    pytest.param(lambda t: (t.rename(t.parent / "x"), t.mkdir()), id="an empty folder for the tree"),
]


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_tree_is_made_anew(each_box: Box, harm: Callable[[Path], object]) -> None:
    each_box.run()
    before = (each_box.cache / each_box.id).stat().st_ino
    harm(each_box.cache / each_box.id)
    said = each_box.run("exit", "6")
    assert (said.code, said.err) == (6, "")
    if (each_box.cache / "x").exists():
        subprocess.run(["rm", "-r", each_box.cache / "x"], check=True)
    each_box.assert_whole()
    assert (each_box.cache / each_box.id).stat().st_ino != before or each_box.names() == [each_box.id]


@contextmanager
def running(box: Box) -> Iterator[subprocess.Popen[bytes]]:
    with box.popen("wait", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        while child.stdout.readline() != b"ready\n":
            assert child.poll() is None
        yield child
        assert child.stdin
        child.stdin.close()
        assert child.wait() == 0


def test_a_damaged_tree_that_is_running_stays_until_it_ends(box: Box) -> None:
    with running(box):
        (box.cache / box.id / "_internal/data.txt").unlink()
        assert box.run("exit", "6").code == 6
        (old,) = set(box.names()) - {box.id}
        assert old.startswith(".tmp-old-")
        assert (box.cache / old / "batchctl").exists()
        (box.cache / box.id / "_internal/data.txt").unlink()
        assert box.run("exit", "6").code == 6
        assert old in box.names()
    (box.cache / box.id / "_internal/data.txt").unlink()
    assert box.run("exit", "6").code == 6
    box.assert_whole()


@pytest.fixture
def newer(box: Box) -> Box:
    """Another build, with the same cache."""
    tree: Mapping[str, Entry] = {**box.tree, "_internal/data.txt": Entry(b"newer")}
    file = box.home / "newer"
    made = pack(box.launcher, tree, file, version="2.0")
    return Box(home=box.home, file=file, cache=box.cache, id=made, tree=tree, launcher=box.launcher, env=dict(box.env))


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then))


@pytest.mark.parametrize(("days", "left"), [(13, True), (15, False)])
def test_another_builds_tree_goes_after_two_weeks(box: Box, newer: Box, days: int, left: bool) -> None:
    box.run()
    age(box.cache / box.id, days)
    newer.run()
    assert (box.id in newer.names()) is left


def test_another_builds_tree_stays_while_it_runs(box: Box, newer: Box) -> None:
    with running(box):
        age(box.cache / box.id, 100)
        newer.run()
        assert newer.names() == sorted([box.id, newer.id])


def test_a_start_notes_that_a_tree_is_used(box: Box) -> None:
    box.run()
    age(box.cache / box.id, 10)
    box.run()
    assert time.time() - (box.cache / box.id).stat().st_mtime < DAY


def test_a_users_own_things_are_never_swept(box: Box, newer: Box) -> None:
    box.run()
    own = {
        "notes": b"",
        "1.0-0123456789abcdef/MANIFEST": b"batchctl-tree 1 1.0\nsomething else\n",
        "1.0-0123456789abcdee/data": b"",
        ".tmp-mine/x": b"",
        ".tmp-12-short": b"",
    }
    for name, content in own.items():
        path = box.cache / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    for path in box.cache.iterdir():
        age(path, 100)
    newer.run()
    assert all((box.cache / name).exists() for name in own)
    assert box.id not in box.names()


def test_half_trees_are_swept(box: Box) -> None:
    for name in (".tmp-12-0123456789abcdef", ".tmp-old-12-0123456789abcdef"):
        deep = box.cache / name / "a/b/c"
        deep.mkdir(parents=True)
        (deep / "file").write_text("")
        (deep / "out").symlink_to(box.home)
        (box.cache / name / "a").chmod(0o500)
    (box.cache / ".tmp-13-0123456789abcdef").write_text("")
    box.cache.chmod(0o700)
    box.run()
    box.assert_whole()
    assert box.file.exists()


def test_a_held_lock_sends_us_to_the_next_root(box: Box, built: Path) -> None:
    pack(built / "launcher-impatient", box.tree, box.home / "batchctl-impatient")
    box.file = box.home / "batchctl-impatient"
    box.cache.mkdir(mode=0o700)
    good = box.home / "good"
    good.mkdir(mode=0o700)
    box.env["CACHE_DIRECTORY"] = str(good)
    with (box.cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = box.run("exit", "6")
        assert said.code == 6
        assert "another process has held its .lock for 1 s" in said.err
        box.assert_whole(good)
    assert box.names() == []


def test_a_tree_can_be_run_while_somebody_else_unpacks(box: Box) -> None:
    box.run()
    with (box.cache / ".lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert box.run("exit", "6").code == 6


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda p: p.mkdir(), id="folder"),
        pytest.param(lambda p: p.symlink_to("elsewhere"), id="link"),
        pytest.param(lambda p: os.mkfifo(p), id="pipe"),
    ],
)
def test_a_lock_that_is_no_file(box: Box, make: Callable[[Path], object]) -> None:
    box.cache.mkdir(mode=0o700)
    make(box.cache / ".lock")
    good = box.home / "good"
    good.mkdir(mode=0o700)
    box.env["CACHE_DIRECTORY"] = str(good)
    said = box.run("exit", "6")
    assert (said.code, ".lock" in said.err, box.names()) == (6, True, [])
    assert not (box.cache / "elsewhere").exists()


def test_a_program_that_cannot_be_started_says_why(box: Box) -> None:
    box.file.unlink()
    box.id = pack(box.launcher, {"batchctl": Entry(b"#!/no/such/loader\n", "0755")}, box.file)
    said = box.run()
    assert said.code == 69
    assert "this system lacks the loader" in said.err
