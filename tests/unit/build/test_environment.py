from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import data
import environment
import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param("3 10 1 1 3.10.1", "3.11 or newer", id="too old"),
        pytest.param("3 12 0 1 3.12.1", "no shared library.*apt-get install libpython3.12", id="static"),
        pytest.param("3 12 1 0 3.12.1", "apt-get install python3-venv", id="no venv"),
        pytest.param("3 12 1 1 3.12.1", "", id="good"),
    ],
)
def test_an_interpreter_that_cannot_go_inside_is_refused(tmp_path: Path, answer: str, message: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho {answer}\n")
    python.chmod(0o755)
    if not message:
        environment.check_python(str(python))
        return
    with pytest.raises(environment.Missing, match=message):
        environment.check_python(str(python))


def test_what_an_interpreter_is_asked_makes_sense_to_it() -> None:
    done = subprocess.run([sys.executable, "-c", environment._PROBE], check=True, text=True, stdout=subprocess.PIPE)
    major, minor, shared, venv, *_ = done.stdout.split()
    assert (int(major), int(minor), venv) == (*sys.version_info[:2], "1")
    assert shared == str(int(bool(sysconfig.get_config_var("Py_ENABLE_SHARED"))))


def test_no_interpreter_at_all(tmp_path: Path) -> None:
    with pytest.raises(environment.Missing, match="--python"):
        environment.check_python(str(tmp_path / "python"))


def test_tools_that_are_missing_are_named_as_debian_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(environment.Missing, match="apt-get install binutils gcc make"):
        environment.check_tools()


AS_FROZEN = """
import importlib.resources, sys, zoneinfo
sys._MEIPASS = sys.argv[1]
sys.path[:] = [path for path in sys.path if not path.endswith("site-packages")]
sys.path.insert(0, sys.argv[2])
zoneinfo.reset_tzpath(to=())
print(zoneinfo.ZoneInfo("Asia/Kolkata").key, len(zoneinfo.available_timezones()) > 500)
print(importlib.resources.files("tzdata").joinpath("zones").is_file(), __import__("tzdata").IANA_VERSION != "")
"""


def test_time_zones_are_read_from_the_archive_and_packages_have_metadata(tmp_path: Path) -> None:
    site = Path(sysconfig.get_path("purelib"))
    data.stage(tmp_path / "stage", site=site, lock=ROOT / "requirements.lock")
    folders = [str(tmp_path / "stage" / "data"), str(tmp_path / "stage" / "inside")]
    done = subprocess.run(
        [sys.executable, "-I", "-c", AS_FROZEN, *folders], check=True, text=True, stdout=subprocess.PIPE
    )
    assert done.stdout.split() == ["Asia/Kolkata", "True", "True", "True"]
    names = {path.parent.name.partition("-")[0] for path in (tmp_path / "stage" / "data").glob("*/METADATA")}
    assert {"pandas", "pyarrow", "tomli", "tzdata"} <= names


def test_what_is_staged_is_the_same_each_time(tmp_path: Path) -> None:
    site = Path(sysconfig.get_path("purelib"))
    for name in ("a", "b"):
        data.stage(tmp_path / name, site=site, lock=ROOT / "requirements.lock")
    files = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert files == {path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*") if path.is_file()}
    assert [
        file for file in files if (tmp_path / "a" / file).read_bytes() != (tmp_path / "b" / file).read_bytes()
    ] == []
