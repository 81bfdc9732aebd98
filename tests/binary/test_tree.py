"""What is inside works: every bundled library is exercised, every module of the standard library imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.binary.library_cases import LIBRARIES
from tests.binary.packaged import Packaged
from tests.binary.scoring import Scoring
from tests.binary.standard_cases import STANDARD

CASES = {**LIBRARIES, **STANDARD}
EXECUTES = """
import os
import tempfile
import traceback


def run(mini_batch):
    return [one(path) for path in mini_batch]


def one(path):
    with open(path) as file:
        code = file.read()
    with tempfile.TemporaryDirectory() as folder:
        try:
            exec(compile(code, path, "exec"), {"__name__": "case", "folder": folder})
        except BaseException:
            return {"case": os.path.basename(path), "trouble": traceback.format_exc()}
    return {"case": os.path.basename(path), "trouble": ""}
"""
# Left out on purpose; docs/executable.md says why.
LEFT_OUT = {
    *("tkinter", "_tkinter", "turtle", "turtledemo", "idlelib", "test", "lib2to3", "nis", "ossaudiodev", "readline"),
    *(
        "antigravity",
        "this",
        "msilib",
        "nt",
        "winreg",
        "winsound",
        "_winapi",
        "_msi",
        "_overlapped",
        "_scproxy",
        "_wmi",
    ),
    *("__hello__", "__phello__", "_xxsubinterpreters", "_xxinterpchannels", "ensurepip"),
}
# Other platforms' parts of packages.
ELSEWHERE = ("ctypes.macholib", "distutils._msvccompiler")
# Names of this interpreter's standard library that import here: the reference.
SWEEP = """
import importlib, json, sys
wanted = json.loads(sys.stdin.read())
found = {}
for name in wanted:
    try:
        importlib.import_module(name)
    except BaseException as error:
        found[name] = "%s: %s" % (type(error).__name__, error)
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
"""


@pytest.fixture(scope="module")
def answers(warm: Packaged, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every case's traceback, "" where there is none; a worker that dies takes only its own case with it."""
    scoring = Scoring(warm, tmp_path_factory.mktemp("inside") / "job")
    scoring.script(EXECUTES)
    scoring.items({name.replace(" ", "-"): dedent(code) for name, code in CASES.items()})
    ran = scoring.run("--mini-batch-size", "1", "--max-retries", "0", "--timeout", "60s", limit=300)
    ran.expect(0)
    rows = {row["case"]: row["trouble"] for row in scoring.rows()}
    return {name: rows.get(name.replace(" ", "-"), f"no row: {ran}") for name in CASES}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES)
def test_inside(answers: dict[str, str], case: str) -> None:
    assert answers[case] == ""


def test_a_case_that_fails_is_seen(scoring: Scoring) -> None:
    scoring.script(EXECUTES)
    scoring.items({"bad": "import nothing_of_that_name"})
    scoring.run().expect(0)
    assert "nothing_of_that_name" in scoring.rows()[0]["trouble"]


def standard_modules() -> list[str]:
    """Dotted names below this interpreter's standard library, by its files; platform and test parts left out."""
    import sysconfig

    home = Path(sysconfig.get_path("stdlib"))
    found = set(sys.builtin_module_names) | set(sys.stdlib_module_names)
    for path in home.rglob("*.py"):
        parts = path.relative_to(home).with_suffix("").parts
        if parts[0] in sys.stdlib_module_names:
            found.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return sorted(
        name
        for name in found
        if name.partition(".")[0] not in LEFT_OUT
        and not name.startswith(("_test", "_xxtest", "xx", "_ctypes_test", *ELSEWHERE))
        and not {"test", "tests", "__main__", "_bundled"} & set(name.split("."))
    )


@pytest.mark.slow
def test_every_module_of_the_standard_library_imports(scoring: Scoring) -> None:
    inside = scoring.packaged.run("self", "info", "--json").expect(0)
    version = ".".join(map(str, sys.version_info[:2]))
    if f'"{version}.' not in inside.stdout:
        pytest.skip(f"the file holds another minor version than this {version}")
    wanted = standard_modules()
    assert len(wanted) > 600
    here = _missing_here(wanted, answer=scoring.folder / "missing.json")
    scoring.items({"wanted": json.dumps([name for name in wanted if name not in here])})
    scoring.script("""
        import importlib, json

        def run(mini_batch):
            rows = []
            for name in json.load(open(mini_batch[0])):
                try:
                    importlib.import_module(name)
                except BaseException as error:
                    rows.append("%s: %s: %s" % (name, type(error).__name__, error))
            return [{"lacking": rows}]
    """)
    scoring.run().expect(0)
    assert scoring.rows() == [{"lacking": []}]


def _missing_here(wanted: list[str], *, answer: Path) -> Any:
    """Names that this very interpreter cannot import either (another platform's, not built)."""
    subprocess.run(
        [sys.executable, "-I", "-c", SWEEP, str(answer)],
        input=json.dumps(wanted),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return json.loads(answer.read_text(encoding="utf-8"))


def test_modules_left_out_are_left_out(scoring: Scoring) -> None:
    """readline is linked with a library under the GPL; the rest is dead weight."""
    lacking = scoring.ask("""
        import importlib.util
        def answer():
            names = ["readline", "tkinter", "idlelib", "lib2to3", "pyarrow.flight", "pyarrow.tests", "pandas.tests"]
            return [name for name in names if importlib.util.find_spec(name) is None]
    """)
    assert lacking == [
        *("readline", "tkinter", "idlelib", "lib2to3", "pyarrow.flight", "pyarrow.tests", "pandas.tests"),
    ]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(scoring: Scoring, method: str) -> None:
    (scoring.folder / "helper.py").write_text("def double(x):\n    return 2 * x\n", encoding="utf-8")
    found = scoring.ask(f"""
        import multiprocessing
        import helper

        def answer():
            context = multiprocessing.get_context("{method}")
            with context.Pool(2) as pool:
                mapped = pool.map(helper.double, [1, 2, 3])
            queue = context.Queue()
            child = context.Process(target=queue.put, args=("said",))
            child.start()
            said = queue.get(timeout=60)
            child.join(60)
            return [mapped, said, child.exitcode]
    """)
    assert found == [[2, 4, 6], "said", 0]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_process_pools_of_concurrent_futures(scoring: Scoring, method: str) -> None:
    found = scoring.ask(f"""
        import concurrent.futures, math, multiprocessing

        def answer():
            context = multiprocessing.get_context("{method}")
            with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
                return list(pool.map(math.sqrt, [1, 4, 9]))
    """)
    assert found == [1, 2, 3]


def test_shared_memory_and_managers(scoring: Scoring) -> None:
    found = scoring.ask("""
        import multiprocessing
        from multiprocessing import shared_memory

        def answer():
            block = shared_memory.SharedMemory(create=True, size=16)
            block.buf[0] = 7
            again = shared_memory.SharedMemory(block.name)
            value = again.buf[0]
            again.close()
            block.close()
            block.unlink()
            with multiprocessing.Manager() as manager:
                shared = manager.dict(a=1)
                return [value, dict(shared)]
    """)
    assert found == [7, {"a": 1}]


def test_the_scripts_own_source_can_be_read(scoring: Scoring) -> None:
    found = scoring.ask("""
        import inspect, linecache, sys

        def answer():
            return [inspect.getsource(answer), inspect.getsourcefile(answer), inspect.getmodule(answer) is not None]
    """)
    source, file, module = found
    assert source.startswith("def answer():")
    assert file == str(scoring.folder / "score.py")
    assert module is True


def test_a_traceback_shows_the_scripts_lines(scoring: Scoring) -> None:
    scoring.script("def run(mini_batch):\n    raise ValueError('the very reason')  # a mark\n")
    scoring.items({"one.txt": "1"})
    ran = scoring.run("--max-retries", "0").expect(3)
    assert "# a mark" in ran.stderr
    assert 'score.py", line 2' in ran.stderr


def test_a_data_frame_is_an_answer(scoring: Scoring) -> None:
    scoring.script("import pandas as pd\n\ndef run(mini_batch):\n    return pd.DataFrame({'n': [1.5], 't': ['a,b']})\n")
    scoring.items({"one.txt": "1"})
    scoring.packaged.run("run", "score.py", "in", "-o", "out", cwd=scoring.folder).expect(0)
    assert (scoring.folder / "out" / "predictions.csv").read_text() == 'n,t\n1.5,"a,b"\n'
