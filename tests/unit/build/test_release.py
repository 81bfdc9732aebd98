"""build/release/: what a root is made anew for, what goes into it, and what is said where it cannot be made."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.build.scene import BUILD, REPOSITORY

SCRIPT = BUILD / "release/release.py"
TELLS = """
import os, sys
sys.path.insert(0, sys.argv[1])
import release, root, wheels
"""


def ask(code: str, *argv: str | Path, env: dict[str, str] | None = None) -> str:
    """What this code prints, with the three scripts imported."""
    words = [sys.executable, "-B", "-c", TELLS + code, str(SCRIPT.parent), *map(str, argv)]
    return subprocess.run(
        words, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=True
    ).stdout.strip()


def key(**env: str) -> str:
    return ask("print(root.Options.read(os.environ).key)", env={"PGO": "", **env})


def test_another_compilation_is_another_root_and_another_mirror_is_not() -> None:
    plain = key()
    assert re.fullmatch(r"[0-9a-f]{64}", plain)
    assert key(PGO="0") == plain
    assert key(PGO="1") != plain
    assert key(RELEASE_MIRROR="http://mirror.invalid/debian/") == plain


def test_mirrors_come_from_the_environment() -> None:
    code = "found = root.Options.read(os.environ); print(found.mirror, found.security_mirror)"
    assert ask(code, env={"RELEASE_MIRROR": "http://m.invalid/d/"}) == "http://m.invalid/d http://m.invalid/d-security"
    named = {"RELEASE_MIRROR": "http://m.invalid/d", "RELEASE_SECURITY_MIRROR": "http://s.invalid/x/"}
    assert ask(code, env=named) == "http://m.invalid/d http://s.invalid/x"


@pytest.mark.parametrize(
    ("stamp", "ready"),
    [
        pytest.param(None, "False", id="none"),
        pytest.param("", "False", id="cut off"),
        pytest.param("0" * 64, "False", id="of other inputs"),
        pytest.param("its own", "True", id="its own"),
    ],
)
def test_a_root_is_used_again_by_its_stamp(tmp_path: Path, stamp: str | None, ready: str) -> None:
    if stamp is not None:
        (tmp_path / "stamp").write_text(key() if stamp == "its own" else stamp)
    code = "from pathlib import Path; print(root.ready(Path(sys.argv[2]), root.Options.read(os.environ)))"
    assert ask(code, tmp_path, env={"PGO": ""}) == ready


def test_the_sources_are_copied_without_what_lies_about(tmp_path: Path) -> None:
    target = tmp_path / "sources"
    target.mkdir()
    (target / "stale").write_text("of an earlier build")
    ask("from pathlib import Path; release.copy_sources(Path(sys.argv[2]))", target)
    found = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert {"batchctl/__init__.py", "build/make.py", "build/launcher/Makefile", "pyproject.toml", "LICENSE"} <= found
    assert {lock.name for lock in REPOSITORY.glob("requirements*.lock")} <= found
    tops = {name.partition("/")[0] for name in found}
    assert tops.isdisjoint({"stale", "tests", "docs", ".git", ".venv", "dist"})
    assert [name for name in found if "__pycache__" in name or name.endswith(".pyc")] == []


def test_everything_that_the_machine_lacks_is_named_at_once(tmp_path: Path) -> None:
    code = (
        "root.PATH = ''\n"
        "try:\n    root.need(root.Options.read(os.environ))\n"
        "except root.ReleaseError as error:\n    print(error)"
    )
    said = ask(code, env={"PATH": str(tmp_path), "RELEASE_KEYRING": str(tmp_path / "none.gpg")})
    for word in ("apt-get install debootstrap", "apt-get install util-linux", "none.gpg", "RELEASE_KEYRING"):
        assert word in said


def test_the_command_fails_in_words(tmp_path: Path) -> None:
    words = [sys.executable, "-B", str(SCRIPT), "--place", str(tmp_path / "place"), "--out", str(tmp_path / "out")]
    env = {**os.environ, "RELEASE_KEYRING": str(tmp_path / "none.gpg")}
    ran = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert (ran.returncode, (tmp_path / "out").exists()) == (1, False)
    assert ran.stderr.startswith("release: this machine lacks\n")


def test_wheels_are_asked_for_as_the_root_takes_them() -> None:
    said = ask("print(*wheels._target())").split()
    tags = [word.partition("=")[2].rpartition("_x86_64")[0] for word in said if word.startswith("--platform=")]
    if not any(tags):
        pytest.skip("another architecture")
    assert {"manylinux_2_31", "manylinux_2_28", "manylinux2014", "linux"} <= set(tags)
    assert "manylinux_2_32" not in tags
    assert {"--python-version=3.11", "--abi=cp311", "--abi=abi3", "--abi=none"} <= set(said)
