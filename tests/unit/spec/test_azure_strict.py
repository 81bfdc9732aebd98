"""--strict-azure: the verdicts of azure-ai-ml 1.35.2's own loaders on the same files, noted down."""

from __future__ import annotations

import pytest

from tests.unit.spec.conftest import Folder

CODE = "code_configuration: {code: code, scoring_script: score.py}\n"
FLAT = f"name: d\nendpoint_name: e\n{CODE}"
MODEL = f"{FLAT}type: model\ncompute: azureml:c\n"
NEW = f"{MODEL}settings:\n  mini_batch_size: 3\n"

# What Azure's client loads: the strict check must have nothing to say of it.
TAKEN = {
    "flat": FLAT,
    "settings": NEW,
    "type in capitals": NEW.replace("model", "MODEL", 1),
    "type without settings": MODEL,
    "root values beside settings": f"{NEW}error_threshold: 3\nenvironment_variables: {{A: 1}}\n",
    "nodes in settings": f"{NEW}  instance_count: 2\n",
    "nodes in resources": f"{NEW}resources: {{instance_count: '2', locations: [a], docker_args: a, shm_size: 2g}}\n",
    "compute local": f"{FLAT}compute: local\n",
    "a quoted number": f'{FLAT}mini_batch_size: " 20 "\n',
    "a whole fraction": f"{FLAT}mini_batch_size: 2.0\n",
    "a fraction": f"{FLAT}mini_batch_size: 2.5\n",
    "a number with underscores": f"{FLAT}mini_batch_size: 1_000\n",
    "a threshold below minus one": f"{FLAT}error_threshold: -7\n",
    "no time limit": f"{FLAT}retry_settings: {{timeout: 0}}\n",
    "a long time limit": f"{FLAT}retry_settings: {{timeout: 999999}}\n",
    "empty retry_settings": f"{FLAT}retry_settings: {{}}\n",
    "action in capitals": f"{FLAT}output_action: Append_Row\n",
    "any level": f"{FLAT}logging_level: loud\n",
    "model path": f"{FLAT}model: {{path: model, type: Custom_Model}}\n",
    "model version a number": f"{FLAT}model: {{path: model, name: m, version: 1.0}}\n",
    "environment by name": f"{FLAT}environment: azureml:e@latest\n",
    "environment of a registry": f"{FLAT}environment: azureml://registries/r/environments/e/versions/1\n",
    "conda without image": f"{FLAT}environment: {{conda_file: conda.yaml}}\n",
    "conda inline": f"{FLAT}environment: {{image: x, conda_file: {{dependencies: []}}}}\n",
    "build": f"{FLAT}environment: {{build: {{path: code, dockerfile_path: Dockerfile}}}}\n",
    "read-only keys": f"{FLAT}creation_context: {{a: b}}\nprovisioning_state: x\n",
    "labels": f"{FLAT}$schema: s\nid: x\ndescription: d\ntags: {{a: 1, b: {{c: d}}}}\nproperties: {{a: 1}}\n",
    "scalars of all kinds as variables": f"{FLAT}environment_variables: {{A: 1, B: true, C: 1.5}}\n",
    "a merge key": f"<<: {{mini_batch_size: 3}}\n{FLAT}",
}


@pytest.mark.parametrize("name", TAKEN)
def test_taken(folder: Folder, name: str) -> None:
    assert folder.load("d.yml", TAKEN[name], strict_azure=True).problems == ()


# Text -> the one problem; all but those of `BOTH` are taken without the switch.
REFUSED = {
    "settings without type": (f"{FLAT}settings: {{mini_batch_size: 3}}\n", "settings: unknown to az ml without a type"),
    "flat keys with type": (f"{MODEL}mini_batch_size: 3\n", "unknown to az ml at the root of type: model"),
    "flat keys beside settings": (f"{NEW}output_action: append_row\n", "Write settings.output_action"),
    "flat retry_settings": (f"{NEW}retry_settings: {{timeout: 3}}\n", "Write settings.retry_settings"),
    "no name": (FLAT.replace("name: d\n", "", 1), "d.yml:name: missing, and az ml requires it"),
    "no endpoint": (FLAT.replace("endpoint_name: e\n", ""), "d.yml:endpoint_name: missing, and az ml requires it"),
    "no compute": (NEW.replace("compute: azureml:c\n", ""), "d.yml:compute: missing, and az ml requires it"),
    "endpoint without value": (FLAT.replace("name: e", "name:"), "d.yml:2:endpoint_name: has no value"),
    "compute without value": (NEW.replace("compute: azureml:c", "compute:"), "compute: has no value"),
    "tags without value": (f"{FLAT}tags:\n", "tags: has no value"),
    "no size in settings": (f"{MODEL}settings: {{error_threshold: 1}}\n", "settings: names no mini_batch_size"),
    "nodes twice": (f"{NEW}  instance_count: 2\nresources: {{instance_count: 2}}\n", "az ml refuses it beside"),
    "nodes beside any resources": (f"{NEW}  instance_count: 2\nresources: {{instance_type: x}}\n", "beside resources"),
    "nodes at the root": (f"{FLAT}instance_count: 2\n", "instance_count: unknown to az ml at the root"),
    "nodes a word": (f"{FLAT}resources: {{instance_count: two}}\n", "az ml wants a whole number here"),
    "name a number": (FLAT.replace("name: d", "name: 3", 1), 'd.yml:1:name: az ml wants a text here. Write "3"'),
    "name a date": (FLAT.replace("name: d", "name: 2020-01-01", 1), "az ml wants a text here"),
    "description a switch": (f"{FLAT}description: yes\n", "az ml wants a text here"),
    "tags a list": (f"{FLAT}tags: [a]\n", "az ml wants a mapping here"),
    "level a switch": (f"{NEW}  logging_level: on\n", "az ml wants a text here"),
    "threshold in percent": (f"{FLAT}error_threshold: 3%\n", "az ml wants a whole number here. Write digits only"),
    "timeout with a unit": (f"{NEW}  retry_settings: {{timeout: 90s}}\n", "retry_settings.timeout: az ml wants"),
    "concurrency by itself": (f"{NEW}  max_concurrency_per_instance: auto\n", "az ml wants a whole number here"),
    "size a quoted decimal": (f'{FLAT}mini_batch_size: "2.0"\n', "az ml wants a whole number here"),
    "summary with a name": (
        f"{NEW}  output_action: summary_only\n  output_file_name: x.csv\n", "refuses it with output_action",
    ),
    "conda file missing": (f"{FLAT}environment: {{conda_file: no.yaml}}\n", '"no.yaml" is missing, which'),
    "conda file a folder": (f"{FLAT}environment: {{conda_file: code}}\n", '"code" is a folder, which az ml refuses'),
    "build folder missing": (f"{FLAT}environment: {{build: {{path: gone}}}}\n", "environment.build.path: "),
    "build key unknown": (f"{FLAT}environment: {{build: {{path: code, foo: 1}}}}\n", "build.foo: unknown key"),
    "environment by bare name": (f"{FLAT}environment: sklearn:1\n", 'does not take "sklearn:1" for an environment'),
    "system": (f"{FLAT}environment: {{image: x, os_type: beos}}\n", '"beos" is no system'),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_only_by_strict(folder: Folder, name: str) -> None:
    text, expected = REFUSED[name]
    assert folder.load("d.yml", text).problems == ()
    (problem,) = folder.load("d.yml", text, strict_azure=True).problems
    assert expected in str(problem)
    assert problem.remedy


# Refused with and without the switch, and said once.
BOTH = {
    "settings without value": (f"{MODEL}settings:\n", "settings: is empty"),
    "action of the service": (f"{FLAT}output_action: AppendRow\n", 'Did you mean "append_row"?'),
    "size in bytes": (f"{FLAT}mini_batch_size: 10kb\n", "only tabular inputs have"),
    "bare model path": (f"{FLAT}model: ./model\n", "Write model: {path: ...}"),
    "unknown root key": (f"{FLAT}colour: red\n", "colour: unknown key"),
    "unknown key in settings": (f"{NEW}  colour: red\n", "settings.colour: unknown key"),
    "model missing": (f"{FLAT}model: {{path: gone}}\n", '"gone" is missing'),
}


@pytest.mark.parametrize("name", BOTH)
def test_refused_by_both_is_said_once(folder: Folder, name: str) -> None:
    text, expected = BOTH[name]
    for strict in (False, True):
        (problem,) = folder.load("d.yml", text, strict_azure=strict).problems
        assert expected in str(problem)


def test_a_flag_does_not_make_the_file_right(folder: Folder) -> None:
    text = f"{FLAT}model: ./model\nerror_threshold: 3%\n"
    flags = {"model": "model", "error_threshold": "4"}
    assert folder.load("d.yml", text, flags=flags).problems == ()
    problems = folder.load("d.yml", text, flags=flags, strict_azure=True).problems
    assert sorted(problem.key for problem in problems) == ["error_threshold", "model"]


OVERRIDES = {
    "mini_batch_size=5": "",
    "compute.instance_count=2": "",
    "compute.instance_type=x": "",
    "error_threshold=3": "",
    "retry_settings.max_retries=1": "",
    "retry_settings.timeout=90": "",
    "output_file_name=x.csv": "",
    "output_dataset.datastore_id=d": "",
    "output_dataset.path=p": "",
    "input_data=x": "",
    "output_data=x": "",
    "job_name=n": "",
    "properties.a=b": "",
    "dataset=x": "",
    "inputs.x.type=uri_file": "",
    "instance_count=2": "takes no such override",
    "max_retries=1": "unknown key. Write retry_settings.max_retries",
    "logging_level=debug": "takes no such override",
    "output_action=summary_only": "takes no such override",
    "max_concurrency_per_instance=2": "takes no such override",
    "environment_variables.A=1": "takes no such override",
    "settings.mini_batch_size=5": "takes no such override. Write --set mini_batch_size=...",
    "settings.logging_level=debug": "takes no such override. Write it in the file",
    "mini_batch_size=10kb": "only tabular inputs have",
    "error_threshold=3%": "az ml wants a whole number here",
}


@pytest.mark.parametrize("assignment", OVERRIDES)
def test_overrides(folder: Folder, assignment: str) -> None:
    said = [str(problem) for problem in folder.load("d.yml", NEW, sets=(assignment,), strict_azure=True).problems]
    expected = OVERRIDES[assignment]
    assert len(said) == bool(expected), said
    assert not expected or expected in said[0]


def test_only_deployments_are_azures(folder: Folder) -> None:
    (problem,) = folder.toml(strict_azure=True).problems
    assert "is no deployment of Azure's" in str(problem)
    task = "task: {type: run_function, code: code, entry_script: score.py}\n"
    (problem,) = folder.load("p.yml", f"type: parallel\n{task}", strict_azure=True).problems
    assert "is a parallel job, and the strict rules are those of deployments" in str(problem)
