from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

pack = pytest.importorskip("pack", reason="the zstandard module is not here (make venv)", exc_type=ImportError)
import tree as trees  # noqa: E402 - beside the pack that may be missing

LAUNCHER = b"\x7fELF and so on"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    (made / "_internal" / "lib").mkdir(parents=True)
    (made / "batchctl").write_bytes(b"program")
    (made / "batchctl").chmod(0o600)
    (made / "_internal" / "lib" / "x.so").write_bytes(b"x" * 1000)
    (made / "_internal" / "lib" / "x.so").chmod(0o755)
    (made / "_internal" / "lib-2").write_bytes(b"")
    (made / "_internal" / "x.so").symlink_to("lib/x.so")
    return made


@pytest.fixture
def packed(tmp_path: Path, folder: Path) -> Path:
    (tmp_path / "launcher").write_bytes(LAUNCHER)
    pack.pack(tmp_path / "file", launcher=tmp_path / "launcher", tree=folder, version="1.2.3+x", level=3)
    return tmp_path / "file"


def test_the_manifest_is_the_documents(folder: Path) -> None:
    def blake(data: bytes) -> str:
        return hashlib.blake2b(data, digest_size=32).hexdigest()

    assert trees.manifest(trees.entries(folder), "1.2.3").decode() == (
        "batchctl-tree 1 1.2.3\n"
        f"f 0644 0 {blake(b'')} _internal/lib-2\n"
        f"f 0644 1000 {blake(b'x' * 1000)} _internal/lib/x.so\n"
        "l lib/x.so _internal/x.so\n"
        f"f 0755 7 {blake(b'program')} batchctl\n"
    )


def test_the_footer_is_the_documents(packed: Path, folder: Path) -> None:
    data = packed.read_bytes()
    end = data[-256:]
    text = trees.manifest(trees.entries(folder), "1.2.3+x")
    offset, length, unpacked, manifest = struct.unpack_from("<QQQQ", end, 16)
    assert end[:16] == b"BATCHCTL-FOOTER1"
    assert (offset, offset + length + 256, unpacked, manifest) == (14, len(data), len(text) + 1007, len(text))
    assert struct.unpack_from("<II", end, 48) == (4, 0)
    assert end[56:88] == trees.digest(data[14:-256])
    assert end[88:120] == trees.digest(text)
    assert end[120:184].rstrip(b"\0").decode() == f"1.2.3+x-{trees.digest(text).hex()[:16]}"
    assert end[184:216] == trees.digest(LAUNCHER)
    assert end[216:224] == bytes(8)
    assert end[224:] == trees.digest(end[:224])
    assert packed.stat().st_mode & 0o777 == 0o755


def test_what_was_packed_is_read_back(packed: Path) -> None:
    figures, _, files = pack.contents(packed.read_bytes())
    assert files == {"batchctl": b"program", "_internal/lib-2": b"", "_internal/lib/x.so": b"x" * 1000}
    assert figures.entries == 4


def test_the_same_tree_gives_the_same_bytes_whatever_its_modes_and_dates(packed: Path, folder: Path) -> None:
    before = packed.read_bytes()
    (folder / "_internal" / "lib-2").chmod(0o666)
    os.utime(folder / "batchctl", (1, 1))
    pack.pack(packed, launcher=packed.parent / "launcher", tree=folder, version="1.2.3+x", level=3)
    assert packed.read_bytes() == before


@pytest.mark.parametrize("place", [0, 20, -256 - 1, -256, -200, -100, -1])
def test_a_changed_byte_is_noticed(packed: Path, place: int) -> None:
    data = bytearray(packed.read_bytes())
    data[place] ^= 1
    with pytest.raises(ValueError, match=r"digest|damaged"):
        pack.contents(bytes(data))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda tree: (tree / "a b").touch(), id="blank in a name"),
        pytest.param(lambda tree: (tree / "naïve").touch(), id="not ASCII"),
        pytest.param(lambda tree: (tree / "link").symlink_to("/etc/passwd"), id="absolute link"),
        pytest.param(lambda tree: (tree / "_internal" / "link").symlink_to("../../x"), id="link out of the tree"),
        pytest.param(lambda tree: (tree / "folder").symlink_to(".."), id="link to the folder above"),
        pytest.param(lambda tree: os.mkfifo(tree / "pipe"), id="pipe"),
    ],
)
def test_a_tree_that_cannot_be_packed_is_refused(folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(folder)
    with pytest.raises(ValueError, match=r"path of the tree|out of the tree|neither"):
        trees.entries(folder)


@pytest.mark.parametrize("version", ["", "1_0", "1/0", "v" * 47])
def test_a_version_that_names_no_folder_is_refused(version: str) -> None:
    if not version:
        assert trees.build_id(version, b"").startswith("-")
        return
    with pytest.raises(ValueError, match="build id"):
        trees.build_id(version, b"")


def test_settle_gives_modes_and_dates(folder: Path) -> None:
    trees.settle(folder, 86400)
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.rglob("*") if not path.is_symlink()}
    assert modes == {"batchctl": 0o755, "_internal": 0o755, "lib": 0o755, "x.so": 0o644, "lib-2": 0o644}
    assert {path.lstat().st_mtime for path in folder.rglob("*")} == {86400}
