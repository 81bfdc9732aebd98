"""Acceptance 9: what must be quick imports nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from batchctl.engine.guest_zip import guest_zip

ROOT = Path(__file__).parents[3]
HEAVY = {"pandas", "pyarrow", "numpy", "rich", "yaml", "tomli", "tomllib", "psutil", "pynvml", "ctypes", "asyncio"}
LISTING = """
import json, sys
sys.path.insert(0, sys.argv.pop(1))
from batchctl.cli.main import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def modules_after(*argv: str) -> set[str]:
    command = [sys.executable, "-c", LISTING, str(ROOT), *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return set(modules)


def run_directory(out: Path) -> Path:
    sys.path.insert(0, str(ROOT / "tests" / "unit" / "report"))
    try:
        from records import PROGRESS
    finally:
        sys.path.pop(0)
    from batchctl.report.status import StatusFile

    folder = out / ".batchctl"
    folder.mkdir(parents=True)
    (folder / "lock").touch()  # nobody's: without one the number of the process decides, which may be anybody's by now
    status = StatusFile(folder / "status.json", name="x", command=("batchctl",), clock=lambda: 0.0, wall=lambda: 0.0)
    status.write(PROGRESS)
    return out


@pytest.mark.parametrize("argv", [("--version",), ("--help",)], ids=" ".join)
def test_version_and_help_import_nothing_heavy(argv: tuple[str, ...]) -> None:
    modules = modules_after(*argv)
    assert not modules & HEAVY
    rooms = {name for name in modules if name.startswith("batchctl.") and name.count(".") == 1}
    assert rooms <= {"batchctl.cli", "batchctl.errors", "batchctl.report"}


@pytest.mark.parametrize("flags", [(), ("--json",), ("--watch",)], ids=" ".join)
def test_status_imports_nothing_heavy(tmp_path: Path, flags: tuple[str, ...]) -> None:
    modules = modules_after("status", str(run_directory(tmp_path / "out")), *flags)
    assert not modules & HEAVY
    assert not any(name.startswith(("batchctl.spec", "batchctl.run", "batchctl.engine")) for name in modules)


def small_run(folder: Path) -> list[str]:
    """What to type for a run of three files."""
    (folder / "in").mkdir()
    for name in "abc":
        (folder / "in" / name).touch()
    (folder / "score.py").write_text("def run(mini_batch):\n    return list(mini_batch)\n", encoding="utf-8")
    return ["run", str(folder / "score.py"), str(folder / "in"), "-o", str(folder / "out"), "-q"]


def test_a_run_imports_nothing_that_only_makes_classes(tmp_path: Path) -> None:
    """A dataclass costs every start 0.4 ms, a NamedTuple 0.07; the module itself, with inspect, 6."""
    modules = modules_after(*small_run(tmp_path), "--workers", "1")
    assert not modules & {"dataclasses", "inspect", "ast", "pandas", "pyarrow", "numpy", "rich", "yaml", "asyncio"}
    assert not modules & {"locale", "batchctl.run.resume", "batchctl.run.drift"}
    if "batchctl.store.early" not in modules:  # it took less than 0.2 s
        assert not modules & {"_hashlib", "hmac"}


STARTED = """
import json, sys
sys.path.insert(0, sys.argv.pop(1))
from pathlib import Path
from batchctl import processes
from batchctl.cli.main import main
from batchctl.engine import guest_zip
guest_zip.guest_zip = Path(sys.argv.pop(1)).read_bytes  # as it is once it has been kept
spawn, found = processes.spawn, []

def noting(*given, **named):
    found.append(sorted(sys.modules))
    return spawn(*given, **named)

processes.spawn = noting
code = main(sys.argv[1:])
print(json.dumps([code, found[0]]), file=sys.stderr)
"""


def test_the_interpreter_is_started_before_what_it_need_not_wait_for(tmp_path: Path) -> None:
    """All that is loaded until then delays every run; what is loaded later is loaded while the interpreter starts."""
    kept = tmp_path / "guest.pyz"
    kept.write_bytes(guest_zip())
    command = [sys.executable, "-c", STARTED, str(ROOT), str(kept), *small_run(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    assert "batchctl.engine.fork_server" in modules
    assert not set(modules) & {"threading", "queue", "socket", "selectors", "ctypes", "shutil", "tempfile", "hashlib"}
    assert not set(modules) & {"batchctl.engine.pool", "batchctl.run.begin", "batchctl.store.commit"}


LOADED = """
import sys

def init():
    global loaded
    loaded = " ".join(sorted(sys.modules))

def run(mini_batch):
    return [loaded for _ in mini_batch]
"""


def test_a_worker_of_a_simple_script_imports_nothing_that_it_can_do_without(tmp_path: Path) -> None:
    argv = small_run(tmp_path)
    (tmp_path / "score.py").write_text(LOADED, encoding="utf-8")
    modules_after(*argv, "--workers", "1")
    loaded = set((tmp_path / "out" / "predictions.csv").read_text(encoding="utf-8").split())
    assert "_batchctl_guest.rows" in loaded
    assert not loaded & {"inspect", "tempfile", "shutil", "datetime", "ast", "random", "csv", "typing", "socket"}


THREADS = """
import json, sys, threading
sys.path.insert(0, sys.argv.pop(1))
from batchctl.cli.main import main
found = {}

class Finder:
    def find_spec(self, name, path=None, target=None):
        found[name] = found.get(name, True) and threading.current_thread() is threading.main_thread()

sys.meta_path.insert(0, Finder())
begun = []
from batchctl.store import early
made = early.EarlyFinish
early.EarlyFinish = lambda *given, **named: begun.append(made(*given, **named)) or begun[-1]
found.clear()
code = main(sys.argv[1:])
print(json.dumps([code, sum(one._found is not None for one in begun), found]), file=sys.stderr)
"""


WIDE = """
import os, time
import pandas

def run(mini_batch):
    first = mini_batch[0].endswith("a")
    until = time.monotonic() + 20
    while mini_batch[0].endswith("k") and not os.path.exists(TABLE) and time.monotonic() < until:
        time.sleep(0.005)
    note, tags = (None, [[None]]) if first else ("a text", [["t"]])
    return pandas.DataFrame({"text": ["x" * (2 << 20)], "note": [note], "tags": tags})
"""


@pytest.mark.parametrize("wide", [False, True], ids=["at the end", "begun early"])
def test_a_run_imports_on_its_main_thread_alone(tmp_path: Path, wide: bool) -> None:
    """While pyarrow makes its MapScalar, `isinstance("text", Mapping)` on another thread is true, and stays so."""
    command = [sys.executable, "-c", THREADS, str(ROOT), *small_run(tmp_path), "--output-format", "parquet"]
    if wide:
        table = str(tmp_path / "out" / "predictions.parquet.sorting")
        (tmp_path / "score.py").write_text(f"TABLE = {table!r}\n{WIDE}", encoding="utf-8")
        for name in "defghijk":
            (tmp_path / "in" / name).touch()
        command += ["--mini-batch-size", "1", "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, begun, found = json.loads(done.stderr.splitlines()[-1])
    assert (code, begun) == (0, int(wide)), done.stderr
    assert "pyarrow.parquet" in found
    assert all(found.values()), [name for name, alone in found.items() if not alone]


def test_version_imports_little() -> None:
    """0.2 to 1 ms each: it is to take 80 ms beyond the interpreter at most."""
    bare = subprocess.run(
        [sys.executable, "-c", "import json, sys; print(json.dumps([*sys.modules]))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(modules_after("--version") - set(json.loads(bare.stdout))) <= 60
