"""The ways to name a job and its inputs, and the bytes that each output format writes."""

from __future__ import annotations

import json
import os
import textwrap

import pytest

from tests.e2e.driver import Job

SETTINGS_LAYOUT = """
    $schema: https://azuremlschemas.azureedge.net/latest/modelBatchDeployment.schema.json
    name: digits
    endpoint_name: digits
    type: model
    model:
      path: models/mnist
    code_configuration:
      code: code
      scoring_script: score.py
    environment:
      image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04
      conda_file: conda.yaml
    compute: azureml:cpu-cluster
    resources:
      instance_count: 2
    settings:
      mini_batch_size: 2
      max_concurrency_per_instance: 2
      output_action: append_row
      output_file_name: predictions.csv
      error_threshold: 0
      retry_settings:
        max_retries: 1
        timeout: 300
      logging_level: warning
      environment_variables:
        FLAVOUR: vanilla
"""
FLAT_LAYOUT = """
    name: digits
    endpoint_name: digits
    model:
      path: models/mnist
    code_configuration:
      code: code
      scoring_script: score.py
    environment: azureml:my-env:1
    compute: azureml:cpu-cluster
    resources:
      instance_count: 1
    mini_batch_size: 2
    max_concurrency_per_instance: 2
    output_action: Append_Row
    output_file_name: predictions.csv
    error_threshold: 0
    retry_settings:
      max_retries: 1
      timeout: 300
    logging_level: warning
    environment_variables:
      FLAVOUR: vanilla
"""
AZURE = {"settings": SETTINGS_LAYOUT, "flat": FLAT_LAYOUT}


def azure_job(job: Job, layout: str) -> list[str]:
    """An Azure deployment over two folders of three files: four mini-batches, as none spans folders."""
    job.script("azure")
    job.write("models/mnist/weights.txt", "w1\n")
    job.write("models/sibling.txt", "not part of the model\n")
    job.write("deployment.yml", textwrap.dedent(AZURE[layout]))
    for below in ("a", "b"):
        job.items(3, below=below, stem=below)
    return [f"{stem}{n:03d}.txt WARNING mnist=w1 vanilla {batch}" for stem, n, batch in PLACES]


PLACES = [("a", 0, 0), ("a", 1, 0), ("a", 2, 1), ("b", 0, 2), ("b", 1, 2), ("b", 2, 3)]


@pytest.mark.parametrize("layout", AZURE)
def test_an_azure_deployment_as_it_is(job: Job, layout: str) -> None:
    rows = azure_job(job, layout)
    job.batchctl("run", "deployment.yml", "in", "-o", "out").expect(0)
    assert job.out.predictions.decode() == "".join(f"{text}\n" for text in rows)
    assert job.out.summary["name"] == "digits"
    assert job.out.summary["workers"] == 2
    job.batchctl("verify", "out").expect(0)


@pytest.mark.parametrize("layout", AZURE)
def test_check_of_an_azure_deployment_names_every_source(job: Job, layout: str) -> None:
    azure_job(job, layout)
    ran = job.batchctl("check", "deployment.yml", "in", "--json", "--timeout", "10").expect(0)
    fields = {entry["field"]: entry for entry in ran.json["fields"]}
    assert fields["mini_batch_size"]["value"] == 2
    assert fields["mini_batch_size"]["source"].startswith("deployment.yml:")
    assert fields["timeout"]["source"] == "--timeout"
    assert any("compute" in note for note in ran.json["notes"]), "an ignored key was passed over in silence"
    assert job.batchctl("check", "deployment.yml", "in").expect(0).stdout
    assert not job.out.path.exists()


def test_both_layouts_mixed_are_taken_and_the_shadowed_key_is_named(job: Job) -> None:
    rows = azure_job(job, "settings")
    text = (job.folder / "deployment.yml").read_text()
    (job.folder / "deployment.yml").write_text(text + "mini_batch_size: 3\n")
    ran = job.batchctl("run", "deployment.yml", "in", "-o", "out").expect(0)
    ran.names("mini_batch_size", "deployment.yml")
    assert job.out.predictions.decode().splitlines() == rows


def test_flag_beats_set_beats_environment_beats_file(job: Job) -> None:
    azure_job(job, "settings")
    env = {"BATCHCTL_TIMEOUT": "20", "BATCHCTL_MAX_RETRIES": "2", "BATCHCTL_MINI_BATCH_SIZE": "5"}
    argv = ("check", "deployment.yml", "in", "--json", "--timeout", "30", "--set", "settings.mini_batch_size=4")
    ran = job.batchctl(*argv, "--set", "settings.retry_settings.timeout=25", env=env).expect(0)
    values = {entry["field"]: entry["value"] for entry in ran.json["fields"]}
    assert (values["timeout"], values["max_retries"], values["mini_batch_size"]) == (30.0, 2, 4)


def test_a_native_toml(job: Job) -> None:
    job.script("azure")
    job.write("model.d/weights.txt", "w2")
    rows = [f"item{n:03d}.txt DEBUG model.d=w2 mint {n // 4}" for n in range(9)]
    job.items(9)
    spec = """
        script = "code/score.py"
        input = "in"
        model = "model.d"
        mini_batch_size = 4
        workers = 2
        timeout = "1m30s"
        error_threshold = "5%"
        output_format = "azure"
        logging_level = "debug"

        [env]
        FLAVOUR = "mint"
    """
    job.write("batchctl.toml", textwrap.dedent(spec))
    job.batchctl("run", "batchctl.toml", "-o", "out").expect(0)
    assert job.out.predictions.decode().splitlines() == rows
    assert job.out.summary["error_threshold"] == "5%"
    # The folder that holds it stands for it, and --set takes its keys.
    job.batchctl("run", ".", "-o", "out2", "--set", "env.FLAVOUR=rum", "--set", "mini_batch_size=9").expect(0)
    assert (job.folder / "out2" / "predictions.csv").read_text().splitlines() == [
        text.replace("mint", "rum")[:-1] + "0" for text in rows
    ]


def test_a_bare_script_with_environment_and_set(job: Job) -> None:
    (job.code / "score.py").write_text(
        "import os\n\ndef run(mini_batch):\n    return [f\"{os.environ['A']} {os.environ['B']} {len(mini_batch)}\"]\n"
    )
    job.items(4)
    job.run("--env", "A=1=2", "--env", "B=two words", "--set", "mini_batch_size=4").expect(0)
    assert job.out.rows == ["1=2 two words 4"]


# Expected: first letters of the names in plan order, which is by bytes of the path: deep/f.png stands before e.png.
INPUTS = {
    "folder": (["in"], b"", "abcdfe"),
    "file": (["in/one/a.txt"], b"", "a"),
    "files in the order given": (["in/two/e.png", "in/one/a.txt", "in/two/e.png"], b"", "ea"),
    "glob": (["in/*/*.png"], b"", "bde"),
    "glob of folders": (["in/t*"], b"", "cdfe"),
    "glob at any depth": (["in/**/*.txt"], b"", "ac"),
    "glob of folders only": (["in/t*/"], b"", "cdfe"),
    "glob of all folders": (["in/**/"], b"", "abcdfe"),
    "list by lines": (["@lines"], b"", "fa"),
    "list by NUL": (["@nuls"], b"", "fa"),
    "standard input by lines": (["-"], b"in/two/d.png\r\n\r\nin/one/b.png\n", "db"),
    "standard input by NUL": (["-"], b"in/two/d.png\0in/one/b.png\0", "db"),
    "include": (["in", "--include", "*.png"], b"", "bdfe"),
    "exclude": (["in", "--exclude", "two/**"], b"", "ab"),
    "include and exclude": (["in", "--include", "*.png", "--exclude", "e.*"], b"", "bdf"),
    "several": (["in/two/deep", "in/one", "in"], b"", "fabcde"),
}


@pytest.mark.parametrize("case", INPUTS.values(), ids=INPUTS)
def test_inputs(job: Job, case: tuple[list[str], bytes, str]) -> None:
    given, stdin, expected = case
    job.script()
    for name in ("one/a.txt", "one/b.png", "two/c.txt", "two/d.png", "two/e.png", "two/deep/f.png"):
        job.write(f"in/{name}", name)
    job.write("lines", "in/two/deep/f.png\nin/one/a.txt\n")
    job.write("nuls", "in/two/deep/f.png\0in/one/a.txt\0")
    job.batchctl("run", "code/score.py", *given, "-o", "out", stdin=stdin).expect(0)
    assert "".join(text[0] for text in job.out.rows) == expected
    assert job.batchctl("plan", "code/score.py", *given, "--json", stdin=stdin).expect(0).json["items"] == len(expected)
    if stdin or given[0].startswith("@"):  # the same list again resumes, which here means: complete
        job.batchctl("run", "code/score.py", *given, "-o", "out", stdin=stdin).expect(0).names("complete")


def test_a_list_from_a_process_substitution_resumes(job: Job) -> None:
    """Each time by another pipe, maybe of another name."""
    job.script()
    rows = job.items(4)
    for taken, words in ((9, ()), (63, ("complete",))):  # bash takes the highest number that is free from 63 down
        shell = ("bash", "-c", f'exec {taken}</dev/null; exec "$@" "@"<(find in -type f | sort)', "bash")
        job.batchctl("run", "code/score.py", "-o", "out", prefix=shell).expect(0).names(*words)
    assert job.out.rows == rows


@pytest.mark.parametrize("argv", [("in", "", "-o", "out"), ("in", "-o", "")], ids=["INPUT", "OUT"])
def test_an_empty_path_is_not_the_current_folder(job: Job, argv: tuple[str, ...]) -> None:
    job.script()
    job.items(1)
    job.batchctl("run", "code/score.py", *argv).expect(2).names("an empty path")
    assert sorted(path.name for path in job.folder.iterdir() if not path.name.startswith(".")) == ["code", "in"]


FORMATS = {
    "azure": b'a b\n1,2\nsay "hi"\n\nNone\n',
    "csv": b'prediction\na b\n"1,2"\n"say ""hi"""\n""\n""\n',
    "jsonl": b"".join(
        b'{"prediction":' + text + b"}\n" for text in (b'"a b"', b'"1,2"', b'"say \\"hi\\""', b'""', b"null")
    ),
}


@pytest.mark.parametrize("form", FORMATS)
def test_formats_of_a_list(job: Job, form: str) -> None:
    (job.code / "score.py").write_text("def run(mini_batch):\n    return ['a b', '1,2', 'say \"hi\"', '', None]\n")
    job.items(5)
    job.run("--output-format", form, "--output-file-name", "rows.txt").expect(0)
    assert (job.out.path / "rows.txt").read_bytes() == FORMATS[form]


FRAMES = {
    "azure": b'item000.txt "a b" 0.5\nitem001.txt "a b" 0.5\nitem002.txt "a b" 0.5\n',
    "csv": b"file,label,p\nitem000.txt,a b,0.5\nitem001.txt,a b,0.5\nitem002.txt,a b,0.5\n",
    "jsonl": b"".join(b'{"file":"item%03d.txt","label":"a b","p":0.5}\n' % n for n in range(3)),
}


@pytest.mark.parametrize("form", FRAMES)
def test_formats_of_a_frame(job: Job, form: str) -> None:
    job.script("frames")
    job.items(3)
    flags = ("--output-file-name", "rows.txt", "--mini-batch-size", "2", "--workers", "1")
    job.run("--output-format", form, *flags).expect(0)
    assert (job.out.path / "rows.txt").read_bytes() == FRAMES[form]


def test_the_writer_settings_in_the_code_folder_are_honoured(job: Job) -> None:
    job.script("frames")
    settings = {"append_row": {"pandas.DataFrame.to_csv": {"sep": ",", "header": False}}}
    (job.code / "parallel_run_step.settings.json").write_text(json.dumps(settings))
    job.items(2)
    job.run("--output-format", "azure", "--workers", "1").expect(0)
    assert job.out.predictions == b"item000.txt,a b,0.5\nitem001.txt,a b,0.5\n"


def test_the_default_name_follows_the_format(job: Job) -> None:
    job.script()
    job.items(2)
    job.run("--output-format", "jsonl").expect(0)
    assert len((job.out.path / "predictions.jsonl").read_text().splitlines()) == 2


def test_other_columns_than_the_runs_fail_their_mini_batch(job: Job) -> None:
    (job.code / "score.py").write_text(
        "import os\n\ndef run(mini_batch):\n    return [{os.path.basename(p)[0]: 1} for p in mini_batch]\n"
    )
    for name in ("a1", "a2", "b1", "b2"):
        (job.inputs / name).touch()
    flags = ("--mini-batch-size", "2", "--workers", "1", "--max-retries", "0")
    job.run(*flags).expect(0).names("ColumnsChanged")
    assert job.out.predictions == b"a\n1\n1\n"
    assert job.out.summary["items_failed"] == 2


def test_pinned_workers_see_their_thread_caps_before_the_script_is_imported(job: Job) -> None:
    (job.code / "score.py").write_text(
        "import os\nSEEN = os.environ.get('OMP_NUM_THREADS'), len(os.sched_getaffinity(0))\n\n"
        "def run(mini_batch):\n    return [f'{SEEN[0]} {SEEN[1]}'] * len(mini_batch)\n"
    )
    job.items(4)
    job.run("--workers", "1", "--threads", "1").expect(0)
    assert set(job.out.rows) == {"1 1"} or len(os.sched_getaffinity(0)) == 1
