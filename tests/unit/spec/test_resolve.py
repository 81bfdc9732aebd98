"""Which file is the spec, who wins, and what is remembered of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batchctl.errors import ExitCode, SpecError
from batchctl.model.job import Dialect, ErrorThreshold, OnCollision, OutputFormat
from batchctl.spec.fields import FLAGS, SET_DEST, SETTINGS
from batchctl.spec.resolve import Overrides, command_switches, load
from tests.unit.spec.conftest import Folder

APART = "partition_format"  # goes with partition_keys, which exclude mini_batch_size: tested in test_partitioning.py

VARIABLES = {
    "BATCHCTL_INPUT_CHECK": "always",
    "BATCHCTL_NAME": "n",
    "BATCHCTL_MODEL": "model",
    "BATCHCTL_PYTHON": "python3",
    "BATCHCTL_ENV": "A=1,2\r\n\nB=x\u2028C=y",
    "BATCHCTL_PRELOAD": "numpy, scipy",
    "BATCHCTL_MINI_BATCH_SIZE": "7",
    "BATCHCTL_INCLUDE": "*.png,*.jpg",
    "BATCHCTL_EXCLUDE": "a,b\nc",
    "BATCHCTL_OUTPUT_ACTION": "append_row",
    "BATCHCTL_OUTPUT_FORMAT": "jsonl",
    "BATCHCTL_OUTPUT_FILE_NAME": "p",
    "BATCHCTL_ORDER": "plan",
    "BATCHCTL_ON_COLLISION": "last",
    "BATCHCTL_OWN_FILES": "staged",
    "BATCHCTL_MAX_RETRIES": "1",
    "BATCHCTL_TIMEOUT": "2m",
    "BATCHCTL_INIT_TIMEOUT": "3m",
    "BATCHCTL_ERROR_THRESHOLD": "5%",
    "BATCHCTL_MINI_BATCH_ERROR_THRESHOLD": "2",
    "BATCHCTL_ALLOWED_FAILED_PERCENT": "2.5",
    "BATCHCTL_HEADER": "yes",
    "BATCHCTL_ISOLATE": "no",
    "BATCHCTL_MLFLOW_CHUNK_ROWS": "0",
    "BATCHCTL_WORKERS": "3",
    "BATCHCTL_THREADS": "2",
    "BATCHCTL_LOGGING_LEVEL": "warning",
    "BATCHCTL_GRACE": "1",
    "BATCHCTL_PAUSE_MAX": "0",
    "BATCHCTL_HIDE_GPUS": "1",
    "BATCHCTL_MAX_BATCH_BYTES": "1M",
    "BATCHCTL_SCHEDULE": "largest-first",
    "BATCHCTL_PIN": "numa",
    "BATCHCTL_MEM_RESERVE": "64MiB",
    "BATCHCTL_HINT": "model",
    "BATCHCTL_STATE_DIR": "state",
}


def test_every_variable(folder: Folder) -> None:
    spec = folder.toml(environ=VARIABLES).require()
    assert {setting.variable for setting in SETTINGS if setting.flag} == {*VARIABLES, "BATCHCTL_PARTITION_FORMAT"}
    assert (spec.include, spec.exclude) == (("*.png", "*.jpg"), ("a,b", "c"))
    assert (spec.environment, spec.preload) == ({"A": "1,2", "B": "x\u2028C=y"}, ("numpy", "scipy"))
    assert (spec.error_threshold, spec.isolate, spec.workers) == (ErrorThreshold(None, 5.0), False, 3)
    for setting in SETTINGS:
        if setting.flag and setting.field != APART:
            assert spec.sources[setting.field] == setting.variable


FLAG_VALUES: dict[str, object] = {
    "name": "n",
    "model": "model",
    "python": "python3",
    "environment": ["A=1", "B="],
    "preload": ["m"],
    "mini_batch_size": 7,
    "include": ["*.png"],
    "exclude": ["*"],
    "output_action": "summary_only",
    "output_format": "azure",
    "output_file_name": "p",
    "order": "completion",
    "header": True,
    "mini_batch_error_threshold": "2",
    "allowed_failed_percent": "2.5%",
    "on_collision": "append",
    "own_files": "staged",
    "max_retries": "1",
    "timeout": "2m",
    "init_timeout": 3.5,
    "error_threshold": "-1",
    "isolate": False,
    "input_check": "always",
    "mlflow_chunk_rows": "100",
    "workers": "auto",
    "threads": "2",
    "logging_level": "warning",
    "grace": "0",
    "pause_max": "0",
    "hide_gpus": True,
    "max_batch_bytes": "1M",
    "schedule": "plan",
    "pin": "none",
    "mem_reserve": "2G",
    "hint": "model",
    "state_dir": "state",
}


def test_every_flag_and_what_is_not_given(folder: Folder) -> None:
    assert {flag.dest for flag in FLAGS} == {*FLAG_VALUES, APART, SET_DEST}
    flags = {**FLAG_VALUES, "command": "run", "verbose": 3}
    spec = folder.toml("workers = 4\n[env]\nB = 'b'\nC = 'c'\n", flags=flags, environ=VARIABLES).require()
    assert spec.environment == {"A": "1", "B": "", "C": "c"}
    assert (spec.workers, spec.sources["workers"]) == (None, "--workers")
    assert (spec.isolate, spec.sources["isolate"]) == (False, "--no-isolate")
    assert spec.init_timeout == 3.5
    assert spec.sources["environment"] == "--env; batchctl.toml:5 env.C"
    untouched = folder.toml(flags=dict.fromkeys(FLAG_VALUES)).require()
    assert {untouched.sources[name] for name in ("workers", "isolate", "environment")} == {"default"}


WHO_WINS = {
    "default": ({}, (), {}, False, 10, "default"),
    "file": ({}, (), {}, True, 1, "batchctl.toml:2 mini_batch_size"),
    "variable over file": ({}, (), {"BATCHCTL_MINI_BATCH_SIZE": "2"}, True, 2, "BATCHCTL_MINI_BATCH_SIZE"),
    "empty variable is none": ({}, (), {"BATCHCTL_MINI_BATCH_SIZE": " "}, True, 1, "batchctl.toml:2 mini_batch_size"),
    "set over file": ({}, ("mini_batch_size=3",), {}, True, 3, "--set mini_batch_size"),
    "set over variable": (
        {}, ("mini_batch_size=3",), {"BATCHCTL_MINI_BATCH_SIZE": "2"}, True, 3, "--set mini_batch_size",
    ),
    "last set wins": ({}, ("mini_batch_size=3", "mini_batch_size=4"), {}, True, 4, "--set mini_batch_size"),
    "flag over all": (
        {"mini_batch_size": "5"}, ("mini_batch_size=3",), {"BATCHCTL_MINI_BATCH_SIZE": "2"}, True, 5,
        "--mini-batch-size",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WHO_WINS)
def test_who_wins(folder: Folder, name: str) -> None:
    flags, sets, environ, in_file, expected, source = WHO_WINS[name]
    extra = "mini_batch_size = 1\n" if in_file else ""
    spec = folder.toml(extra, flags=flags, sets=sets, environ=environ).require()
    assert (spec.mini_batch_size, spec.sources["mini_batch_size"]) == (expected, source)


def test_a_wrong_value_that_loses_is_a_note_and_one_that_wins_is_a_problem(folder: Folder) -> None:
    loaded = folder.toml(
        "mini_batch_size = 0\n", environ={"BATCHCTL_MINI_BATCH_SIZE": "x"}, flags={"mini_batch_size": "5"}
    )
    assert loaded.require().mini_batch_size == 5
    assert len([note for note in loaded.notes if "(not used: --mini-batch-size is)" in note]) == 2
    loaded = folder.toml("mini_batch_size = 5\n", flags={"mini_batch_size": "x", "timeout": "soon"})
    assert [str(problem).split(". ")[0] for problem in loaded.problems] == [
        '--mini-batch-size: "x" is not a whole number',
        '--timeout: "soon" is not a duration',
    ]


def test_paths_of_flags_are_against_the_working_folder(folder: Folder) -> None:
    folder.write("sub/score.py", "")
    spec = folder.load("sub/batchctl.toml", 'script = "score.py"\n', flags={"model": "model"}, out="o/../out").require()
    assert spec.model == folder.root / "model"
    assert spec.out == folder.root / "o/../out"


def test_inputs_of_the_command_line_replace_those_of_the_file(folder: Folder) -> None:
    spec = folder.toml('input = "a"\n', inputs=("b/*.png", "-")).require()
    assert (spec.inputs, spec.sources["inputs"]) == (("b/*.png", "-"), "command line")


def test_secrets_show_nowhere(folder: Folder) -> None:
    secret = "hunter2"
    flags = {"environment": [f"F={secret}", f"{secret}"]}
    environ = {"BATCHCTL_ENV": f"V={secret}"}
    loaded = folder.toml(f'[env]\nA = "{secret}"\nB = ["{secret}"]\n', flags=flags, environ=environ)
    assert len(loaded.problems) == 2
    seen = [*map(str, loaded.problems), *loaded.notes, str(loaded.values), str(loaded.environment)]
    spec = folder.toml(f'[env]\nA = "{secret}"\n', sets=(f"env.S={secret}",), environ=environ).require()
    assert set(spec.environment) == {"A", "S", "V"}
    seen += [repr(spec), repr(Overrides(flags, (f"env.S={secret}",), environ))]
    assert not any(secret in text for text in seen)


def test_unknown_variables_are_noted_only_where_they_look_like_ours(folder: Folder) -> None:
    environ = {"BATCHCTL_WORKER": "1", "BATCHCTL_RUN_ID": "x", "OTHER": "y", "BATCHCTL_JSON": "1"}
    notes = folder.toml(environ=environ).require().notes
    assert notes == ('BATCHCTL_WORKER: is no variable of batchctl\'s; did you mean "WORKERS"?',)


def test_command_switches() -> None:
    assert command_switches({"BATCHCTL_JSON": "1", "BATCHCTL_QUIET": "no"}) == {
        "json": True,
        "quiet": False,
        "verbose": False,
    }


def test_the_process_environment_is_read_where_none_is_given(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHCTL_WORKERS", "6")
    assert load(folder.root / "score.py").require().workers == 6


FOLDERS = {
    "deployment": (("deployment.yml",), "deployment.yml", Dialect.AZURE, ""),
    "yaml": (("deployment.yaml", "score.py"), "deployment.yaml", Dialect.AZURE, ""),
    "toml first": (("deployment.yml", "batchctl.toml"), "batchctl.toml", Dialect.NATIVE, "deployment.yml beside it"),
    "script": (("score.py", "other.py"), "score.py", Dialect.SCRIPT, ""),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_as_spec(folder: Folder, name: str) -> None:
    present, taken, dialect, beside = FOLDERS[name]
    texts = {
        ".yml": "code_configuration: {code: ../code, scoring_script: score.py}\n",
        ".toml": 'script = "../score.py"\n',
        ".py": "",
    }
    for item in present:
        suffix = Path(item).suffix.replace("yaml", "yml")
        folder.write(f"job/{item}", texts[suffix])
    spec = folder.load("job").require()
    assert (spec.dialect, spec.spec_path) == (dialect, folder.root / "job" / taken)
    assert f"job: {taken} taken as the spec" in spec.notes[0]
    assert beside in spec.notes[0]


def test_what_is_no_spec(folder: Folder) -> None:
    folder.write("mlflow/MLmodel", "")
    folder.write("empty/readme", "")
    folder.write("near/mnist-deployment.yml", "")
    folder.write("a.json", "{}")
    folder.write("noend", "")
    os.mkfifo(folder.root / "pipe.yml")
    cases = {
        "gone.yml": "gone.yml: is missing. Give a deployment.yml",
        "elsewher.py": 'Did you mean "elsewhere.py"?',
        "": "SPEC: an empty path",
        "a.json": 'is no spec by its name (".json"). Give a .yml',
        "noend": "(without a suffix)",
        "empty": "empty: holds none of batchctl.toml, deployment.yml",
        "near": "Name one: near/mnist-deployment.yml",
        "mlflow": "mlflow/MLmodel: is empty. Save the model again",
        "mlflow/MLmodel": "mlflow/MLmodel: is empty. Save the model again",
        "pipe.yml": "is neither a file nor a folder",
        "x" * 5000: "is missing",
        "a\x1b[2J\udc80.yml": "is missing",
    }
    for given, expected in cases.items():
        said = [str(problem) for problem in folder.load(given).problems]
        assert len(said) == 1, given
        assert expected in said[0]
        assert said[0].isprintable()


FILES = {
    "huge": (b"a: 1\n" * 300_000, "is larger than 1 MiB"),
    "not UTF-8": (b"name: \xe9\n", "byte 0xe9 is not UTF-8"),
    "control": (b"name: \x07\n", "control character U+0007"),
}


@pytest.mark.parametrize("suffix", ["yml", "toml"])
@pytest.mark.parametrize("name", FILES)
def test_files_that_cannot_be_read(folder: Folder, name: str, suffix: str) -> None:
    data, expected = FILES[name]
    said = [str(problem) for problem in folder.load(f"d.{suffix}", data).problems]
    assert len(said) == 1
    assert expected in said[0]


def test_require_raises_all_problems(folder: Folder) -> None:
    loaded = folder.toml("timeout = 0\nworkers = 0\n")
    with pytest.raises(SpecError) as caught:
        loaded.require()
    assert len(caught.value.problems) == 2
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.where == "batchctl.toml"


def test_the_format_from_a_flag_names_the_file(folder: Folder) -> None:
    spec = folder.toml(flags={"output_format": "jsonl"}).require()
    assert (spec.output_format, spec.output_file_name) == (OutputFormat.JSONL, "predictions.jsonl")
    spec = folder.toml(flags={"output_format": "parquet"}).require()
    assert (spec.output_file_name, spec.writes_tables) == ("predictions.parquet", True)
    spec = folder.toml(flags={"output_format": "parquet", "output_action": "summary_only"}).require()
    assert not spec.writes_tables


@pytest.mark.parametrize(("form", "noted"), [("azure", False), ("csv", True), ("jsonl", True), ("parquet", True)])
def test_header_without_the_azure_format_is_noted(folder: Folder, form: str, noted: bool) -> None:
    loaded = folder.toml(flags={"output_format": form, "header": False})
    assert any(note.startswith("--no-header: not used") for note in loaded.notes) is noted
    assert not any("header" in note for note in folder.toml(flags={"output_format": form}).notes)


def test_nothing_collides_where_nothing_is_collected(folder: Folder) -> None:
    said = folder.toml('on_collision = "append"\n', flags={"own_files": "direct"}).problems
    assert len(said) == 1
    assert str(said[0]) == (
        "batchctl.toml:2 on_collision: on_collision = append needs files to be collected, and own_files = direct "
        "collects none. Leave one of the two out"
    )
    assert folder.azure(flags={"on_collision": "append"}).require().on_collision is OnCollision.APPEND
