"""batchctl.toml and the bare script."""

from __future__ import annotations

import pytest

from batchctl.model.job import (
    Dialect,
    ErrorThreshold,
    Grouping,
    InputCheck,
    OnCollision,
    Order,
    OutputAction,
    OutputFormat,
    OwnFiles,
    Pin,
    Schedule,
)
from batchctl.spec.native import KEYS
from tests.unit.spec.conftest import Folder

FULL = """\
name = "job"
script = "score.py"
code = "code"
model = "model"
python = "python3.12"
input = ["in", "@list.txt", "/abs/*.png"]
arguments = ["--level", ""]
preload = ["numpy"]
mini_batch_size = 20
grouping = "directory"
include = ["*.png"]
exclude = ["*/tmp/*", "*.bak"]
output_action = "summary_only"
output_format = "jsonl"
output_file_name = "p.jsonl"
header = true
order = "completion"
max_retries = 0
timeout = "2m"
init_timeout = 1.5
error_threshold = "3%"
mini_batch_error_threshold = 4
allowed_failed_percent = 12.5
isolate = false
input_check = "always"
mlflow_chunk_rows = 500
workers = "auto"
threads = 2
logging_level = "debug"
grace = "5s"
pause_max = "1h"
hide_gpus = true
on_collision = "append"
own_files = "staged"
max_batch_bytes = "64M"
schedule = "plan"
pin = "numa"
mem_reserve = "1.5G"
hint = "model"
state_dir = "state"

[env]
A = 1
B = 1.10
C = true
D = "x"
"""


def test_every_key(folder: Folder) -> None:
    spec = folder.load("batchctl.toml", FULL).require()
    assert spec.dialect is Dialect.NATIVE
    assert (spec.name, spec.script, spec.code) == ("job", folder.root / "code/score.py", folder.root / "code")
    assert (spec.model, spec.python) == (folder.root / "model", "python3.12")
    assert spec.state_dir == folder.root / "state"
    assert spec.inputs == (str(folder.root / "in"), f"@{folder.root}/list.txt", "/abs/*.png")
    assert (spec.arguments, spec.preload) == (("--level", ""), ("numpy",))
    assert (spec.mini_batch_size, spec.grouping) == (20, Grouping.DIRECTORY)
    assert (spec.include, spec.exclude) == (("*.png",), ("*/tmp/*", "*.bak"))
    assert (spec.output_action, spec.output_format) == (OutputAction.SUMMARY_ONLY, OutputFormat.JSONL)
    assert (spec.output_file_name, spec.order, spec.max_retries) == ("p.jsonl", Order.COMPLETION, 0)
    assert (spec.timeout, spec.init_timeout, spec.grace, spec.pause_max) == (120.0, 1.5, 5.0, 3600.0)
    assert (spec.error_threshold, spec.isolate) == (ErrorThreshold(None, 3.0), False)
    assert (spec.mini_batch_error_threshold, spec.allowed_failed_percent, spec.header) == (4, 12.5, True)
    assert (spec.on_collision, spec.own_files) == (OnCollision.APPEND, OwnFiles.STAGED)
    assert (spec.input_check, spec.mlflow_chunk_rows) == (InputCheck.ALWAYS, 500)
    assert (spec.workers, spec.threads, spec.logging_level) == (None, 2, "debug")
    assert spec.hide_gpus
    assert (spec.max_batch_bytes, spec.schedule) == (64 << 20, Schedule.PLAN)
    assert (spec.pin, spec.mem_reserve, spec.hint) == (Pin.NUMA, 3 << 29, folder.root / "model")
    assert spec.environment == {"A": "1", "B": "1.10", "C": "true", "D": "x"}
    assert spec.sources["timeout"] == "batchctl.toml:19 timeout"
    assert spec.sources["environment.B"] == "batchctl.toml:44 env.B"
    assert set(KEYS) - {"partition_keys", "partition_format"} <= {
        line.split(" ")[0].strip("[]") for line in FULL.splitlines()
    }


def test_defaults(folder: Folder) -> None:
    spec = folder.toml().require()
    assert (spec.mini_batch_size, spec.timeout, spec.max_retries) == (10, 3600.0, 3)
    assert (spec.output_format, spec.output_file_name) == (OutputFormat.CSV, "predictions.csv")
    assert (spec.grouping, spec.error_threshold) == (Grouping.PATH, ErrorThreshold(-1))
    assert (spec.code, spec.name) == (folder.root, folder.root.name)
    assert spec.sources["code"] == "folder of batchctl.toml:1 script"


def test_the_file_name_follows_the_format_unless_it_is_given(folder: Folder) -> None:
    assert folder.toml('output_format = "jsonl"\n').require().output_file_name == "predictions.jsonl"
    given = folder.toml('output_format = "jsonl"\noutput_file_name = "p.csv"\n').require()
    assert given.output_file_name == "p.csv"


REFUSED = {
    "unknown key": ("colour = 1\n", "batchctl.toml:2:colour: unknown key. Remove it"),
    "hyphens": ("mini-batch-size = 1\n", 'Did you mean "mini_batch_size"?'),
    "azure's workers": ("max_concurrency_per_instance = 1\n", "unknown key. Write workers"),
    "azure's variables": ("environment_variables = {}\n", "unknown key. Write [env]"),
    "wrong type": ("mini_batch_size = [1]\n", "batchctl.toml:2:mini_batch_size: one value is expected"),
    "a boolean": ("workers = true\n", '"true" is not a whole number'),
    "env no table": ("env = 1\n", "batchctl.toml:2:env: is not a table"),
    "env of lists": ("[env]\nA = [1]\n", '"A": one value is expected'),
    "input from standard input": ('input = "-"\n', "cannot be an input in a file"),
    "input of nobody": ('input = "~nosuchuser/in"\n', "is no usable path"),
    "remote input": ('input = ["https://x/y"]\n', "cannot be an input in a file"),
    "input a number in a list of lists": ("input = [[1]]\n", "a list where a text is expected"),
    "code missing": ('code = "cod"\n', 'folder "cod" is missing'),
    "arguments a text": ('arguments = "--x 1"\n', "where a list is expected"),
    "order": ('order = "planned"\n', "Write one of plan, completion"),
    "model missing": ('model = "modle"\n', 'Did you mean "model"?'),
    "python missing": ('python = "./venv/bin/python"\n', "is missing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(folder: Folder, name: str) -> None:
    extra, expected = REFUSED[name]
    said = [str(problem) for problem in folder.toml(extra).problems]
    assert len(said) == 1, said
    assert expected in said[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "batchctl.toml:script: no script"),
        ('script = "scor.py"\n', 'batchctl.toml:1:script: script "scor.py" is missing'),
        ('script = ["score.py"]\n', "one value is expected"),
        ('script = "score.py"\nscript = "score.py"\n', "batchctl.toml:2:script: given twice"),
        ("script = score.py\n", "batchctl.toml:1:10: TOML syntax"),
    ],
)
def test_script_refused(folder: Folder, text: str, expected: str) -> None:
    said = [str(problem) for problem in folder.load("batchctl.toml", text).problems]
    assert len(said) == 1, said
    assert expected in said[0]


def test_bare_script(folder: Folder) -> None:
    spec = folder.load("code/score.py", sets=("grouping=directory", "env.A=1")).require()
    assert (spec.dialect, spec.name) == (Dialect.SCRIPT, "score")
    assert (spec.script, spec.code) == (folder.root / "code/score.py", folder.root / "code")
    assert (spec.grouping, spec.environment) == (Grouping.DIRECTORY, {"A": "1"})
    assert spec.sources["grouping"] == "--set grouping"


def test_bare_script_takes_no_other_script(folder: Folder) -> None:
    said = [str(problem) for problem in folder.load("score.py", sets=("script=x.py", "colour=1")).problems]
    assert len(said) == 2
    assert "the spec is the script itself" in said[1]
