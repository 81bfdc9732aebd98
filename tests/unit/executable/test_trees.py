"""Trees in a cache folder: found, known to be in use by their locks, removed without leaving half of one."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchctl.errors import StorageError
from batchctl.executable.manifest import digest_of
from batchctl.executable.trees import Tree, in_use, remove, root_locked, trees_in

HOLD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(fd, fcntl.LOCK_SH if sys.argv[2] == "shared" else fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def manifest(version: str) -> bytes:
    return f"batchctl-tree 1 {version}\n".encode()


FIRST, SECOND = (f"{version}-{digest_of(manifest(version))[:16]}" for version in ("1.0", "2.0"))
HALF = ".tmp-7-0123456789abcdef"


@contextmanager
def held(path: Path, how: str = "shared") -> Iterator[None]:
    """Another process holds the lock of `path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield
        finally:
            process.kill()  # it may still be waiting for the lock


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (FIRST, SECOND, HALF, "somebody's"):
        (tmp_path / name / "lib").mkdir(parents=True)
        (tmp_path / name / "lib" / "file").write_bytes(b"12345")
    for name in (FIRST, SECOND):
        (tmp_path / name / "MANIFEST").write_bytes(manifest(name[:3]))
    (tmp_path / ".lock").touch()
    (tmp_path / "a file").touch()
    (tmp_path / "3.0-link").symlink_to(FIRST)
    return tmp_path


def named(root: Path, name: str) -> Tree:
    return next(tree for tree in trees_in(root) if tree.path.name == name)


def test_what_lies_there(root: Path) -> None:
    assert trees_in(root) == (
        Tree(root / HALF, 5, 1, True),
        Tree(root / FIRST, 25, 2, False),
        Tree(root / SECOND, 25, 2, False),
    )
    assert trees_in(root / "nowhere") == ()


@pytest.mark.parametrize("how", ["shared", "exclusive"])
def test_a_tree_in_use_stays(root: Path, how: str) -> None:
    tree = named(root, FIRST)
    with held(tree.path, how):
        assert in_use(tree.path)
        assert not remove(tree)
        assert (tree.path / "lib" / "file").read_bytes() == b"12345"
    assert not in_use(tree.path)
    assert remove(tree)
    assert sorted(os.listdir(root)) == [".lock", HALF, SECOND, "3.0-link", "a file", "somebody's"]


def test_a_half_tree_goes(root: Path) -> None:
    assert remove(named(root, HALF))
    assert not (root / HALF).exists()


def test_our_own_lock_does_not_count_and_is_kept(root: Path) -> None:
    tree = named(root, FIRST)
    fd = os.open(tree.path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    try:
        assert in_use(tree.path)
        assert not in_use(tree.path, ours=fd)
        assert in_use(tree.path), "our lock must still be there"
        with held(tree.path):
            assert in_use(tree.path, ours=fd)
            assert not remove(tree, ours=fd)
        assert in_use(tree.path)
        assert remove(tree, ours=fd)
        assert not tree.path.exists()
    finally:
        os.close(fd)


def test_a_tree_that_somebody_else_removed_is_removed(root: Path) -> None:
    tree = named(root, HALF)
    assert remove(tree)
    assert remove(tree)


def test_the_root_is_ours_alone_meanwhile(root: Path) -> None:
    other = os.open(root / ".lock", os.O_RDWR)
    with root_locked(root), pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_a_root_that_cannot_be_locked(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError) as refused, root_locked(tmp_path):
        pass
    assert refused.value.where == str(tmp_path)
    assert not (tmp_path / "victim").exists()
