"""The manifest: read strictly, and every way in which a tree can differ from it is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from batchctl.errors import ExecutableDamagedError
from batchctl.executable.manifest import Entry, damages, parse_manifest, read_manifest
from tests.unit.executable.pretend import blake, write_manifest

A, B = "a" * 64, "b" * 64
GOOD = f"batchctl-tree 1 0.1.0\nf 0755 12 {A} batchctl\nf 0644 0 {B} lib/a+b@c=1.so\nl ../batchctl lib/z\n".encode()


def test_a_manifest_is_read() -> None:
    found = parse_manifest(GOOD, where="MANIFEST")
    assert found.entries == (
        Entry("batchctl", mode=0o755, size=12, digest=A),
        Entry("lib/a+b@c=1.so", mode=0o644, size=0, digest=B),
        Entry("lib/z", target="../batchctl"),
    )
    assert (found.version, found.size, found.digest) == ("0.1.0", 12, blake(GOOD).hex())
    assert found.build_id == f"0.1.0-{blake(GOOD).hex()[:16]}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b"tree 1", b"tree 2", id="another format"),
        pytest.param(b"0.1.0\n", b"0.1.0", id="two lines in one"),
        pytest.param(b"0755", b"0777", id="a mode that is none of ours"),
        pytest.param(b" 12 ", b" 012 ", id="a size with a leading zero"),
        pytest.param(b" 12 ", b" -1 ", id="a negative size"),
        pytest.param(b"aaaa ", b"aaa ", id="a short digest"),
        pytest.param(b"aaaa ", b"aaaA ", id="a digest in capitals"),
        pytest.param(b" batchctl\n", b" /batchctl\n", id="an absolute path"),
        pytest.param(b" batchctl\n", b" ../batchctl\n", id="a path that leaves"),
        pytest.param(b" batchctl\n", b" a//b\n", id="an empty part"),
        pytest.param(b" batchctl\n", b" bat chctl\n", id="a blank in a path"),
        pytest.param(b" batchctl\n", b" bat\xffchctl\n", id="a byte that is not ASCII"),
        pytest.param(b" batchctl\n", b" lib/a+b@c=1.so\n", id="the same path twice"),
        pytest.param(b" batchctl\n", b" zzz\n", id="not sorted"),
        pytest.param(b"lib/z\n", b"lib/z", id="cut short"),
        pytest.param(b"\nl ", b"\nx ", id="a line of another kind"),
    ],
)
def test_anything_else_is_damage(old: bytes, new: bytes) -> None:
    assert old in GOOD
    with pytest.raises(ExecutableDamagedError) as refused:
        parse_manifest(GOOD.replace(old, new), where="T/MANIFEST")
    assert refused.value.where.startswith("T/MANIFEST")


def test_a_tree_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(ExecutableDamagedError, match="No such file"):
        read_manifest(tmp_path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "lib" / "deep").mkdir(parents=True)
    (tmp_path / "batchctl").write_bytes(b"program")
    (tmp_path / "batchctl").chmod(0o755)
    (tmp_path / "lib" / "deep" / "data").write_bytes(b"some data")
    (tmp_path / "lib" / "link").symlink_to("deep/data")
    write_manifest(tmp_path)
    return tmp_path


def same_size(path: Path) -> None:
    path.write_bytes(b"some dat4")


# name: (what is done to lib/deep/data, what is said of it)
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (Path.unlink, "no such file or directory"),
    "one byte flipped": (same_size, "has other content"),
    "longer": (lambda path: path.write_bytes(b"some data!"), "has 10 bytes, not 9"),
    "empty": (lambda path: path.write_bytes(b""), "has 0 bytes, not 9"),
    "executable": (lambda path: path.chmod(0o755), "has mode 0755, not 0644"),
    "writable for all": (lambda path: path.chmod(0o666), "has mode 0666, not 0644"),
    "a link": (lambda path: (path.unlink(), path.symlink_to("/dev/null")), "is not a file"),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "is not a file"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is not a file"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_damaged_file_is_named(tree: Path, case: str) -> None:
    damage, said = BROKEN[case]
    path = tree / "lib" / "deep" / "data"
    damage(path)
    assert list(damages(tree, read_manifest(tree))) == [f"{path}: {said}"]


def test_links_and_strangers_are_named(tree: Path) -> None:
    assert list(damages(tree, read_manifest(tree))) == []
    link = tree / "lib" / "link"
    link.unlink()
    link.symlink_to("elsewhere")
    (tree / "lib" / "extra.pyc").touch()
    (tree / "abroad").symlink_to("/usr")
    assert list(damages(tree, read_manifest(tree))) == [
        f"{link}: points to elsewhere, not to deep/data",
        f"{tree / 'abroad'}: is not part of it",
        f"{tree / 'lib' / 'extra.pyc'}: is not part of it",
    ]
    link.unlink()
    link.write_text("")
    assert f"{link}: is not a symbolic link" in list(damages(tree, read_manifest(tree)))
