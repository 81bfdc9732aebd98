"""The samples for CI: their shape, and their steps in a real shell with a stand-in for what a runner provides."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.packaging.stand_in import REPO, write_stand_in

SAMPLES = REPO / "packaging" / "ci"
GITHUB, GITLAB = SAMPLES / "github-actions.yml", SAMPLES / "gitlab-ci.yml"
SCRIPT = """import os, time
def run(mini_batch):
    if os.path.exists(os.environ["HOLD"]):
        open(os.environ["HOLD"] + ".reached", "w").close()
        while os.path.exists(os.environ["HOLD"]):
            time.sleep(0.01)
    return [os.path.basename(path) for path in mini_batch]
"""


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = loaded(GITHUB)["jobs"]["score"]["steps"]
    return found


@pytest.mark.parametrize(
    ("path", "schema"), [(GITHUB, "github-workflows"), (GITLAB, "gitlab-ci")], ids=["github", "gitlab"]
)
def test_it_fits_its_schema(path: Path, schema: str) -> None:
    checker = shutil.which("check-jsonschema") or pytest.skip("not run: there is no check-jsonschema here")
    transform = ["--data-transform", "gitlab-ci"] if path == GITLAB else []
    subprocess.run([checker, "--builtin-schema", f"vendor.{schema}", *transform, str(path)], check=True)


def test_no_expression_is_pasted_into_a_command() -> None:
    scripts = [step["run"] for step in steps() if "run" in step]
    assert scripts and not [script for script in scripts if "${{" in script]


@pytest.mark.parametrize("path", [GITHUB, GITLAB], ids=["github", "gitlab"])
def test_the_run_stops_itself_before_the_job_is_killed(path: Path) -> None:
    found = loaded(path)
    job = found["jobs"]["score"] if path == GITHUB else found["score"]
    variables = job["env"] if path == GITHUB else job["variables"]
    limit = int(variables["LIMIT"].removesuffix("m"))
    timeout = job["timeout-minutes"] if path == GITHUB else int(job["timeout"].removesuffix("m"))
    assert limit + 2 <= timeout  # and the minute of --grace, and some time to end


def test_only_one_job_at_a_time_works_on_an_out() -> None:
    assert loaded(GITHUB)["concurrency"] == {"group": "score-digits", "cancel-in-progress": False}
    assert loaded(GITLAB)["score"]["resource_group"] == "score-digits"


def test_reports_are_kept_however_the_job_ends() -> None:
    kept = [step for step in steps() if step["name" if "name" in step else "uses"] in ("Collect", "Keep the reports")]
    assert [step["if"] for step in kept] == ["${{ always() }}"] * 2
    assert loaded(GITLAB)["score"]["artifacts"]["when"] == "always"


class Runner:
    """A checkout of a user's repository, a disk for OUT, and the environment that a runner gives its steps."""

    def __init__(self, folder: Path, url: str, checksum: str) -> None:
        self.checkout, self.out, self.step = folder / "checkout", folder / "disk" / "out", folder / "step.md"
        self.outputs, self.hold = folder / "outputs", folder / "hold"
        (self.checkout / "ci").mkdir(parents=True)
        (folder / "in").mkdir()
        for number in range(4):
            (folder / "in" / f"item{number}").touch()
        shutil.copy(REPO / "packaging" / "install.sh", self.checkout / "ci")
        (self.checkout / "score.py").write_text(SCRIPT)
        (self.checkout / "requirements.lock").touch()
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "HOLD": str(self.hold),
            "BATCHCTL_URL": url, "BATCHCTL_SHA256": checksum, "INPUT": str(folder / "in"), "OUT": str(self.out),
            "GITHUB_OUTPUT": str(self.outputs), "PIP_NO_INDEX": "1",
        }  # fmt: skip

    def runs(self, script: str, **more: str) -> int:
        """As a runner does it: the script in a file, `bash -e` with pipefail."""
        path = self.checkout.parent / "step.sh"
        path.write_text(script)
        argv = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(path)]
        with subprocess.Popen(
            argv, cwd=self.checkout, env={**self.environment, **more}, start_new_session=True
        ) as process:
            try:
                return process.wait(timeout=90)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise

    def output(self, name: str) -> str:
        return dict(line.split("=", 1) for line in self.outputs.read_text().splitlines())[name]


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    served = tmp_path / "served"
    served.mkdir()
    data = write_stand_in(served / "batchctl").read_bytes()
    handler = functools.partial(Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/batchctl"
        yield Runner(tmp_path / "runner", url, hashlib.sha256(data).hexdigest())
        server.shutdown()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def github(runner: Runner, variables: Mapping[str, str]) -> dict[str, int]:
    """The exit code of each step with a command; after one that failed only those that always run."""
    codes: dict[str, int] = {}
    job = {**loaded(GITHUB)["jobs"]["score"]["env"], **runner.environment, **variables}
    for step in steps():
        if "run" in step and (not any(codes.values()) or step.get("if") == "${{ always() }}"):
            codes[step["name"]] = runner.runs(step["run"], **job, GITHUB_STEP_SUMMARY=str(runner.step))
    return codes


def gitlab(runner: Runner, variables: Mapping[str, str]) -> int:
    """The exit code of before_script and script, which share a shell; after_script has one of its own."""
    job = loaded(GITLAB)["score"]
    environment = {**job["variables"], **runner.environment, **variables, "GITLAB_CI": "true"}
    code = runner.runs("\n".join([*job["before_script"], *job["script"]]), **environment)
    assert runner.runs("\n".join(job["after_script"]), **environment) == 0
    return code


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


REPORTS = {"summary.json", "summary.md", "attempts.csv", "logs"}


@pytest.mark.slow
def test_github_a_job_that_is_stopped_and_the_next_one(runner: Runner) -> None:
    runner.hold.touch()
    # It is in run() when its time is up, and may not finish: --grace is over at once.
    codes = github(runner, {"LIMIT": "10s", "BATCHCTL_GRACE": "0"})
    assert codes == {"Install": 0, "Score": 0, "Collect": 0}
    assert runner.output("exit-code") == "75"
    assert "stopped, exit code 75" in runner.step.read_text()
    assert names(runner.checkout / "artefacts") == REPORTS
    runner.hold.unlink()
    assert github(runner, {}) == {"Install": 0, "Score": 0, "Collect": 0}
    assert runner.output("exit-code") == "0"
    assert "### batchctl: score: finished" in runner.step.read_text()
    assert json.loads((runner.checkout / "artefacts" / "summary.json").read_text())["epochs"] == 2
    assert (runner.out / "predictions.csv").read_text() == "prediction\nitem0\nitem1\nitem2\nitem3\n"


@pytest.mark.slow
def test_github_a_job_that_fails_keeps_its_reports(runner: Runner) -> None:
    (runner.checkout / "score.py").write_text("def init(): raise KeyError('weights')\ndef run(b): return b\n")
    assert github(runner, {}) == {"Install": 0, "Score": 4, "Collect": 0}
    assert "KeyError: 'weights'" in runner.step.read_text()
    assert {"summary.json", "summary.md"} <= names(runner.checkout / "artefacts")


@pytest.mark.slow
def test_github_a_wrong_checksum_ends_the_job_before_anything_runs(runner: Runner) -> None:
    runner.environment["BATCHCTL_SHA256"] = "0" * 64
    codes = github(runner, {})
    assert codes["Install"] == 1 and "Score" not in codes
    assert not (runner.checkout / ".tools" / "bin" / "batchctl").exists()


@pytest.mark.slow
def test_gitlab_a_job_that_is_stopped_and_the_next_one(runner: Runner) -> None:
    runner.hold.touch()
    assert gitlab(runner, {"LIMIT": "10s", "BATCHCTL_GRACE": "0"}) == 75
    assert names(runner.checkout / "batchctl-reports") == REPORTS
    assert "exit code 75" in (runner.checkout / "batchctl-reports" / "summary.md").read_text()
    runner.hold.unlink()
    assert gitlab(runner, {}) == 0
    assert names(runner.checkout / "batchctl-reports") == {*REPORTS, "predictions.csv"}
    job = loaded(GITLAB)["score"]
    assert (job["allow_failure"]["exit_codes"], job["retry"]["exit_codes"]) == ([75], [75])


def test_what_the_samples_name_exists() -> None:
    for path in (GITHUB, GITLAB):
        for name in re.findall(r"(?:packaging|docs)/[\w./-]*\w", path.read_text()):
            assert (REPO / name).exists(), name
