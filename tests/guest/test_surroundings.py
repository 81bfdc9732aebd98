"""What the worker itself adds to a script's surroundings: EntryScript of Azure's driver, --output, mlflow's folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guest_driver import Server

from batchctl.guest import wire

RUN = "def run(mini_batch): return mini_batch\n"


def seen(server: Server, expression: str, *, imports: str = "", **changes: Any) -> Any:
    """The value of an expression evaluated in run(), through JSON."""
    script = f"import json, os, sys\n{imports}\ndef run(mini_batch):\n    return [json.dumps({expression})]\n"
    return json.loads(server.worker(script, **changes).one())


def home(server: Server) -> Path:
    return server.root / "stage" / f"w{server.workers[-1].incarnation}"


def test_entry_script(server: Server) -> None:
    server.script = server.code / "sub" / "score.py"
    server.script.parent.mkdir()
    names = ("log_dir", "output_dir", "working_dir", "dir", "agent_name")
    expression = f"[getattr(EntryScript(), name) for name in {names!r}] + [os.path.isdir(EntryScript().log_dir)]"
    imports = "from azureml_user.parallel_run import EntryScript"
    found = seen(server, expression, imports=imports, fork={"slot": 7})
    folder = home(server)
    expected = [server.root / "logs" / "user", folder / "out", folder / "cwd", server.code / "sub"]
    assert found == [*map(str, expected), "process007", True]


def test_entry_script_is_one_object_and_logs(server: Server) -> None:
    script = """
import azureml_user.parallel_run as module
from azureml_user.parallel_run import EntryScript
first = EntryScript()
def init():
    assert EntryScript() is first is module.EntryScript()
    assert EntryScript.__module__ == "azureml_user.parallel_run"
    EntryScript().logger.info("told through EntryScript")
def run(b): return b
"""
    assert b"|INFO|" in server.worker(script).log(b"told through EntryScript\n")


def test_nothing_is_made_before_a_script_imports_it(server: Server) -> None:
    expression = "[name for name in sys.modules if name.startswith('azureml')] + [os.path.exists(%r)]"
    assert seen(server, expression % str(server.root / "logs")) == [False]


@pytest.mark.parametrize("real", ["azureml_user/__init__.py", "azureml_user/parallel_run.py"])
def test_a_real_package_comes_first(server: Server, real: str) -> None:
    """The second is a namespace package; the first lacks parallel_run, and ours does not fill the gap."""
    path = server.code / real
    path.parent.mkdir()
    path.write_text("EntryScript = 'real'\n")
    if path.name == "parallel_run.py":
        assert seen(server, "EntryScript", imports="from azureml_user.parallel_run import EntryScript") == "real"
    else:
        server.job("from azureml_user.parallel_run import EntryScript\n" + RUN)
        failed = server.fork().expect(wire.READY, wire.INIT_FAILED)
        assert failed.kind == wire.INIT_FAILED
        assert failed.json()["error"] == "ModuleNotFoundError"


def test_other_names_stay_unknown(server: Server) -> None:
    imports = """
import importlib.util
def spec(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False
"""
    names = ("azureml_user", "azureml_user.parallel_run", "azureml_user.other", "azureml", "entry_script", "guest")
    found = seen(server, f"[spec(name) for name in {names!r}]", imports=imports)
    assert found == [True, True, False, False, False, False]


def test_it_is_not_missing(server: Server) -> None:
    server.script.write_text("from azureml_user.parallel_run import EntryScript\nimport azureml.core\n" + RUN)
    assert server.facts(server.script, server.code)["missing"] == ["azureml"]


def test_arguments_may_name_the_workers_own_folder(server: Server) -> None:
    found = seen(server, "sys.argv", argv=["--output", "${{outputs}}", "--file=${{outputs}}/x", "--mine"])
    out = home(server) / "out"
    assert found == [str(server.script), "--output", str(out), f"--file={out}/x", "--mine"]


@pytest.fixture
def with_mlflow(python: str, pyz: Path, tmp_path: Path) -> Iterator[Server]:
    """A server in whose interpreter an mlflow is installed that nobody may import."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mlflow.py").write_text("raise AssertionError('imported')\n")
    found = Server(python, pyz, environment={"PYTHONPATH": str(tmp_path / "site")})
    yield found.enter(tmp_path)
    found.close()


def test_mlflow_records_below_the_run(with_mlflow: Server) -> None:
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE")
    found = seen(with_mlflow, f"[os.environ[name] for name in {names!r}]", mlruns="/a b/mlrüns", fork={"slot": 3})
    assert found == ["file:///a%20b/mlr%C3%BCns/worker-003", "true"]


def test_mlflow_that_is_told_where_to_record_is_left_alone(with_mlflow: Server) -> None:
    env = {"MLFLOW_TRACKING_URI": "https://tracking.example"}
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE")
    assert seen(with_mlflow, f"[os.environ.get(name) for name in {names!r}]", env=env) == [*env.values(), None]


def test_without_mlflow_nothing_is_set(server: Server) -> None:
    assert seen(server, "os.environ.get('MLFLOW_TRACKING_URI')") is None


def test_a_folder_called_mlflow_is_no_mlflow(python: str, pyz: Path, tmp_path: Path) -> None:
    (tmp_path / "site" / "mlflow").mkdir(parents=True)
    (tmp_path / "site" / "mlflow" / "model.bin").touch()
    server = Server(python, pyz, environment={"PYTHONPATH": str(tmp_path / "site")}).enter(tmp_path)
    try:
        assert seen(server, "os.environ.get('MLFLOW_TRACKING_URI')") is None
    finally:
        server.close()
