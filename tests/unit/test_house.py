"""The house rules that a machine can check beyond ruff, mypy and import-linter."""

from __future__ import annotations

import ast
import os
import re
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.unit.guest_floor import problems

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "batchctl").rglob("*.py"))
GUEST = sorted((ROOT / "batchctl" / "guest").rglob("*.py"))
CEILING, MEDIAN = 350, 130


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_short_documented_and_annotated(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert lines(path) <= CEILING, "split it along a noun"
    assert ast.get_docstring(tree), "a module says what its caller may rely on"
    assert unannotated(tree) == []


def unannotated(tree: ast.Module) -> list[str]:
    methods = {id(f) for c in ast.walk(tree) if isinstance(c, ast.ClassDef) for f in c.body}
    bare = []
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
        if id(node) in methods and not static:
            given = given[1:]
        given += [a for a in (node.args.vararg, node.args.kwarg) if a]
        if node.returns is None or any(a.annotation is None for a in given):
            bare.append(f"{node.name} (line {node.lineno})")
    return bare


def test_the_median_module_is_small() -> None:
    assert statistics.median(lines(path) for path in MODULES) <= MEDIAN


def test_no_module_hides_a_standard_one_or_is_a_drawer() -> None:
    stems = {name(path): path.stem for path in MODULES}
    hiding = [where for where, stem in stems.items() if stem in sys.stdlib_module_names]
    drawers = [where for where, stem in stems.items() if stem in {"utils", "util", "helpers", "misc", "common"}]
    assert (hiding, drawers) == ([], [])


@pytest.mark.parametrize("folder", ["build", "packaging"])
def test_a_source_folder_does_not_shadow_the_library_of_its_name(folder: str) -> None:
    assert not list((ROOT / folder).rglob("__init__.py"))


def test_every_room_is_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rooms = {name(path.parent).replace("/", ".") for path in MODULES}
    assert set(project["tool"]["setuptools"]["packages"]) == rooms


def test_every_import_rule_says_why() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    after = text.split("[[tool.importlinter.contracts]]\n")[1:]
    assert after
    assert [rule.splitlines()[0] for rule in after if not rule.startswith("# Why: ")] == []


@pytest.mark.parametrize("lock", sorted(ROOT.glob("requirements*.lock")), ids=name)
def test_a_lock_pins_by_hash_and_names_no_index(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    pins = re.findall(r"^[a-z0-9][a-z0-9._-]*==\S+ \\\n(?=    --hash=sha256:[0-9a-f]{64})", text, flags=re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[^#\s]", text, flags=re.MULTILINE)) > 0
    assert not re.search(r"://|^\s*-(i|f)\b|--(extra-)?index-url|--find-links|--trusted-host", text, flags=re.MULTILINE)


def test_the_development_lock_holds_the_runtime_lock() -> None:
    pins = {
        file: set(re.findall(r"^\S+==\S+", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE))
        for file in ("requirements.lock", "requirements-dev.lock")
    }
    assert pins["requirements.lock"] <= pins["requirements-dev.lock"]


@pytest.mark.parametrize("path", GUEST, ids=name)
def test_the_guest_keeps_to_python_3_8(path: Path) -> None:
    assert problems(path.read_text(encoding="utf-8")) == []


# Every way to start a program, or a copy of ourselves, that the standard library has.
STARTS = [
    "import subprocess",
    "from subprocess import run",
    "import asyncio.subprocess",
    "import asyncio\nasyncio.create_subprocess_exec",
    "from asyncio import create_subprocess_shell",
    "import pty",
    "import _posixsubprocess",
    "import multiprocessing.process",
    *(
        f"import os\nos.{name}"
        for name in dir(os)
        if re.fullmatch(r"system|popen|(exec|spawn|fork|posix_spawn)\w*", name)
    ),
    "from os import system",
    "import os as o\no.execv",
]


def lint(code: str, place: str) -> str:
    """What ruff says of `code`, were it in the file `place`."""
    ruff = Path(sys.executable).with_name("ruff")
    command = [
        ruff,
        "check",
        "--no-cache",
        "--output-format=concise",
        "--select=TID251",
        "--stdin-filename",
        place,
        "-",
    ]
    return subprocess.run(command, input=code, capture_output=True, text=True, cwd=ROOT, check=False).stdout


@pytest.mark.skipif(not Path(sys.executable).with_name("ruff").exists(), reason="ruff is not beside this interpreter")
def test_nothing_but_the_one_door_may_start_a_process() -> None:
    assert "import os\nos.posix_spawn" in STARTS
    for place in ("batchctl/node/gpu.py", "batchctl/cli/cmd_run.py", "batchctl/frozen.py", "batchctl/guest/worker.py"):
        assert [code for code in STARTS if "TID251" not in lint(code, place)] == []
    assert "TID251" not in lint("import os\nos.posix_spawn", "batchctl/processes.py")
    assert "TID251" not in lint("import os\nos.fork", "batchctl/guest/limits.py")


def test_the_lint_of_starting_processes_is_switched_off_nowhere_else() -> None:
    ignores = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"][
        "per-file-ignores"
    ]
    exempt = {place for place, codes in ignores.items() if place.startswith("batchctl/") and "TID251" in codes}
    assert exempt == {"batchctl/processes.py", "batchctl/guest/{limits,preload}.py"}
    assert [name(path) for path in MODULES if re.search(r"noqa:.*TID251", path.read_text(encoding="utf-8"))] == []


FUTURE = "from __future__ import annotations\n"


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("match x:\n    case 1: pass", id="match statement"),
        pytest.param("with (open('a') as a, open('b') as b): pass", id="parenthesized with"),
        pytest.param("try: pass\nexcept* OSError: pass", id="except star"),
        pytest.param("@a[0].b\ndef f(): pass", id="relaxed decorator"),
        pytest.param("def f(x: int | None) -> None: pass", id="annotation evaluated"),
        pytest.param(FUTURE + "Maybe = int | None", id="union alias"),
        pytest.param(FUTURE + "isinstance(x, int | str)", id="union in isinstance"),
        pytest.param(FUTURE + "Names = dict[str, int]", id="builtin generic alias"),
        pytest.param(
            FUTURE + "from collections.abc import Callable\nHook = Callable[[], None]", id="abc generic alias"
        ),
        pytest.param("a | {'k': 1}", id="dict or dict"),
        pytest.param("a |= dict(k=1)", id="dict or-equals"),
        pytest.param("'a'.removeprefix('b')", id="removeprefix"),
        pytest.param("'a'.removesuffix('b')", id="removesuffix"),
        pytest.param("import functools\n@functools.cache\ndef f(): pass", id="functools.cache"),
        pytest.param("from functools import cache", id="from functools import cache"),
        pytest.param("import os\nos.pidfd_open(1)", id="pidfd_open unguarded"),
        pytest.param("import traceback\ntraceback.format_exception(e)", id="format_exception, one argument"),
        pytest.param("zip(a, b, strict=True)", id="zip strict"),
        pytest.param("@dataclass(frozen=True, slots=True)\nclass A: pass", id="dataclass slots"),
        pytest.param("import tomllib", id="new module"),
        pytest.param("def f():\n    import pandas", id="third-party import"),
        pytest.param("import batchctl.errors", id="host import"),
        pytest.param("from batchctl import files", id="host import from"),
    ],
)
def test_the_floor_check_refuses(code: str) -> None:
    assert problems(code)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(
            FUTURE + "def f(x: dict[str, int] | None = None) -> list[int]: return []", id="annotations as text"
        ),
        pytest.param("import os\nfd = os.pidfd_open(1) if hasattr(os, 'pidfd_open') else -1", id="pidfd_open guarded"),
        pytest.param("import os\nflags = os.O_RDONLY | os.O_CLOEXEC", id="or of flags"),
        pytest.param(
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from typing import Self", id="types only"
        ),
        pytest.param("with open('a') as a, open('b') as b: pass", id="plain with"),
        pytest.param("from batchctl.guest import wire\nfrom . import wire", id="its own modules"),
        pytest.param("import traceback\ntraceback.format_exception(t, e, b)", id="format_exception, three arguments"),
    ],
)
def test_the_floor_check_accepts(code: str) -> None:
    assert problems(code) == []
