"""A complete Azure deployment folder for a test, as a team would hand it over, and what its script said.

deployment.yml  conda.yaml  model/weights.txt  code/score.py  code/witness.py  in/
"""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.driver import SCRIPTS, Job, Ran

HEAD = {
    "$schema": "https://azuremlschemas.azureedge.net/latest/modelBatchDeployment.schema.json",
    "name": "conformance",
    "endpoint_name": "conformance-batch",
    "type": "model",
    "model": {"path": "model"},
    "code_configuration": {"code": "code", "scoring_script": "score.py"},
    "environment": {"image": "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest", "conda_file": "conda.yaml"},
    "compute": "azureml:cpu-cluster",
    "resources": {"instance_count": 1},
}


class Deployment:
    """`settings`: those of deployment.yml. `script`: the text of score.py, which may `from witness import tell`."""

    def __init__(self, job: Job, script: str, **settings: Any) -> None:
        self.job = job
        self._told = job.folder / "told.jsonl"
        job.write("conda.yaml", "name: conformance\ndependencies: [python=3.11, pip]\n")
        job.write("model/weights.txt", "42\n")
        (job.code / "score.py").write_text(textwrap.dedent(script), encoding="utf-8")
        shutil.copyfile(SCRIPTS / "witness.py", job.code / "witness.py")
        variables = {**settings.pop("environment_variables", {}), "WITNESS": str(self._told)}
        given = {"max_concurrency_per_instance": 1, **settings, "environment_variables": variables}
        job.write("deployment.yml", yaml.safe_dump({**HEAD, "settings": given}, sort_keys=False))

    def files(self, *names: str) -> None:
        """Inputs, each with its own name as content; a name may hold folders."""
        for name in names:
            path = self.job.inputs / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name, encoding="utf-8")

    def run(self, *flags: str, inputs: str | Path = "in") -> Ran:
        """`batchctl run deployment.yml in -o out flags...`"""
        return self.job.batchctl("run", "deployment.yml", inputs, "-o", "out", *flags)

    def told(self, what: str) -> list[dict[str, Any]]:
        """What the script told by `tell(what, ...)`, in order, `pid` included."""
        lines = self._told.read_text(encoding="utf-8").splitlines() if self._told.exists() else []
        return [fact for fact in map(json.loads, lines) if fact["what"] == what]

    @property
    def rows(self) -> list[str]:
        """Lines of predictions.csv."""
        return self.job.out.predictions.decode().splitlines()

    def counts(self, *names: str) -> tuple[int, ...]:
        """Numbers of summary.json."""
        summary = self.job.out.summary
        return tuple(summary[name] for name in names)


def names(count: int, *, stem: str = "item", folder: str = "") -> list[str]:
    """`count` file names in plan order."""
    return [f"{folder}{stem}{number:03d}" for number in range(count)]
