"""First runs: unpacked once, verified, whole or not at all, however many start and whoever is killed."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.binary.packaged import FULL, Packaged, blake, count, differences, finish, footer_of, trees

TOGETHER = 20


def test_a_first_run_unpacks_the_tree_and_nothing_else(cold: Packaged) -> None:
    old = os.umask(0)
    try:
        ran = cold.run("--version").expect(0)
    finally:
        os.umask(old)
    assert ran.stdout.startswith("batchctl ")
    assert ran.stderr == ""
    assert trees(cold.cache) == [footer_of(cold.path).build_id]
    assert differences(cold.tree) == []
    assert stat.S_IMODE(cold.cache.stat().st_mode) == 0o700
    folders = [cold.tree, *(path for path in cold.tree.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o022 for path in folders} == {0}
    assert {path.lstat().st_uid for path in cold.tree.rglob("*")} == {os.geteuid()}


def test_a_first_run_does_not_depend_on_the_umask(cold: Packaged) -> None:
    old = os.umask(0o777)
    try:
        cold.run("--version").expect(0)
    finally:
        os.umask(old)
    assert differences(cold.tree) == []
    cold.run("--version").expect(0)


def test_twenty_at_once_on_an_empty_cache_make_one_tree(cold: Packaged) -> None:
    with ThreadPoolExecutor(TOGETHER) as threads:
        found = list(threads.map(lambda _: cold.run("--version"), range(TOGETHER)))
    assert {(ran.code, ran.stdout, ran.stderr) for ran in found} == {(0, found[0].stdout, "")}
    assert found[0].stdout.startswith("batchctl ")
    assert trees(cold.cache) == [cold.tree.name]
    assert differences(cold.tree) == []


def test_of_twenty_at_once_ten_are_killed(cold: Packaged) -> None:
    began = time.monotonic()
    running = [cold.start("--version") for _ in range(TOGETHER)]
    time.sleep(0.15)  # the moment of the kills, not a wait for anything
    for process in running[::2]:
        process.kill()
    with ThreadPoolExecutor(TOGETHER) as threads:
        found = list(threads.map(lambda process: finish(process, began=began), running))
    assert {ran.code for ran in found[::2]} <= {-signal.SIGKILL, 0}
    assert {ran.code for ran in found[1::2]} == {0}
    assert trees(cold.cache) == [cold.tree.name]
    assert differences(cold.tree) == []


def span_of_a_first_run(cold: Packaged) -> float:
    found = cold.run("--version").expect(0).seconds
    shutil.rmtree(cold.cache)
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200 if FULL else 240)
def test_kill_9_at_random_moments_of_first_runs(cold: Packaged) -> None:
    dice = random.Random(5)
    span = min(span_of_a_first_run(cold) for _ in range(3))
    halves = 0
    for number in range(count(short=12, full=50)):
        began = time.monotonic()
        process = cold.start("--version")
        time.sleep(dice.uniform(0, span))  # the moment of the kill
        process.kill()
        killed = finish(process, began=began)
        assert killed.code in (-signal.SIGKILL, 0), killed
        left = trees(cold.cache)
        halves += any(name.startswith(".tmp-") for name in left)
        assert len(left) <= 1, f"kill {number}: {left}"
        if cold.tree.name in left:
            assert differences(cold.tree) == [], f"kill {number}: a tree that is not whole"
        after = cold.run("--version")
        assert (after.code, after.stderr) == (0, ""), f"kill {number}: {after}"
        assert trees(cold.cache) == [cold.tree.name], f"kill {number}"
        assert differences(cold.tree) == [], f"kill {number}"
        shutil.rmtree(cold.cache)
    assert halves > 0, "no kill fell into the unpacking"


def test_kills_in_a_row_leave_one_half_tree_at_most(cold: Packaged) -> None:
    span = span_of_a_first_run(cold)
    for _ in range(4):
        began = time.monotonic()
        process = cold.start("--version")
        time.sleep(span / 2)  # the moment of the kill
        process.kill()
        finish(process, began=began)
        assert len(trees(cold.cache)) <= 1
    cold.run("--version").expect(0)
    assert trees(cold.cache) == [cold.tree.name]


def test_half_trees_of_others_are_swept_and_what_is_not_ours_stays(cold: Packaged) -> None:
    cold.cache.mkdir(mode=0o700)
    half = cold.cache / ".tmp-4711-0123456789abcdef"
    (half / "_internal").mkdir(parents=True)
    (half / "_internal" / "libsomething.so").write_bytes(b"half")
    (cold.cache / "notes.txt").write_text("the user's own")
    cold.run("--version").expect(0)
    assert not half.exists()
    assert (cold.cache / "notes.txt").read_text() == "the user's own"


def aged(root: Path, *, days: float) -> Path:
    """A tree of another build, unused for so long."""
    manifest = f"batchctl-tree 1 0.0.1\nf 0755 1 {blake(b'x').hex()} batchctl\n"
    tree = root / f"0.0.1-{blake(manifest.encode()).hex()[:16]}"
    tree.mkdir(parents=True)
    (tree / "MANIFEST").write_text(manifest)
    (tree / "batchctl").write_text("x")
    then = time.time() - days * 86_400
    for path in (tree / "MANIFEST", tree):
        os.utime(path, (then, then))
    return tree


@pytest.mark.parametrize(
    ("days", "stays"),
    [pytest.param(15, False, id="unused for 15 days"), pytest.param(13, True, id="unused for 13 days")],
)
def test_trees_of_other_builds_are_swept_after_a_fortnight(cold: Packaged, days: float, stays: bool) -> None:
    cold.cache.mkdir(mode=0o700)
    old = aged(cold.cache, days=days)
    cold.run("--version").expect(0)
    assert old.exists() is stays


def test_a_tree_in_use_is_never_swept(cold: Packaged) -> None:
    cold.cache.mkdir(mode=0o700)
    old = aged(cold.cache, days=100)
    holder = os.open(old, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_SH)
        cold.run("--version").expect(0)
        assert old.exists()
    finally:
        os.close(holder)
