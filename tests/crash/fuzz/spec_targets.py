"""Specs in every dialect: trees of YAML and TOML, values, and whole files up to a resolved job."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from batchctl.errors import SpecError
from batchctl.guest.failure import ContractError
from batchctl.guest.rows import SETTINGS_FILE, to_csv_overrides
from batchctl.spec.fields import SETTINGS
from batchctl.spec.nodes import Node, Tree, scalar
from batchctl.spec.problems import Problem, Wrong
from batchctl.spec.resolve import Overrides, load
from batchctl.spec.text import decoded
from batchctl.spec.toml_nodes import read_toml
from batchctl.spec.yaml_nodes import read_yaml
from tests.crash.fuzz.mutations import mutated_json
from tests.crash.fuzz.target import Target, holds, texts

_AZURE = b"""\
$schema: https://azuremlschemas.azureedge.net/latest/modelBatchDeployment.schema.json
name: digits
endpoint_name: e
type: model
model: {path: model}
code_configuration: {code: code, scoring_script: score.py}
environment: {image: x, conda_file: conda.yml}
resources: {instance_count: 1}
settings:
  mini_batch_size: 10
  max_concurrency_per_instance: 2
  output_action: append_row
  output_file_name: predictions.csv
  retry_settings: {max_retries: 3, timeout: 30}
  error_threshold: -1
  logging_level: info
  environment_variables: {A: "1"}
"""
_PARALLEL = b"""\
type: parallel
name: tone
inputs:
  job_data_path: {type: uri_folder, path: input, mode: ro_mount}
  score_model: {type: uri_file, path: model}
outputs:
  job_output_path: {type: uri_folder}
input_data: ${{inputs.job_data_path}}
mini_batch_size: "10"
mini_batch_error_threshold: 5
logging_level: "DEBUG"
max_concurrency_per_instance: 2
retry_settings: {max_retries: 2, timeout: 60}
task:
  type: run_function
  code: code
  entry_script: score.py
  environment: azureml:x
  program_arguments: >-
    --model ${{inputs.score_model}}
    --error_threshold 5
    --task_overhead_timeout 1200
  append_row_to: ${{outputs.job_output_path}}
"""
_TOML = b"""\
name = "damage"
script = "score.py"
code = "code"
mini_batch_size = 20
max_retries = 3
timeout = "1h30m"
error_threshold = "3%"
workers = "auto"
include = ["*.jpg", "**/*.png"]
partition_keys = ["user", "season"]
partition_format = "{user}/{season}/*.csv"
mem_reserve = "1.5G"
[env]
A = "b"
"""
_MLMODEL = b"""\
artifact_path: model
flavors:
  python_function: {loader_module: mlflow.sklearn, python_version: 3.11, env: {conda: conda.yaml}}
  sklearn: {pickled_model: model.pkl}
signature: {inputs: '[{"name": "a", "type": "double"}]'}
"""
_YAML_WORDS = texts(
    ": ", "- ", "&a ", "*a", "<<: *a\n", "!!python/object:os.system ", "|\n", ">-\n", "? ", "{", "}", "[", "]",
    "'", '"', "#", "\n  ", "\t", "---\n", "%YAML 1.2\n", "null", "~", "0x1f", "1e999", "017", "on", "\\ud800",
    "a: &a [*a, *a]\n", "${{inputs.x}}",
)  # fmt: skip
_TOML_WORDS = texts(
    "[", "]", "[[", "]]", "=", ".", '"""', "'''", "\\u0000", "1979-05-27T07:32:00Z", "inf", "nan", "1_000", "0x",
    "{", "}", ",", "\n", "[env]\n", "a.b.c = 1\n", "true", "99999999999999999999999999",
)  # fmt: skip
_VALUE_WORDS = texts(
    "%", "-1", "auto", "1h30m", "ms", "s", "d", "K", "MiB", " gb", ".", "1e5", "_", "+", "0", "00",
    "999999999999999999999999", "\u0663", "\u00bd", "{", "}", ",", "true", "\0", "\x1b", "/", "..", "~", "nan",
    "inf", "0x10",
)  # fmt: skip
_VALUES = texts(
    "10", "auto", "90s", "1h30m", "512M", "1.5 GiB", "3%", "-1", "true", "plan", "a,b", "{a}/{b}.csv", "debug", "x.csv"
)


def targets(work: Path) -> list[Target]:
    for name in ("code", "model", "input"):
        (work / name).mkdir(parents=True, exist_ok=True)
    for name in ("score.py", "code/score.py"):
        (work / name).write_text("def run(b): return b\n", encoding="utf-8")
    (work / "conda.yml").write_text("name: x\n", encoding="utf-8")
    azure, toml, bare = (_AZURE, _PARALLEL), (_TOML,), (_MLMODEL,)
    (work / "mlflow").mkdir(exist_ok=True)
    settings = b'{"append_row": {"pandas.DataFrame.to_csv": {"sep": ",", "float_format": "%.3f"}}}'
    return [
        Target("values", 60, _value, (Wrong,), _VALUES, _VALUE_WORDS),
        Target("yaml", 3, _tree(read_yaml), (Refused,), (*azure, *bare), _YAML_WORDS),
        Target("toml", 4, _tree(read_toml), (Refused,), toml, _TOML_WORDS),
        Target("azure", 1, _Load(work / "deployment.yml", work), (SpecError,), azure, _YAML_WORDS),
        Target("native", 1, _Load(work / "batchctl.toml", work), (SpecError,), toml, _TOML_WORDS),
        Target("mlmodel", 1, _Load(work / "mlflow" / "MLmodel", work), (SpecError,), bare, _YAML_WORDS),
        Target("settings", 3, _Settings(work / "settings"), (ContractError,), (settings,), (), _settings),
    ]


class Refused(Exception):
    """With problems that say where and what."""


def _tree(read: Callable[[str, str], Tree]) -> Callable[[bytes], None]:
    def check(data: bytes) -> None:
        text = decoded(data, "spec")
        if isinstance(text, Problem):
            raise Refused(str(text))
        tree = read(text, "spec")
        holds(tree.root is not None or bool(tree.problems), "neither a tree nor a problem")
        holds(read(text, "spec") == tree, "another tree the second time")
        if tree.root is None:
            holds(all(str(problem).startswith("spec") for problem in tree.problems), "a problem of nowhere")
            raise Refused
        holds(_count(tree.root) <= 100_001, "more values than are allowed")

    return check


def _count(node: Node) -> int:
    return 1 + sum(map(_count, (*(child for _, child in node.entries), *node.elements)))


_NAMED = [setting for setting in SETTINGS if setting.field not in ("python", "model")]


def _value(data: bytes) -> None:
    """The first byte says whose parser. What is accepted as a number is accepted again as that number."""
    setting = _NAMED[data[0] % len(_NAMED)] if data else _NAMED[0]
    text = data[1:].decode("utf-8", "surrogateescape")
    found = setting.parse(scalar("--x", text), Path("/"))
    holds(setting.parse(scalar("--x", text), Path("/")) == found, "another value the second time")
    if type(found) in (int, float) and not setting.switch:
        written = repr(found) if isinstance(found, int) else f"{found:.9f}"
        if len(written) <= 20:
            again = setting.parse(scalar("--x", written), Path("/"))
            holds(abs(again - found) <= 1e-6 * max(1.0, abs(found)), f"{found} reads as {again}")  # type: ignore[operator]


class _Load:
    """The whole way from a file to a job, as `check` and `run` go it; SpecError tells every problem."""

    def __init__(self, path: Path, work: Path) -> None:
        self._path = path
        self._work = work

    def __call__(self, data: bytes) -> None:
        self._path.write_bytes(data)
        loaded = load(self._path, Overrides(environ={}), inputs=("input",), out=self._work / "out", cwd=self._work)
        holds((loaded.spec is None) is bool(loaded.problems), "neither a job nor a problem")
        for told in (*map(str, loaded.problems), *loaded.notes):
            holds("\x1b" not in told and "\0" not in told, "a control character in a message")
        spec = loaded.require()
        holds(spec._replace() == spec and spec.mini_batch_size > 0, "a job that cannot be")
        holds("/" not in spec.output_file_name and spec.output_file_name not in ("", ".", ".."), "a result elsewhere")


class _Settings:
    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder

    def __call__(self, data: bytes) -> None:
        (self._folder / SETTINGS_FILE).write_bytes(data)
        found = to_csv_overrides(str(self._folder))
        holds(not {"path_or_buf", "mode", "encoding", "compression"} & set(found), "what is not the script's to choose")


def _settings(dice: random.Random) -> bytes:
    return mutated_json({"append_row": {"pandas.DataFrame.to_csv": {"sep": ",", "float_format": None}}}, dice)
