from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import gate
import packages
import pytest
import starting
import stdlib
import strip

ROOT = Path(__file__).resolve().parents[3]
HASHED = "c787785866c7b801238d__mypyc"


@pytest.mark.parametrize(
    "name",
    ["tomllib", "logging.handlers", "unittest.mock", "venv", "xml.etree.ElementTree", "sqlite3", "_struct", "zoneinfo"],
)
def test_a_module_of_the_standard_library_is_inside(name: str) -> None:
    assert name in stdlib.modules()


@pytest.mark.parametrize("name", ["readline", "tkinter", "tkinter.ttk", "test.support", "nis", "_testcapi", "pip"])
def test_a_module_is_left_out(name: str) -> None:
    assert name not in stdlib.modules()


def test_every_top_level_name_is_inside_or_left_out_on_purpose() -> None:
    tops = {name.partition(".")[0] for name in stdlib.modules()}
    missing = {name for name in sys.stdlib_module_names - tops if not stdlib.left_out(name)}
    # What is missing is what this interpreter was built without, and what the list names for other systems; the import
    # system's own two modules are in its library under other names.
    there = {name for name in missing if importlib.util.find_spec(name)}
    assert there <= {"_frozen_importlib", "_frozen_importlib_external"}


def installed(site: Path, name: str, version: str, files: list[str]) -> None:
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def test_modules_are_those_that_pip_recorded(tmp_path: Path) -> None:
    installed(
        tmp_path,
        "Py_Thing",
        "1.0",
        [
            *("thing/__init__.py", "thing/part-1.py", "thing/_fast.cpython-311-x86_64-linux-gnu.so", "thing/x.pyi"),
            *(f"{HASHED}.cpython-311-x86_64-linux-gnu.so", "thing/tests/__init__.py", "thing/tests/test_x.py"),
            *("../../../bin/thing.py", "thing/conftest.py", "thing.libs/libz.so", "thing/__main__.py"),
        ],
    )
    lock = tmp_path / "lock"
    lock.write_text("# comment\npy-thing==1.0 \\\n    --hash=sha256:00\n")
    assert packages.modules(lock, tmp_path) == [HASHED, "thing", "thing._fast", "thing.part-1"]


@pytest.mark.parametrize(
    ("have", "complaint"),
    [
        pytest.param({"a": "1"}, [], id="exactly"),
        pytest.param({"a": "1", "pip": "23"}, [], id="pip is there anyway"),
        pytest.param({"a": "2"}, ["a: 2 is installed, 1 is locked"], id="another version"),
        pytest.param({"a": "1", "b": "2"}, ["b: 2 is installed, nothing is locked"], id="one too many"),
        pytest.param({}, ["a: nothing is installed, 1 is locked"], id="missing"),
    ],
)
def test_the_environment_holds_the_lock_and_nothing_else(
    tmp_path: Path, have: dict[str, str], complaint: list[str]
) -> None:
    for name, version in have.items():
        installed(tmp_path, name, version, [])
    (tmp_path / "lock").write_text("a==1 \\\n    --hash=sha256:00\n")
    assert gate.environment(tmp_path / "lock", tmp_path) == complaint


@pytest.mark.parametrize(
    ("path", "stripped"),
    [
        ("_internal/libpython3.11.so.1.0", True),
        ("_internal/python3.11/lib-dynload/math.cpython-311-x86_64-linux-gnu.so", True),
        ("_internal/pyarrow/libarrow.so.2600", True),
        ("_internal/numpy.libs/libscipy_openblas64_-32a4b2a6.so", False),
        ("_internal/numpy/_core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so", False),
        ("_internal/libcrypto.so.3", False),
    ],
)
def test_only_what_survives_it_is_stripped(path: str, stripped: bool) -> None:
    assert strip.wanted(path) is stripped


def test_what_a_start_imports_is_seen() -> None:
    found = starting.modules(ROOT)
    wanted = {"batchctl.cli.cmd_run", "batchctl.run.epoch", "batchctl.store.finish", "argparse", "hashlib"}
    assert wanted <= found
    assert not {"pandas", "pyarrow", "numpy"} & found
