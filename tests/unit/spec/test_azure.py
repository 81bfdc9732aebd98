"""deployment.yml: both layouts, every key of the schema, and what is said about each."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchctl.model.job import Dialect, ErrorThreshold, Grouping, JobSpec, OutputAction, OutputFormat
from batchctl.spec.azure_keys import IGNORED, METADATA, MODEL_TYPES
from tests.unit.spec.conftest import Folder

FULL = """\
$schema: https://azuremlschemas.azureedge.net/latest/modelBatchDeployment.schema.json
name: digits-sklearn
endpoint_name: digits
description: reads digits
type: model
tags: {task: digits}
model:
  path: model
code_configuration:
  code: code
  scoring_script: score.py
environment:
  image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest
  conda_file: conda.yaml
compute: azureml:batch-cluster
resources:
  instance_count: 2
settings:
  max_concurrency_per_instance: 2
  mini_batch_size: "20"
  output_action: Append_Row
  output_file_name: out.csv
  retry_settings:
    max_retries: 0
    timeout: 300
  error_threshold: 7
  logging_level: debug
  environment_variables:
    FLAG: on
    N: 017
"""


def flat(text: str) -> str:
    """The same deployment in the legacy layout."""
    head, _, tail = text.partition("settings:\n")
    lines = [line.removeprefix("  ") for line in tail.splitlines()]
    return head.replace("type: model\n", "") + "\n".join(lines) + "\n"


@pytest.mark.parametrize("text", [FULL, flat(FULL)], ids=["settings", "flat"])
def test_a_full_deployment(folder: Folder, text: str) -> None:
    loaded = folder.load("deployment.yml", text, inputs=("in",), out="out")
    spec = loaded.require()
    assert spec.dialect is Dialect.AZURE
    assert (spec.name, spec.workers, spec.mini_batch_size, spec.max_retries) == ("digits-sklearn", 2, 20, 0)
    assert (spec.timeout, spec.error_threshold, spec.logging_level) == (300.0, ErrorThreshold(7), "debug")
    assert (spec.output_action, spec.output_file_name) == (OutputAction.APPEND_ROW, "out.csv")
    assert (spec.output_format, spec.grouping) == (OutputFormat.AZURE, Grouping.DIRECTORY)
    assert spec.environment == {"FLAG": "on", "N": "017"}
    assert (spec.script, spec.code) == (folder.root / "code/score.py", folder.root / "code")
    assert (spec.model, spec.out, spec.inputs) == (folder.root / "model", folder.root / "out", ("in",))
    line = text.splitlines().index(next(item for item in text.splitlines() if "mini_batch_size" in item)) + 1
    prefix = "settings." if "\nsettings:" in text else ""
    assert spec.sources["mini_batch_size"] == f"deployment.yml:{line} {prefix}mini_batch_size"
    assert "017" not in repr(spec)


def test_defaults_are_azures(folder: Folder) -> None:
    spec = folder.azure().require()
    assert (spec.mini_batch_size, spec.max_retries, spec.timeout, spec.init_timeout) == (10, 3, 30.0, 3600.0)
    assert (spec.error_threshold, spec.workers) == (ErrorThreshold(-1), None)
    assert (spec.output_file_name, spec.output_format) == ("predictions.csv", OutputFormat.AZURE)
    assert spec.sources["timeout"] == "default (azure dialect)"


# What is added to a good deployment -> the problem that it makes (a part of its line).
REFUSED = {
    "unknown root key": ("colour: red\n", "deployment.yml:3:colour: unknown key. Remove it"),
    "misspelt root key": ("resource: {}\n", 'Did you mean "resources"?'),
    "misspelt setting": (
        "settings: {mini_batch: 3}\n",
        'settings.mini_batch: unknown key. Did you mean "mini_batch_size"',
    ),
    "native key": ("init_timeout: 5\n", "It is no key of Azure's: use --init-timeout"),
    "native name of a setting": ("workers: 5\n", "Write max_concurrency_per_instance"),
    "unknown in retry_settings": ("retry_settings: {max_tries: 1}\n", 'Did you mean "max_retries"?'),
    "unknown in model": ("model: {path: model, kind: x}\n", "model.kind: unknown key"),
    "unknown in resources": ("resources: {gpus: 1}\n", "resources.gpus: unknown key"),
    "unknown in environment": ("environment: {docker: x}\n", "environment.docker: unknown key"),
    "settings without value": ("settings:\n", "deployment.yml:3:settings: is empty"),
    "settings a list": ("settings: [1]\n", "settings: is no mapping"),
    "retry_settings a number": ("retry_settings: 3\n", "retry_settings: is no mapping"),
    "size in bytes": ("settings: {mini_batch_size: 10kb}\n", "which only tabular inputs have"),
    "size zero": ("mini_batch_size: 0\n", "mini_batch_size: 0 is out of range"),
    "size a quoted fraction": ('mini_batch_size: "2.5"\n', "is not a whole number"),
    "size less than one": ("mini_batch_size: 0.5\n", "0 is out of range"),
    "compute a mapping": ("compute: {a: b}\n", "compute.a: unknown key"),
    "override in a file": ("job_name: x\n", "job_name: unknown key"),
    "size a list": ("mini_batch_size: [1]\n", "one value is expected, this is a list"),
    "size missing": ("mini_batch_size:\n", "has no value"),
    "size octal": ("mini_batch_size: 017\n", "octal or decimal"),
    "concurrency zero": ("max_concurrency_per_instance: 0\n", "0 is out of range"),
    "action of the service": ("output_action: AppendRow\n", 'Did you mean "append_row"?'),
    "name with slash": ("output_file_name: a/b.csv\n", '"/" cannot be in a file name'),
    "threshold a word": ("error_threshold: none\n", "is not a whole number"),
    "timeout sexagesimal": ("retry_settings: {timeout: 1:30}\n", "is not a duration"),
    "timeout negative": ("retry_settings: {timeout: -1}\n", "is not a duration"),
    "retries negative": ("retry_settings: {max_retries: -1}\n", "out of range"),
    "variables a list": ("environment_variables: [A=1]\n", "environment_variables: is no mapping"),
    "variable a list": ("environment_variables: {A: [1]}\n", '"A": one value is expected'),
    "variable without value": ("environment_variables: {A: }\n", '"A": has no value'),
    "registered model": ("model: azureml:digits:3\n", "Give a local copy: --model PATH"),
    "latest model": ("model: azureml:digits@latest\n", "Give a local copy: --model PATH"),
    "registry model": ("model: azureml://registries/r/models/m/versions/1\n", "--model PATH"),
    "registered by path": ("model: {path: azureml://datastores/d/paths/m}\n", "--model PATH"),
    "bare model path": ("model: model\n", "Write model: {path: ...}"),
    "model a list": ("model: [model]\n", "is no model"),
    "model without path": ("model: {name: m}\n", "names no path"),
    "model missing": ("model: {path: models}\n", 'model.path: "models" is missing'),
    "model type unknown": ("model: {path: model, type: onnx}\n", "is no model type"),
    "partition keys": (
        "partition_keys: [a]\n",
        "partition_keys: unknown key. Only a parallel job has it: type: parallel",
    ),
    "partition keys in settings": (
        "settings: {partition_keys: [a]}\n",
        "settings.partition_keys: unknown key. Only a parallel job has it",
    ),
    "type a list": ("type: [model]\n", "deployment.yml:3:type: one value is expected, this is a list"),
    "resources a list": ("resources: [a]\n", "resources: is a list, where a mapping is expected"),
    "resources a word": ("resources: 3\n", "resources: is a scalar, where a mapping is expected"),
    "environment a list": ("environment: [a]\n", "environment: is a list, where a mapping is expected"),
    "model a link to nowhere": ("model: {path: dangling}\n", 'It is a link to "gone"'),
    "duplicate": ("name: e\n", "deployment.yml:3:name: given twice: first on line 1, again on line 3"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(folder: Folder, name: str) -> None:
    extra, expected = REFUSED[name]
    (folder.root / "dangling").symlink_to("gone")
    loaded = folder.azure(extra)
    said = [str(problem) for problem in loaded.problems]
    assert loaded.spec is None
    assert len(said) == 1, said
    assert expected in said[0]


# Whole files.
CODE = "code_configuration: {code: code, scoring_script: score.py}\n"
FILES = {
    "pipeline": ("type: Pipeline\nfoo: 1\n", "d.yml:1:type: pipeline component deployments are not supported"),
    "pipeline without type": ("name: p\njob_definition: azureml:x\n", "pipeline component deployments"),
    "pipeline job": ("jobs: {}\n", "d.yml:1:jobs: this is a pipeline job. Give a deployment of type: model, or a step"),
    "parallel job without type": ("task: {code: code}\n", "d.yml:1:task: this is a parallel job without its type"),
    "command job": ("type: command\n", 'type "command" is no batch deployment'),
    "endpoint": ("name: e\nauth_mode: aad_token\n", "this is a batch endpoint, not a deployment"),
    "no code": ("name: d\n", "d.yml:code_configuration: missing: a scoring script is needed"),
    "no code, a model of another kind": (
        "model: {path: model, type: mlflow_model}\n",
        'd.yml:1 model.path: there is no scoring script, and "model" holds no MLmodel file',
    ),
    "no code, a model without flavours": ("model: {path: mlflow}\n", "MLmodel:flavors: no python_function flavour"),
    "no code, a registered model": ("model: azureml:m:1\n", 'd.yml:1:model: "azureml:m:1" is a registered model'),
    "code a word": ("code_configuration: code\n", "is no mapping"),
    "no script": ("code_configuration: {code: code}\n", "names no scoring_script"),
    "code key unknown": (
        "code_configuration: {code: code, scoring_script: score.py, entry: x}\n",
        "entry: unknown key",
    ),
    "code missing": ("code_configuration: {code: cod, scoring_script: score.py}\n", 'folder "cod" is missing'),
    "code a file": ("code_configuration: {code: score.py, scoring_script: score.py}\n", "is a file"),
    "code on azure": ("code_configuration: {code: 'azureml:c:1', scoring_script: s.py}\n", "is on Azure"),
    "script missing": ("code_configuration: {code: code, scoring_script: scor.py}\n", 'Did you mean "score.py"?'),
    "script unlike any": ("code_configuration: {code: code, scoring_script: z.py}\n", 'The folder holds "score.py"'),
    "script a folder": ("code_configuration: {code: code, scoring_script: sub}\n", "is a folder"),
    "script outside": ("code_configuration: {code: code, scoring_script: ../score.py}\n", "outside the code folder"),
    "script absolute": ("code_configuration: {code: code, scoring_script: /etc/passwd}\n", "outside the code folder"),
    "script of another kind": ("code_configuration: {code: ., scoring_script: conda.yaml}\n", "not a .py file"),
    "script from Windows": ("code_configuration: {code: code, scoring_script: 'sub\\deep.py'}\n", "Write / between"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_refused(folder: Folder, name: str) -> None:
    folder.write("mlflow/MLmodel", "flavors: {}\n")
    text, expected = FILES[name]
    loaded = folder.load("d.yml", text)
    said = [str(problem) for problem in loaded.problems]
    assert len(said) == 1, said
    assert expected in said[0]


# What is added to a good deployment -> the note that it makes; the deployment stays good.
NOTED = {
    "compute": ("compute: azureml:c\n", "deployment.yml:3:compute: ignored: this machine is the compute"),
    "nodes": ("resources: {instance_count: 4}\n", "resources.instance_count: ignored: one machine scores"),
    "nodes in settings": ("settings: {instance_count: 4}\n", "settings.instance_count: ignored"),
    "curated environment": ("environment: azureml:e:1\n", "environment: ignored: the script runs in"),
    "image": ("environment: {image: x}\n", "environment.image: ignored: there is no container"),
    "conda": ("environment: {conda_file: conda.yaml}\n", "environment.conda_file: not built: building environments"),
    "conda inline": ("environment: {conda_file: {dependencies: []}}\n", "conda_file: not built"),
    "conda missing": ("environment: {conda_file: no.yaml}\n", '"no.yaml" is missing; building environments'),
    "size a fraction": ("mini_batch_size: 2.5\n", "mini_batch_size: 2.5 is cut to 2, as Azure's client does"),
    "metadata": ("tags: {a: 1}\nid: x\n", "not needed to score, ignored: tags, id"),
    "timeout zero": ("retry_settings: {timeout: 0}\n", "0 means the default on Azure"),
    "shadowed": (
        "mini_batch_size: 5\nsettings: {mini_batch_size: 6}\n",
        "deployment.yml:3:mini_batch_size: not used: deployment.yml:4 settings.mini_batch_size wins",
    ),
    "root beside settings": ("error_threshold: 5\nsettings: {mini_batch_size: 6}\n", "used, though Azure reads only"),
    "root variable beside settings": ("environment_variables: {A: x}\nsettings: {mini_batch_size: 6}\n", "Azure drops"),
    "shadowed variable": (
        "environment_variables: {A: x}\nsettings: {environment_variables: {A: z}}\n",
        "environment_variables.A: not used: deployment.yml:4 settings.environment_variables.A wins",
    ),
    "reference in a variable": ("environment_variables: {A: $B}\n", "environment_variables.A: passed on as written"),
    "summary with a name": ("output_action: summary_only\noutput_file_name: x.csv\n", "writes no predictions file"),
    "resources empty": ("resources:\n", "deployment.yml:3:resources: empty, ignored"),
    "environment empty": ("environment:\n", "deployment.yml:3:environment: empty, ignored"),
    "model name": ("model: {path: model, name: m, version: 2}\n", "model.name: ignored"),
}


@pytest.mark.parametrize("name", NOTED)
def test_noted(folder: Folder, name: str) -> None:
    extra, expected = NOTED[name]
    loaded = folder.azure(extra)
    spec = loaded.require()
    assert any(expected in note for note in spec.notes), spec.notes


def test_every_key_of_the_schema_is_used_or_spoken_of(folder: Folder) -> None:
    """Each ignored key, put into a good deployment, gives no problem and is named in a note."""
    for key in (*IGNORED, *sorted(METADATA - {"type"})):
        block, dot, name = key.partition(".")
        path = "path: model, " if block == "model" else ""
        extra = f"{block}: {{{path}{name}: 1}}\n" if dot else f"{key}: 1\n"
        loaded = folder.azure(extra)
        assert loaded.problems == (), key
        assert any(key in note for note in loaded.notes), key


@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_model_types(folder: Folder, kind: str) -> None:
    spec = folder.azure(f"model: {{path: ./model/, type: {kind}}}\n").require()
    assert spec.model == folder.root / "model"


def test_mixed_layouts(folder: Folder) -> None:
    text = (
        "mini_batch_size: 5\nretry_settings: {max_retries: 1, timeout: 9}\nenvironment_variables: {A: r, B: r}\n"
        "settings:\n  retry_settings: {timeout: 8}\n  environment_variables: {B: s, C: s}\n"
    )
    spec = folder.azure(text).require()
    assert (spec.mini_batch_size, spec.max_retries, spec.timeout) == (5, 1, 8.0)
    assert spec.environment == {"A": "r", "B": "s", "C": "s"}
    assert spec.sources["environment.B"] == "deployment.yml:8 settings.environment_variables.B"


def test_variables_are_text_as_written_and_never_expanded(folder: Folder) -> None:
    text = "environment_variables: {A: 1, B: true, C: on, D: 1.10, E: $HOME, F: '', G: 0x1F, H: 2020-01-01}\n"
    spec = folder.azure(text, environ={"HOME": "/root"}).require()
    assert spec.environment == {
        "A": "1", "B": "true", "C": "on", "D": "1.10", "E": "$HOME", "F": "", "G": "0x1F", "H": "2020-01-01",
    }  # fmt: skip


def test_script_in_a_subfolder_and_code_beside_the_deployment(folder: Folder) -> None:
    spec = folder.load("d.yml", "code_configuration: {code: code, scoring_script: sub/deep.py}\n").require()
    assert (spec.script, spec.code) == (folder.root / "code/sub/deep.py", folder.root / "code")
    spec = folder.load("d.yml", "code_configuration: {scoring_script: score.py}\n").require()
    assert spec.code == folder.root
    spec = folder.load("a/d.yml", "code_configuration: {code: ../code/, scoring_script: score.py}\n").require()
    assert spec.script == folder.root / "code/score.py"


@pytest.mark.parametrize("model", ["azureml:m:1", "model", "{path: gone}", "{name: m}"])
def test_the_model_flag_rescues_the_deployment(folder: Folder, model: str) -> None:
    spec = folder.azure(f"model: {model}\n", flags={"model": "model"}).require()
    assert (spec.model, spec.sources["model"]) == (folder.root / "model", "--model")
    assert any("(not used: --model is)" in note for note in spec.notes)


SETS = {
    "settings": ("settings: {mini_batch_size: 5}\n", "settings.mini_batch_size=9", "mini_batch_size", 9),
    "flat": ("mini_batch_size: 5\n", "mini_batch_size=9", "mini_batch_size", 9),
    "flat name, file in settings": ("settings: {mini_batch_size: 5}\n", "mini_batch_size=9", "mini_batch_size", 9),
    "settings name, file flat": ("mini_batch_size: 5\n", "settings.mini_batch_size=9", "mini_batch_size", 9),
    "nested": ("retry_settings: {max_retries: 1}\n", "retry_settings.timeout=90", "timeout", 90.0),
    "variable": ("", "environment_variables.A=1", "environment", {"A": "1"}),
    "variable over settings": (
        "settings: {environment_variables: {A: x}}\n", "environment_variables.A=1", "environment", {"A": "1"},
    ),
    "model": ("model: azureml:m:1\n", "model.path=model", "model", None),
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_set(folder: Folder, name: str) -> None:
    extra, assignment, field, expected = SETS[name]
    spec: JobSpec = folder.azure(extra, sets=(assignment,)).require()
    assert getattr(spec, field) == (expected if expected is not None else folder.root / "model")
    assert spec.sources[field].startswith("--set ")
    assert not any("Azure" in note for note in spec.notes)


OVERRIDE_NOTES = {
    "compute.instance_count=2": "--set:compute.instance_count: ignored: one machine scores",
    "compute.instance_type=a": "--set:compute.instance_type: ignored: the machine is measured",
    "output_dataset.path=p": "--set:output_dataset: ignored: -o OUT",
    "input_data=azureml:a:1": "--set:input_data: ignored: INPUT",
    "inputs.x.type=uri_file": "--set:inputs: ignored: INPUT",
    "properties.a=b": "not needed to score, ignored: properties",
    "retry_settings.timeout=0": "0 means the default on Azure",
}


@pytest.mark.parametrize("assignment", OVERRIDE_NOTES)
def test_overrides_of_an_invocation(folder: Folder, assignment: str) -> None:
    loaded = folder.azure("compute: azureml:c\n", sets=(assignment,))
    assert any(OVERRIDE_NOTES[assignment] in note for note in loaded.require().notes), loaded.notes


def test_the_job_is_named_by_an_override(folder: Folder) -> None:
    spec = folder.azure("", sets=("job_name=nightly",)).require()
    assert (spec.name, spec.sources["name"]) == ("nightly", "--set job_name")


def test_set_is_validated_as_the_file_is(folder: Folder) -> None:
    loaded = folder.azure("", sets=("settings.mini_batch=9", "nonsense", "settings.mini_batch_size=x"))
    said = sorted(str(problem) for problem in loaded.problems)
    assert [line.split(". ")[0] for line in said] == [
        '--set: "nonsense" has no value',
        "--set:settings.mini_batch: unknown key",
        '--set:settings.mini_batch_size: "x" is not a whole number',
    ]


def test_all_problems_at_once_but_not_without_end(folder: Folder) -> None:
    extra = "".join(f"zz{number}: 1\n" for number in range(500))
    problems = folder.azure(extra).problems
    assert len(problems) == 101
    assert "and 400 more problems" in str(problems[-1])


def test_paths_are_against_the_deployment_not_the_working_folder(folder: Folder, tmp_path: Path) -> None:
    folder.write("sub/m/w", "")
    text = "model: {path: m}\ncode_configuration: {code: ../code, scoring_script: score.py}\n"
    assert folder.load("sub/deployment.yml", text).require().model == tmp_path.resolve() / "sub/m"
