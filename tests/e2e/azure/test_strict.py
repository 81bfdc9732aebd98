"""`batchctl check --strict-azure` as a person meets it: every problem at once, place and remedy, exit code."""

from __future__ import annotations

import pytest

from tests.e2e.driver import REPO, Job

GOOD = """\
name: d
endpoint_name: e
type: model
compute: azureml:c
code_configuration: {code: code, scoring_script: score.py}
settings:
  mini_batch_size: 3
  error_threshold: -1
"""


def test_a_good_deployment_passes(job: Job) -> None:
    job.script()
    job.write("deployment.yml", GOOD)
    job.batchctl("check", "--strict-azure", "deployment.yml").expect(0).names("no problems")


@pytest.mark.parametrize("name", ["dataframe-per-file", "numpy-batch", "long-text", "parquet-files"])
def test_deployments_in_published_shapes_pass(job: Job, name: str) -> None:
    job.batchctl("check", "--strict-azure", REPO / "tests/deployments" / name).expect(0)


def test_all_problems_at_once_with_line_key_and_remedy(job: Job) -> None:
    job.script()
    text = GOOD.replace("endpoint_name: e\n", "").replace("-1", "3%") + "logging_level: debug\n"
    job.write("deployment.yml", text + "environment: {conda_file: conda.yml}\n")
    job.batchctl("check", "deployment.yml").expect(0)
    ran = job.batchctl("check", "--strict-azure", "deployment.yml").expect(2)
    ran.names(
        "4 problems:",
        "deployment.yml:endpoint_name: missing, and az ml requires it. Write endpoint_name: ...",
        "deployment.yml:7:settings.error_threshold: az ml wants a whole number here. Write digits only",
        "deployment.yml:8:logging_level: unknown to az ml at the root of type: model. Write settings.logging_level",
        'deployment.yml:9:environment.conda_file: "conda.yml" is missing, which az ml refuses. Check the path',
        "not ready to run",
    )


def test_a_problem_of_both_is_told_once(job: Job) -> None:
    job.script()
    job.write("deployment.yml", GOOD.replace("-1", "lots"))
    job.batchctl("check", "--strict-azure", "deployment.yml").expect(2).names("1 problem:", "is not a whole number")


def test_what_is_no_deployment(job: Job) -> None:
    job.script()
    ran = job.batchctl("check", "--strict-azure", "code/score.py").expect(2)
    ran.names("code/score.py: is no deployment of Azure's. Leave --strict-azure out, or give a deployment.yml")


def test_run_knows_no_such_switch(job: Job) -> None:
    job.script()
    job.write("deployment.yml", GOOD)
    job.batchctl("run", "--strict-azure", "deployment.yml", "in", "-o", "out").expect(2).names("--strict-azure")
