"""Y1 to Y21: every row of Azure's deployment schema and of its loaders' behaviour, through `batchctl check`.

Each case is a file, checked twice: as batchctl takes it, and with --strict-azure, as Azure's own client does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.driver import Job, Ran

CODE = "code_configuration: {code: ../code, scoring_script: score.py}\n"
FLAT = f"name: d\nendpoint_name: e\n{CODE}"
MODEL = f"{FLAT}type: model\ncompute: azureml:c\n"
NEW = f"{MODEL}settings:\n  mini_batch_size: 3\n"


@dataclass(frozen=True)
class Case:
    """A deployment; the fields that `check` must show; words of its notes; the keys of its problems in both modes.

    `strict` None: the same keys as without the switch.
    """

    text: str
    fields: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    strict: tuple[str, ...] | None = None


def ok(text: str, *notes: str, **fields: Any) -> Case:
    """Taken by both."""
    return Case(text, fields, notes)


def lenient(text: str, key: str, *notes: str, **fields: Any) -> Case:
    """Taken by batchctl, refused by Azure for this key."""
    return Case(text, fields, notes, strict=(key,))


def refused(text: str, key: str) -> Case:
    """Refused by both for this key."""
    return Case(text, problems=(key,))


CASES = {
    # The matrix of the loaders.
    "Y1-no type, flat keys": ok(f"{FLAT}mini_batch_size: 3\n", mini_batch_size=3),
    "Y2-no type, settings": lenient(f"{FLAT}settings: {{mini_batch_size: 3}}\n", "settings", mini_batch_size=3),
    "Y3-type, settings": ok(NEW, mini_batch_size=3),
    "Y4-type, flat keys": lenient(f"{MODEL}mini_batch_size: 3\n", "mini_batch_size", mini_batch_size=3),
    "Y5-root error_threshold beside settings": ok(
        f"{NEW}  error_threshold: 4\nerror_threshold: 3\n", "error_threshold: not used", error_threshold="4"
    ),
    # The root keys.
    "Y7-labels": ok(
        f"{FLAT}$schema: s\nid: x\ndescription: d\ntags: {{a: 1}}\nproperties: {{a: 1}}\n",
        "not needed to score, ignored: endpoint_name, $schema, id", name="d",
    ),
    "Y7-read-only keys": ok(f"{FLAT}creation_context: {{a: b}}\nprovisioning_state: x\n", "ignored: "),
    "Y7-no name": lenient(FLAT.replace("name: d\n", "", 1), "name", "no name, which Azure requires", name="spec"),
    "Y7-no endpoint_name": lenient(FLAT.replace("endpoint_name: e\n", ""), "endpoint_name"),
    "Y7-unknown key": refused(f"{FLAT}colour: red\n", "colour"),
    "Y8-type in another case": ok(NEW.replace("type: model", "type: Model"), mini_batch_size=3),
    "Y8-pipeline": Case("type: pipeline\nname: d\n", problems=("type",), strict=("type", "endpoint_name")),
    "Y8-pipeline by job_definition": Case(
        "name: d\njob_definition: azureml:j:1\n", problems=("job_definition",),
        strict=("endpoint_name", "job_definition"),
    ),
    "Y9-model path": ok(f"{FLAT}model: {{path: ../models/digits, type: custom_model}}\n"),
    "Y9-no model": ok(FLAT, model=None),
    "Y9-registered model": refused(f"{FLAT}model: azureml:digits@latest\n", "model"),
    "Y9-model of a registry": refused(f"{FLAT}model: azureml://registries/r/models/m/versions/1\n", "model"),
    "Y9-bare path": refused(f"{FLAT}model: ../models/digits\n", "model"),
    "Y9-path missing": refused(f"{FLAT}model: {{path: ../models/gone}}\n", "model.path"),
    "Y10-code above the file": ok(FLAT),
    "Y10-script in a folder": ok(FLAT.replace("score.py", "sub/deep.py")),
    "Y10-unknown key": refused(FLAT.replace("score.py}", "score.py, entry: x}"), "code_configuration.entry"),
    "Y10-code missing": refused(FLAT.replace("../code", "../gone"), "code_configuration.code"),
    "Y10-script missing": refused(FLAT.replace("score.py", "gone.py"), "code_configuration.scoring_script"),
    "Y11-registered environment": ok(f"{FLAT}environment: azureml:e:1\n", "environment: ignored"),
    "Y11-image and conda file": ok(
        f"{FLAT}environment: {{name: n, image: x, conda_file: conda.yml}}\n",
        "environment.image: ignored", "environment.name: ignored",
    ),
    "Y11-conda inline, no image": ok(f"{FLAT}environment: {{conda_file: {{dependencies: []}}}}\n"),
    "Y11-build": ok(f"{FLAT}environment: {{build: {{path: .}}}}\n", "environment.build: ignored"),
    "Y11-conda file missing": lenient(f"{FLAT}environment: {{conda_file: no.yml}}\n", "environment.conda_file"),
    "Y12-variables": Case(
        f"{FLAT}environment_variables: {{A: 1, B: true, C: $HOME}}\n",
        {"environment.A": "(set)", "environment.B": "(set)"}, ("environment_variables.C: passed on as written",),
    ),
    "Y12-variables in settings": Case(
        f"{NEW}  environment_variables: {{A: on}}\n", {"environment.A": "(set)"}
    ),
    "Y13-compute": ok(f"{FLAT}compute: local\n", "compute: ignored: this machine is the compute"),
    "Y13-type without compute": lenient(NEW.replace("compute: azureml:c\n", ""), "compute"),
    "Y13-resources": ok(
        f"{FLAT}resources: {{instance_count: 2, instance_type: x, properties: {{a: b}}, shm_size: 2g, docker_args: a,"
        " locations: [a], max_instance_count: 3}\n",
        "resources.instance_count: ignored", "resources.shm_size: ignored", "resources.locations: ignored",
    ),
    "Y13-unknown key": refused(f"{FLAT}resources: {{gpus: 1}}\n", "resources.gpus"),
    "Y14-settings without value": refused(f"{MODEL}settings:\n", "settings"),
    "Y14-unknown key in settings": refused(f"{NEW}  colour: red\n", "settings.colour"),
    "Y14-type without settings": ok(MODEL, mini_batch_size=10),
    # settings
    "Y15-size absent": lenient(f"{MODEL}settings: {{error_threshold: 1}}\n", "settings", mini_batch_size=10),
    "Y15-size quoted": ok(NEW.replace("size: 3", 'size: "20"'), mini_batch_size=20),
    "Y15-size 2.0": ok(NEW.replace("size: 3", "size: 2.0"), mini_batch_size=2),
    "Y15-size 2.5": ok(NEW.replace("size: 3", "size: 2.5"), "2.5 is cut to 2", mini_batch_size=2),
    "Y15-size 10kb": refused(NEW.replace("size: 3", "size: 10kb"), "settings.mini_batch_size"),
    "Y15-size 0": refused(NEW.replace("size: 3", "size: 0"), "settings.mini_batch_size"),
    "Y16-nodes in settings": ok(f"{NEW}  instance_count: 2\n", "settings.instance_count: ignored"),
    "Y16-nodes in both places": lenient(
        f"{NEW}  instance_count: 2\nresources: {{instance_count: 2}}\n", "settings.instance_count"
    ),
    "Y16-nodes at the root": lenient(f"{FLAT}instance_count: 2\n", "instance_count", "instance_count: ignored"),
    "Y16-concurrency": ok(f"{NEW}  max_concurrency_per_instance: 2\n", workers=2),
    "Y16-concurrency auto": lenient(
        f"{NEW}  max_concurrency_per_instance: auto\n", "settings.max_concurrency_per_instance", workers=None
    ),
    "Y17-action in another case": ok(f"{NEW}  output_action: Append_Row\n", output_action="append_row"),
    "Y17-action of the service": refused(f"{NEW}  output_action: AppendRow\n", "settings.output_action"),
    "Y17-name": ok(f"{NEW}  output_file_name: out.csv\n", output_file_name="out.csv"),
    "Y17-name with a slash": refused(f"{NEW}  output_file_name: a/b.csv\n", "settings.output_file_name"),
    "Y17-summary with a name": lenient(
        f"{NEW}  output_action: summary_only\n  output_file_name: out.csv\n", "settings.output_file_name",
        "settings.output_file_name: not used", output_action="summary_only",
    ),
    "Y18-threshold absent": ok(NEW, error_threshold="-1"),
    "Y18-threshold below -1": ok(f"{NEW}  error_threshold: -7\n", error_threshold="-1"),
    "Y18-threshold in percent": lenient(
        f"{NEW}  error_threshold: 3%\n", "settings.error_threshold", error_threshold="3%"
    ),
    "Y19-retries absent": ok(NEW, max_retries=3, timeout=30.0),
    "Y19-retries": ok(f"{NEW}  retry_settings: {{max_retries: 0, timeout: 90}}\n", max_retries=0, timeout=90.0),
    "Y19-timeout 0": ok(f"{NEW}  retry_settings: {{timeout: 0}}\n", "0 means the default on Azure", timeout=30.0),
    "Y19-timeout with a unit": lenient(
        f"{NEW}  retry_settings: {{timeout: 2m}}\n", "settings.retry_settings.timeout", timeout=120.0
    ),
    "Y19-unknown key": refused(f"{NEW}  retry_settings: {{max_tries: 1}}\n", "settings.retry_settings.max_tries"),
    "Y20-level absent": ok(NEW, logging_level="info"),
    "Y20-any level": ok(f"{NEW}  logging_level: loud\n", logging_level="loud"),
    "Y21-settings win": Case(
        f"{NEW}  environment_variables: {{A: inner}}\nenvironment_variables: {{A: root, B: root}}\n",
        {"environment.A": "(set)", "environment.B": "(set)"},
        ("environment_variables.A: not used", "environment_variables.B: used, though Azure drops"),
    ),
}  # fmt: skip


def prepared(job: Job, text: str) -> None:
    job.script()
    (job.code / "sub").mkdir()
    (job.code / "sub/deep.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    job.write("models/digits/weights", "w")
    job.write("spec/conda.yml", "dependencies: []\n")
    job.write("spec/d.yml", text)


def keys(ran: Ran) -> list[str]:
    return sorted(problem["key"] for problem in ran.json["problems"])


@pytest.mark.parametrize("name", CASES)
def test_y(job: Job, name: str) -> None:
    case = CASES[name]
    prepared(job, case.text)
    ran = job.batchctl("check", "spec/d.yml", "--json").expect(2 if case.problems else 0)
    assert keys(ran) == sorted(case.problems), ran
    found = {row["field"]: row["value"] for row in ran.json["fields"]}
    assert {key: found[key] for key in case.fields} == case.fields
    for words in case.notes:
        assert any(words in note for note in ran.json["notes"]), ran.json["notes"]
    for problem in ran.json["problems"]:
        assert problem["remedy"], problem
    strict = case.problems if case.strict is None else case.strict
    ran = job.batchctl("check", "spec/d.yml", "--strict-azure", "--json").expect(2 if strict else 0)
    assert keys(ran) == sorted(strict), ran
    assert all(problem["remedy"] for problem in ran.json["problems"])


def test_y06_a_dotted_override_is_applied(job: Job) -> None:
    prepared(job, NEW)
    ran = job.batchctl("check", "spec/d.yml", "--set", "settings.mini_batch_size=9", "--json").expect(0)
    row = next(row for row in ran.json["fields"] if row["field"] == "mini_batch_size")
    assert (row["value"], row["source"]) == (9, "--set settings.mini_batch_size")


def test_y12_y21_what_the_script_sees_of_the_variables(job: Job) -> None:
    """Text as written, never expanded; settings over root."""
    prepared(
        job,
        f"{NEW}  environment_variables: {{A: 1, B: true, C: 1.10, D: $HOME, E: inner}}\n"
        "environment_variables: {E: root, F: root}\n",
    )
    script = "import os\n\ndef run(mini_batch):\n    return [' '.join(os.environ[name] for name in 'ABCDEF')]\n"
    (job.code / "score.py").write_text(script)
    job.items(1)
    job.batchctl("run", "spec/d.yml", "in", "-o", "out").expect(0).names("Azure drops variables outside settings")
    assert job.out.predictions == b"1 true 1.10 $HOME inner root\n"


@pytest.mark.parametrize("text", [NEW, f"{FLAT}mini_batch_size: 3\n"], ids=["settings", "flat"])
def test_y01_y03_both_layouts_score_alike(job: Job, text: str) -> None:
    prepared(job, text)
    rows = job.items(7)
    job.batchctl("run", "spec/d.yml", "in", "-o", "out").expect(0)
    assert job.out.predictions.decode().splitlines() == rows
    assert job.out.summary["batches"] == 3
