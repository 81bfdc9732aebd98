"""The guest's zip: the same bytes every time, whole in its place, and running under every Python that is here."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import batchctl.guest
from batchctl.engine.guest_zip import guest_zip, make_zip, place_guest, sources
from batchctl.errors import StorageError
from tests.guest.driver import interpreters

FOUND = interpreters()


def test_it_is_deterministic() -> None:
    code = "from batchctl.engine.guest_zip import guest_zip; import sys; sys.stdout.buffer.write(guest_zip())"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Kathmandu"}
        assert subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True).stdout == guest_zip()


def test_it_holds_the_guest_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "guest.pyz").write_bytes(make_zip(sources()))
    with zipfile.ZipFile(tmp_path / "guest.pyz") as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    plain = [name for name in names if name.endswith(".py")]
    assert plain == sorted(plain, key=lambda name: "entry.py" if name == "__main__.py" else name.rpartition("/")[2])
    assert sorted(names) == sorted(plain + [f"{name}c" for name in plain if name != "__main__.py"])
    assert "__main__.py" in names
    assert {name.partition("/")[0] for name in names} == {"__main__.py", "_batchctl_guest"}


def test_this_version_takes_the_byte_code(tmp_path: Path) -> None:
    (tmp_path / "guest.pyz").write_bytes(make_zip(sources()))
    look = "from _batchctl_guest import wire; print(wire.Decoder.feed.__code__)"
    code = f"import sys; sys.path.insert(0, sys.argv[1]); {look}"
    argv = [sys.executable, "-I", "-c", code, str(tmp_path / "guest.pyz")]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert 'file "guest.pyz/_batchctl_guest/wire.py"' in said  # compiled here it would be the path of the zip


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A small guest in place of ours; what is made of it is kept."""
    package = tmp_path / "guest"
    (package / "__pycache__").mkdir(parents=True)
    for name, content in {"__init__.py": "", "entry.py": "import sys", "one.py": "X = 1"}.items():
        (package / name).write_text(content)
    monkeypatch.setattr(batchctl.guest, "__file__", str(package / "__init__.py"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return package


def test_the_zip_made_before_is_kept_until_a_source_changes(monkeypatch: pytest.MonkeyPatch, package: Path) -> None:
    fresh = guest_zip.__wrapped__
    made = fresh()
    (kept,) = (package / "__pycache__").iterdir()
    whole = kept.read_bytes()
    assert whole.endswith(b"\n" + made)
    looks = kept.stat()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert fresh() == made
    assert kept.stat() == looks
    (package / "one.py").write_text("X = 2")
    os.utime(package / "one.py", ns=(1, 1))  # of the same size: told by its time, whatever the clock of files
    assert fresh() == make_zip(sources(), compiled=False)
    assert kept.exists()
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    anew = fresh()
    assert anew != made
    assert kept.read_bytes().endswith(b"\n" + anew)
    assert len(list((package / "__pycache__").iterdir())) == 1


@pytest.mark.parametrize("left", [0, 5, -1], ids=["nothing", "half a line", "all but a byte"])
def test_a_torn_zip_is_made_anew(package: Path, left: int) -> None:
    fresh = guest_zip.__wrapped__
    made = fresh()
    (kept,) = (package / "__pycache__").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:left])
    assert fresh() == made
    assert kept.read_bytes() == whole


# name: what lies at the place before
BEFORE = {
    "nothing": lambda path: None,
    "a torn copy": lambda path: path.write_bytes(guest_zip()[:1000]),
    "a flipped bit": lambda path: path.write_bytes(guest_zip()[:-1] + b"\xff"),
    "an empty file": lambda path: path.touch(),
    "a link to somewhere": lambda path: path.symlink_to("/dev/null"),
    "a torn temporary": lambda path: path.with_name(path.name + ".tmp").write_bytes(b"PK"),
    "a temporary that is a link": lambda path: path.with_name(path.name + ".tmp").symlink_to(path.parent / "victim"),
}


@pytest.mark.parametrize("case", BEFORE)
def test_whatever_lies_there_is_replaced(tmp_path: Path, case: str) -> None:
    path = tmp_path / "guest.pyz"
    BEFORE[case](path)
    place_guest(path)
    assert path.read_bytes() == guest_zip()
    assert not path.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["guest.pyz"]


def test_an_equal_copy_is_left_alone(tmp_path: Path) -> None:
    place_guest(tmp_path / "guest.pyz")
    before = (tmp_path / "guest.pyz").stat()
    place_guest(tmp_path / "guest.pyz")
    assert (tmp_path / "guest.pyz").stat().st_ino == before.st_ino


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as refused:
        place_guest(tmp_path / "absent" / "guest.pyz")
    assert "guest.pyz" in refused.value.where


@pytest.mark.parametrize("python", FOUND.values(), ids=FOUND.keys())
def test_it_runs_under(tmp_path: Path, python: str) -> None:
    place_guest(tmp_path / "guest.pyz")
    ran = subprocess.run([python, "-I", str(tmp_path / "guest.pyz")], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "batchctl starts it" in ran.stderr
