"""`type: parallel` through the command: a parallel job of Azure ML, as a step or component, unmodified."""

from __future__ import annotations

import pytest

from tests.e2e.driver import Job, wait_for

# The shape of Microsoft's own examples, a misspelt option included.
COMPONENT = """\
$schema: https://azuremlschemas.azureedge.net/latest/parallelComponent.schema.json
name: batch_score
display_name: Batch score
version: 1
description: scores
type: parallel
is_deterministic: false
inputs:
  job_data_path:
    type: uri_folder
    path: ../in
    mode: ro_mount
  score_model:
    type: uri_folder
    path: ./my model
outputs:
  job_output_path: {type: uri_folder}
  job_output_file: {type: uri_file, path: "azureml://datastores/d/paths/${{name}}/agg.csv"}
input_data: ${{inputs.job_data_path}}
mini_batch_size: "2"
resources:
  instance_count: 2
max_concurrency_per_instance: 2
error_threshold: -1
mini_batch_error_threshold: 5
logging_level: "DEBUG"
retry_settings:
  max_retries: 2
  timeout: 60
task:
  type: run_function
  code: ../code
  entry_script: score.py
  environment: azureml:env:1
  program_arguments: >-
    --model ${{inputs.score_model}}
    --to ${{outputs.job_output_path}}
    --allowed_failed_percent 30
    --task_overhead_timeout 1200
    --progress_update_timeout 600
    --first_task_creation_timeout 600
    --copy_logs_to_parent True
    --resource_monitor_interva 20
  append_row_to: ${{outputs.job_output_file}}
"""
SCRIPT = """
import argparse
import os
import sys

DRIVERS = ["output", "client_sdk_version", "scoring_module_name", "mini_batch_size", "run_invocation_timeout"]
DRIVERS += ["run_max_try", "process_count_per_node", "output_action", "append_row_file_name", "error_threshold"]
DRIVERS += ["append_row_dataframe_header"]


def init():
    global ARGS, REST
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model")
    parser.add_argument("--to")
    parser.add_argument("--logging_level")
    for name in DRIVERS:
        parser.add_argument("--" + name)
    ARGS, REST = parser.parse_known_args()


def run(mini_batch):
    with open(os.path.join(ARGS.model, "weights"), encoding="utf-8") as file:
        weights = file.read()
    rows = []
    for path in mini_batch:
        name = os.path.basename(path)
        if "bad" in name:
            raise ValueError("a bad file")
        with open(os.path.join(ARGS.to, name + ".own"), "w", encoding="utf-8") as file:
            file.write(name)
        rows.append(" ".join([name, weights, ARGS.logging_level, *REST]))
    return rows
"""


def prepared(job: Job, text: str = COMPONENT, *, items: int = 5) -> list[str]:
    """Writes all there is to the job; returns the rows."""
    (job.code / "score.py").write_text(SCRIPT)
    job.write("spec/my model/weights", "w7")
    job.write("spec/job.yml", text)
    job.items(items)
    return [f"item{number:03d}.txt w7 DEBUG --resource_monitor_interva 20" for number in range(items)]


def test_a_component_runs_as_it_is(job: Job) -> None:
    rows = prepared(job)
    ran = job.batchctl("run", "spec/job.yml", "-o", "out").expect(0)
    ran.names("--task_overhead_timeout: ignored", "is_deterministic: ignored", "resources.instance_count: ignored")
    assert (job.out.path / "agg.csv").read_text().splitlines() == rows
    assert sorted(path.name for path in job.out.path.glob("*.own")) == [f"item{n:03d}.txt.own" for n in range(5)]
    assert (job.out.summary["batches"], job.out.summary["name"]) == (3, "batch_score")
    job.batchctl("verify", "out").expect(0)


def test_input_on_the_command_line_wins(job: Job) -> None:
    prepared(job)
    (job.folder / "other").mkdir()
    (job.folder / "other/one").touch()
    job.batchctl("run", "spec/job.yml", "other", "-o", "out").expect(0)
    assert (job.out.path / "agg.csv").read_text().split()[0] == "one"
    assert job.out.summary["items"] == 1


def test_without_append_row_to_rows_are_counted_only(job: Job) -> None:
    prepared(job, COMPONENT.replace("  append_row_to: ${{outputs.job_output_file}}\n", ""))
    job.batchctl("run", "spec/job.yml", "-o", "out").expect(0)
    assert not list(job.out.path.glob("*.csv"))
    assert len(list(job.out.path.glob("*.own"))) == job.out.summary["items_succeeded"] == 5


def test_killed_and_resumed_the_output_is_the_same(job: Job) -> None:
    """The output folder is another one in each worker; nothing of that shows."""
    rows = prepared(job, items=12)
    slow = SCRIPT.replace("    rows = []\n", "    import time\n    time.sleep(0.05)\n    rows = []\n")
    (job.code / "score.py").write_text(slow)
    words = ("run", "spec/job.yml", "-o", "out")
    with job.start(*words) as started:
        wait_for(lambda: job.out.path.exists() and list(job.out.path.glob("*.own")), "the first files of the script")
        started.kill()
    job.batchctl(*words).expect(0)
    assert (job.out.path / "agg.csv").read_text().splitlines() == rows
    assert len(list(job.out.path.glob("*.own"))) == 12
    job.batchctl("verify", "out").expect(0)


# name: (old, new, exit code, words); three of six mini-batches hold a bad file
THRESHOLDS = {
    "percent of the example": ("", "", 3, ("3 of 6 mini-batches failed; 30% may fail",)),
    "percent that suffices": ("percent 30", "percent 50", 0, ()),
    "count as a key": (
        "error_threshold: 5\n", "error_threshold: 1\n", 3, ("the mini-batch error threshold is 1",),
    ),
    "count as an option": (
        "mini_batch_error_threshold: 5\n", "", 3, ("the mini-batch error threshold is 0",),
    ),
    "files as an option": ("error_threshold: -1\n", "", 3, ("the error threshold is 1",)),
}  # fmt: skip
OPTIONS = {"count as an option": "--allowed_failed_count 0", "files as an option": "--error_threshold 1"}


@pytest.mark.parametrize("name", THRESHOLDS)
def test_thresholds(job: Job, name: str) -> None:
    old, new, code, words = THRESHOLDS[name]
    text = COMPONENT.replace(old, new, 1) if old else COMPONENT
    assert not old or text != COMPONENT
    option = OPTIONS.get(name)
    if option is not None:
        text = text.replace("--allowed_failed_percent 30", option)
    prepared(job, text, items=0)
    for number in range(6):
        (job.inputs / f"{number}a").touch()
        (job.inputs / f"{number}b-{'bad' if number % 2 else 'good'}").touch()
    job.batchctl("run", "spec/job.yml", "-o", "out").expect(code).names(*words)


# name: (old, new, key, words)
REFUSED = {
    "a size in bytes": ('"2"', "10kb", "mini_batch_size", "tabular inputs, which come later"),
    "a tabular input": ("type: uri_folder\n    path: ../in", "type: mltable\n    path: ../in",
                        "inputs.job_data_path.type", "is a tabular input, which comes later"),
    "ranks": ("--copy_logs_to_parent True", "--rank_mini_batch_count 4",
              "task.program_arguments.--rank_mini_batch_count", "mini-batches without input are not supported"),
    "an input on Azure": ("./my model", "azureml:m:1", "task.program_arguments", "is on Azure"),
    "an unknown key": ("logging_level", "loging_level", "loging_level", "unknown key"),
    "a task of another type": ("run_function", "model", "task.type", "are not supported"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(job: Job, name: str) -> None:
    old, new, key, words = REFUSED[name]
    assert old in COMPONENT
    prepared(job, COMPONENT.replace(old, new, 1))
    (problem,) = job.batchctl("check", "spec/job.yml", "--json").expect(2).json["problems"]
    assert problem["key"] == key
    assert words in problem["what"]
    assert problem["remedy"]


def test_a_local_copy_by_set(job: Job) -> None:
    rows = prepared(job, COMPONENT.replace("./my model", "azureml:m:1"))
    copy = "inputs.score_model.path=my model"
    job.batchctl("run", "spec/job.yml", "-o", "out", "--set", copy).expect(0)
    assert (job.out.path / "agg.csv").read_text().splitlines() == rows


def test_a_pipeline_is_refused_in_one_line(job: Job) -> None:
    prepared(job, "type: pipeline\njobs:\n  score: {type: parallel}\n")
    (problem,) = job.batchctl("check", "spec/job.yml", "--json").expect(2).json["problems"]
    assert problem["key"] == "type"
    assert "pipeline" in problem["what"]
