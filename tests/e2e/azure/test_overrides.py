"""V1: what an invocation on Azure may override, under Azure's names, through --set."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.driver import Job, Ran

NEW = """\
name: d
endpoint_name: e
type: model
compute: azureml:c
code_configuration: {code: code, scoring_script: score.py}
settings:
  mini_batch_size: 3
  error_threshold: 4
  output_file_name: a.csv
  retry_settings: {max_retries: 5, timeout: 60}
"""
FLAT = NEW.replace("type: model\n", "").replace("settings:\n", "").replace("\n  ", "\n")

# --set -> the field and its value; Azure's job schema accepts these, and so does --strict-azure.
TAKEN: dict[str, tuple[str, Any]] = {
    "mini_batch_size=7": ("mini_batch_size", 7),
    "error_threshold=9": ("error_threshold", "9"),
    "retry_settings.max_retries=1": ("max_retries", 1),
    "retry_settings.timeout=90": ("timeout", 90.0),
    "output_file_name=b.csv": ("output_file_name", "b.csv"),
    "job_name=nightly": ("name", "nightly"),
}
# Accepted, and nothing that one machine would heed: a note says so.
NOTED = {
    "compute.instance_count=4": "compute.instance_count: ignored: one machine scores",
    "compute.instance_type=Standard_DS3": "compute.instance_type: ignored",
    "output_dataset.datastore_id=azureml:d": "output_dataset: ignored: -o OUT",
    "output_dataset.path=p": "output_dataset: ignored: -o OUT",
    "input_data=azureml:x:1": "input_data: ignored: INPUT",
    "output_data=x": "output_data: ignored: -o OUT",
    "dataset=azureml:x:1": "dataset: ignored: INPUT",
    "inputs.x.type=uri_file": "inputs: ignored: INPUT",
    "properties.a=b": "ignored: endpoint_name, type, properties",
}
# Rejected by Azure's job schema. batchctl knows better for these ...
LENIENT: dict[str, tuple[str, Any]] = {
    "settings.mini_batch_size=7": ("mini_batch_size", 7),
    "logging_level=debug": ("logging_level", "debug"),
    "output_action=summary_only": ("output_action", "summary_only"),
    "max_concurrency_per_instance=2": ("workers", 2),
    "environment_variables.A=1": ("environment.A", "(set)"),
    "instance_count=2": ("workers", None),
}
# ... but not for these.
REFUSED = {
    "max_retries=1": ("max_retries", "Write retry_settings.max_retries"),
    "mini_batch_size=10kb": ("mini_batch_size", "Write the number of files"),
    "compute.nodes=2": ("compute.nodes", "Remove it"),
    "colour=red": ("colour", "Remove it"),
}


def checked(job: Job, text: str, *flags: str, code: int) -> Ran:
    if not (job.code / "score.py").exists():
        job.script()
    job.write("d.yml", text)
    return job.batchctl("check", "d.yml", *flags, "--json").expect(code)


def value(ran: Ran, name: str) -> Any:
    return next(row["value"] for row in ran.json["fields"] if row["field"] == name)


@pytest.mark.parametrize("layout", [NEW, FLAT], ids=["settings", "flat"])
@pytest.mark.parametrize("assignment", TAKEN)
def test_v1_taken(job: Job, assignment: str, layout: str) -> None:
    name, expected = TAKEN[assignment]
    assert value(checked(job, layout, "--strict-azure", "--set", assignment, code=0), name) == expected


@pytest.mark.parametrize("assignment", NOTED)
def test_v1_taken_with_a_note(job: Job, assignment: str) -> None:
    ran = checked(job, NEW, "--strict-azure", "--set", assignment, code=0)
    assert any(NOTED[assignment] in note for note in ran.json["notes"]), ran.json["notes"]


@pytest.mark.parametrize("assignment", LENIENT)
def test_v1_rejected_by_azure_only(job: Job, assignment: str) -> None:
    name, expected = LENIENT[assignment]
    assert value(checked(job, NEW, "--set", assignment, code=0), name) == expected
    (problem,) = checked(job, NEW, "--strict-azure", "--set", assignment, code=2).json["problems"]
    assert problem["key"] == assignment.partition("=")[0]
    assert "az ml batch-endpoint invoke takes no such override" in problem["what"]


@pytest.mark.parametrize("assignment", REFUSED)
def test_v1_rejected(job: Job, assignment: str) -> None:
    key, remedy = REFUSED[assignment]
    (problem,) = checked(job, NEW, "--set", assignment, code=2).json["problems"]
    assert problem["key"] == key
    assert remedy in problem["remedy"]


def test_v1_an_override_reaches_the_run(job: Job) -> None:
    job.script()
    job.write("d.yml", NEW)
    rows = job.items(7)
    sets = ("mini_batch_size=2", "output_file_name=b.csv", "retry_settings.timeout=20", "compute.instance_count=3")
    job.batchctl("run", "d.yml", "in", "-o", "out", *(word for text in sets for word in ("--set", text))).expect(0)
    assert (job.out.path / "b.csv").read_text().splitlines() == rows
    assert job.out.summary["batches"] == 4
