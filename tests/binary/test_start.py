"""Later starts: the tree that is there is used as it is, checked, and mended where something is missing."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.binary.packaged import Packaged, differences, trees


def picture(tree: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(path.relative_to(tree)): (path.lstat().st_ino, path.lstat().st_mtime_ns, path.lstat().st_ctime_ns)
        for path in tree.rglob("*")
        if not path.is_dir()
    }


def test_a_warm_start_writes_nothing(warm: Packaged) -> None:
    before = picture(warm.tree)
    warm.run("--version").expect(0)
    assert picture(warm.tree) == before
    assert trees(warm.cache) == [warm.tree.name]


def test_the_file_runs_by_every_kind_of_path(warm: Packaged, tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    copy = tmp_path / "a b" / "other name"
    shutil.copy2(warm.path, copy)
    (tmp_path / "link").symlink_to(copy)
    said = warm.run("--version").expect(0).stdout
    copied = Packaged(copy, warm.cache, warm.home)
    linked = Packaged(tmp_path / "link", warm.cache, warm.home)
    assert copied.run("--version").expect(0).stdout == said
    assert linked.run("--version").expect(0).stdout == said
    relative = Packaged(Path("other name"), warm.cache, warm.home)
    by_name = relative.run("--version", cwd=copy.parent, env={"PATH": str(copy.parent)})
    assert by_name.expect(0).stdout == said
    copy.unlink()


def unlinked(path: Path) -> None:
    path.unlink()


def shortened(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def made_writable(path: Path) -> None:
    path.chmod(0o666)


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def made_a_link(path: Path) -> None:
    path.rename(path.with_name(path.name + ".real"))
    path.symlink_to(path.name + ".real")


@pytest.mark.parametrize(
    ("harm", "victim"),
    [
        pytest.param(unlinked, "_internal/base_library.zip", id="a file is gone"),
        pytest.param(unlinked, "batchctl", id="the executable is gone"),
        pytest.param(unlinked, "MANIFEST", id="the manifest is gone"),
        pytest.param(shortened, "MANIFEST", id="the manifest is cut short"),
        pytest.param(shortened, "_internal/base_library.zip", id="a file is cut short"),
        pytest.param(made_writable, "_internal/base_library.zip", id="a file may be written by all"),
        pytest.param(made_a_folder, "_internal/base_library.zip", id="a folder in place of a file"),
        pytest.param(made_a_link, "batchctl", id="a link in place of a file"),
    ],
)
def test_a_tree_that_lost_something_is_made_anew(
    warm: Packaged, cold: Packaged, harm: Callable[[Path], None], victim: str
) -> None:
    # Hard links: a copy of the tree that costs nothing. A shortened file must be the copy's own.
    cold.cache.mkdir(mode=0o700)
    shutil.copytree(warm.tree, cold.tree, symlinks=True, copy_function=os.link)
    path = cold.tree / victim
    own = path.read_bytes()
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    path.write_bytes(own)
    path.chmod(mode)
    cold.run("--version").expect(0)
    harm(path)
    cold.run("--version").expect(0)
    assert trees(cold.cache) == [cold.tree.name]
    assert differences(cold.tree) == []


def test_one_byte_of_the_tree_is_found_by_self_verify(warm: Packaged, cold: Packaged) -> None:
    cold.cache.mkdir(mode=0o700)
    shutil.copytree(warm.tree, cold.tree, symlinks=True, copy_function=os.link)
    cold.run("self", "verify").expect(0)
    path = cold.tree / "_internal" / "base_library.zip"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    path.write_bytes(bytes(content))
    path.chmod(mode)
    found = cold.run("self", "verify")
    assert found.code not in (0, 1), found
    assert "base_library.zip" in found.stdout + found.stderr
