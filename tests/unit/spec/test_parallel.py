"""`type: parallel`: what becomes of each key, of the bindings and of the program's arguments."""

from __future__ import annotations

from typing import Any

import pytest

from batchctl.guest import script as guest_script
from batchctl.model.job import OUTPUT_FOLDER, Dialect, ErrorThreshold, Grouping, OutputAction, OutputFormat
from batchctl.spec.fields import BY_FIELD
from batchctl.spec.parallel_keys import IGNORED, METADATA
from batchctl.spec.program_arguments import DROPPED
from tests.unit.spec.conftest import Folder

TASK = "  type: run_function\n  code: code\n  entry_script: score.py\n"
JOB = f"""\
type: parallel
inputs:
  data: {{type: uri_folder, path: in}}
  weights: {{type: uri_folder, path: ./model}}
  rate: 0.5
  tuned: {{type: boolean, default: true}}
  opt: {{type: string, optional: true}}
  far: {{type: uri_folder, path: "azureml:d:1"}}
  bound: "${{{{parent.inputs.x}}}}"
outputs:
  folder: {{type: uri_folder}}
  file: {{type: uri_file, path: "azureml://datastores/d/paths/x/agg.csv"}}
input_data: ${{{{inputs.data}}}}
task:
{TASK}"""


def loaded(folder: Folder, extra: str = "", **keywords: Any) -> Any:
    return folder.load("job.yml", JOB + extra, **keywords)


def test_defaults_are_those_of_parallel_jobs(folder: Folder) -> None:
    spec = loaded(folder).require()
    assert (spec.dialect, spec.output_format, spec.grouping) == (Dialect.AZURE, OutputFormat.AZURE, Grouping.DIRECTORY)
    assert (spec.max_retries, spec.timeout, spec.mini_batch_size) == (2, 60.0, 10)
    assert (spec.error_threshold, spec.mini_batch_error_threshold) == (ErrorThreshold(-1), -1)
    assert (spec.allowed_failed_percent, spec.header) == (100.0, False)
    assert spec.output_action is OutputAction.SUMMARY_ONLY
    assert spec.sources["output_action"] == "default (no task.append_row_to)"
    assert (spec.script, spec.code) == (folder.root / "code/score.py", folder.root / "code")
    assert spec.inputs == (str(folder.root / "in"),)
    assert spec.sources["inputs"] == "job.yml:3 inputs.data.path"


def test_every_setting(folder: Folder) -> None:
    extra = (
        "  model: {path: model}\n  append_row_to: ${{ outputs.file }}\nname: scores\nmini_batch_size: '20'\n"
        "error_threshold: 7\nmini_batch_error_threshold: 5\nmax_concurrency_per_instance: 2\nlogging_level: DEBUG\n"
        "retry_settings: {max_retries: 0, timeout: 300}\nenvironment_variables: {A: on}\nresources: {}\n"
    )
    spec = loaded(folder, extra).require()
    assert (spec.name, spec.mini_batch_size, spec.workers, spec.logging_level) == ("scores", 20, 2, "DEBUG")
    assert (spec.error_threshold, spec.mini_batch_error_threshold) == (ErrorThreshold(7), 5)
    assert (spec.max_retries, spec.timeout, spec.environment) == (0, 300.0, {"A": "on"})
    assert (spec.output_action, spec.output_file_name) == (OutputAction.APPEND_ROW, "agg.csv")
    assert spec.model == folder.root / "model"


def test_ignored_keys_are_spoken_of(folder: Folder) -> None:
    for key in (*IGNORED, *METADATA):
        found = loaded(folder, f"{key}: x\n")
        assert found.problems == (), key
        assert any(key in note for note in found.notes), key
    notes = loaded(folder, "  environment: {image: x, conda_file: conda.yaml}\n").require().notes
    assert any("task.environment.image: ignored" in note for note in notes)
    assert any("inputs.weights: not used: nothing names it" in note for note in notes)
    assert any("outputs.folder: not used: what the script writes" in note for note in notes)


# name: path and type of the output -> the file's name
OUTPUT_NAMES = {
    "a file of a datastore": ("{type: uri_file, path: 'azureml://datastores/d/paths/${{name}}/agg.csv'}", "agg.csv"),
    "a file without suffix": ("{type: uri_file, path: a/rows}", "rows"),
    "no path": ("{type: uri_file}", "predictions.csv"),
    "a folder": ("{type: uri_folder, path: a/rows}", "predictions.csv"),
    "a folder with a slash": ("{path: a/rows.d/}", "predictions.csv"),
    "a name that Azure makes": ("{type: uri_file, path: 'a/${{name}}'}", "predictions.csv"),
    "nothing said": ("{}", "predictions.csv"),
}


@pytest.mark.parametrize("name", OUTPUT_NAMES)
def test_the_name_of_the_output(folder: Folder, name: str) -> None:
    written, expected = OUTPUT_NAMES[name]
    text = f"type: parallel\noutputs: {{o: {written}}}\ntask:\n{TASK}  append_row_to: ${{{{outputs.o}}}}\n"
    spec = folder.load("job.yml", text).require()
    assert (spec.output_action, spec.output_file_name) == (OutputAction.APPEND_ROW, expected)


# program_arguments -> what the script finds
ARGUMENTS: dict[str, tuple[str, list[str]]] = {
    "split as a shell does": ("--a 'b c' \"d\" e\\ f ''", ["--a", "b c", "d", "e f", ""]),
    "a path": ("--model ${{inputs.weights}}", ["--model", "MODEL"]),
    "a path within a word": ("--model=${{ inputs.weights }}/w.bin", ["--model=MODEL/w.bin"]),
    "values": ("--rate ${{inputs.rate}} --tuned ${{inputs.tuned}}", ["--rate", "0.5", "--tuned", "true"]),
    "an optional part without value": ("--a 1 $[[--opt ${{inputs.opt}}]] --b", ["--a", "1", "--b"]),
    "an optional part with value": ("$[[--rate ${{inputs.rate}}]]", ["--rate", "0.5"]),
    "an output folder": ("--to ${{outputs.folder}}", ["--to", OUTPUT_FOLDER]),
    "an output file": ("--to ${{outputs.file}}", ["--to", f"{OUTPUT_FOLDER}/agg.csv"]),
    "misspelt, no abbreviation": (
        "--resource_monitor_interva 20 --error_thresh 3", ["--resource_monitor_interva", "20", "--error_thresh", "3"],
    ),
    "options of the driver": ("--x 1 --error_threshold 5 --nice=3 --copy_logs_to_parent True y", ["--x", "1", "y"]),
    "dollars and hashes": ("--a $HOME #b", ["--a", "$HOME", "#b"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ARGUMENTS)
def test_what_the_script_finds(folder: Folder, name: str) -> None:
    text, expected = ARGUMENTS[name]
    spec = loaded(folder, f"  program_arguments: >-\n    {text}\n").require()
    assert list(spec.arguments) == [word.replace("MODEL", str(folder.root / "model")) for word in expected]


# program_arguments -> field, value
OPTIONS: dict[str, tuple[str, object]] = {
    "--error_threshold 5": ("error_threshold", ErrorThreshold(5)),
    "--error_threshold -1": ("error_threshold", ErrorThreshold(-1)),
    "--error_threshold 2.5": ("error_threshold", ErrorThreshold(3)),
    "--error_threshold=${{inputs.n}}": ("error_threshold", ErrorThreshold(4)),
    "--allowed_failed_count 3": ("mini_batch_error_threshold", 3),
    "--allowed_failed_percent 12.5": ("allowed_failed_percent", 12.5),
    "--append_row_dataframe_header True": ("header", True),
    "--append_row_dataframe_header False": ("header", False),
    "--rank_mini_batch_count 0": ("arguments", ()),
    "--rank_mini_batch_count -1": ("arguments", ()),
}


@pytest.mark.parametrize("text", OPTIONS)
def test_options_of_the_driver(folder: Folder, text: str) -> None:
    field, expected = OPTIONS[text]
    job = JOB.replace("  rate: 0.5\n", "  rate: 0.5\n  n: 4\n")
    spec = folder.load("job.yml", f"{job}  program_arguments: {text}\n").require()
    assert getattr(spec, field) == expected
    assert spec.arguments == ()


@pytest.mark.parametrize("option", DROPPED)
def test_options_that_mean_nothing_here_are_noted(folder: Folder, option: str) -> None:
    spec = loaded(folder, f"  program_arguments: {option} 1\n").require()
    assert spec.arguments == ()
    assert sum(f"task.program_arguments.{option}: ignored" in note for note in spec.notes) == 1


def test_a_key_wins_over_an_option(folder: Folder) -> None:
    extra = "  program_arguments: --error_threshold 5 --allowed_failed_count 6\nerror_threshold: 7\n"
    spec = loaded(folder, extra).require()
    assert (spec.error_threshold, spec.mini_batch_error_threshold) == (ErrorThreshold(7), 6)
    assert any("error_threshold: wins over job.yml" in note for note in spec.notes)


def test_set_and_the_command_line_win(folder: Folder) -> None:
    sets = ("inputs.weights.path=in", "retry_settings.timeout=9", "task.append_row_to=${{outputs.folder}}")
    folder.write("in/a", "")
    extra = "  program_arguments: ${{inputs.weights}}\n"
    spec = loaded(folder, extra, sets=sets, inputs=("other",), flags={"error_threshold": "3"}).require()
    assert (spec.arguments, spec.inputs) == ((str(folder.root / "in"),), ("other",))
    assert (spec.timeout, spec.output_action) == (9.0, OutputAction.APPEND_ROW)
    assert spec.error_threshold == ErrorThreshold(3)


REFUSED = {
    "unknown root key": ("mini_batch: 3\n", 'Did you mean "mini_batch_size"?'),
    "unknown task key": ("  script: x\n", "task.script: unknown key"),
    "unknown key of resources": ("resources: {gpus: 1}\n", "resources.gpus: unknown key"),
    "size in bytes": ("mini_batch_size: 10kb\n", "is a size in bytes, for tabular inputs, which come later"),
    "size a word": ("mini_batch_size: many\n", "is not a whole number"),
    "batch threshold a word": ("mini_batch_error_threshold: x\n", "is not a whole number"),
    "retry_settings a number": ("retry_settings: 3\n", "retry_settings: is no mapping"),
    "registered model": ("  model: azureml:m:1\n", "Give a local copy: --model PATH"),
    "rows to no output": ("  append_row_to: out.csv\n", "names none of the outputs. Write ${{outputs.NAME}}"),
    "rows to an unknown output": ("  append_row_to: ${{outputs.fil}}\n", 'Did you mean "file"?'),
    "ranks": ("  program_arguments: --rank_mini_batch_count 3\n", "mini-batches without input are not supported"),
    "ranks a word": ("  program_arguments: --rank_mini_batch_count x\n", "is not a whole number"),
    "option without value": ("  program_arguments: --error_threshold\n", "--error_threshold has no value"),
    "option before another": ("  program_arguments: --nice --a\n", "--nice has no value. Write --nice VALUE"),
    "option with a wrong value": (
        "  program_arguments: --allowed_failed_percent 120\n",
        "task.program_arguments.--allowed_failed_percent: \"120\" is not a percentage",
    ),
    "too long": (f"  program_arguments: {'x' * 70_000}\n", "is longer than 65,536 characters"),
    "open quote": ("  program_arguments: \"--a 'b\"\n", "cannot be split"),
    "arguments a list": ("  program_arguments: [a]\n", "one value is expected, this is a list"),
    "unknown input": ("  program_arguments: ${{inputs.weight}}\n", 'Did you mean "weights"?'),
    "input without value": ("  program_arguments: ${{inputs.opt}}\n", "Give --set inputs.opt.path=PATH"),
    "input on Azure": ("  program_arguments: ${{inputs.far}}\n", "Give a local copy: --set inputs.far.path=PATH"),
    "input of a pipeline": ("  program_arguments: ${{inputs.bound}}\n", "Give its value: --set inputs.bound=VALUE"),
    "binding of another kind": ("  program_arguments: ${{parent.name}}\n", "is not known here"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(folder: Folder, name: str) -> None:
    extra, expected = REFUSED[name]
    (problem,) = loaded(folder, extra).problems
    assert expected in str(problem)
    assert problem.remedy


FILES = {
    "no task": ("type: parallel\n", "job.yml:task: missing: a parallel job is its task"),
    "task a word": ("type: parallel\ntask: x\n", "task: is no mapping"),
    "no script": ("type: parallel\ntask: {code: code}\n", "task: names no entry_script"),
    "another kind of task": (JOB.replace("run_function", "model"), 'tasks of type "model" are not supported'),
    "code missing": (JOB.replace("code: code", "code: cod"), 'task.code: folder "cod" is missing'),
    "tabular": (JOB.replace("{type: uri_folder, path: in}", "{type: mltable, path: in}"), "is a tabular input, which"),
    "input_data a path": (JOB.replace("${{inputs.data}}", "in"), "names none of the inputs. Write ${{inputs.NAME}}"),
    "input_data unknown": (JOB.replace("${{inputs.data}}", "${{inputs.dat}}"), 'Did you mean "data"?'),
    "inputs a list": (f"type: parallel\ninputs: [a]\ntask:\n{TASK}", "inputs: is no mapping"),
    "key of an input unknown": (JOB.replace("path: in}", "path: in, pth: x}"), 'Did you mean "path"?'),
    "side input missing": (
        JOB.replace("./model", "./gone") + "  program_arguments: ${{inputs.weights}}\n", 'input "weights" is missing',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_refused(folder: Folder, name: str) -> None:
    text, expected = FILES[name]
    (problem,) = folder.load("job.yml", text).problems
    assert expected in str(problem)
    assert problem.remedy


@pytest.mark.parametrize("path", ['"azureml:d:1"', '"${{parent.inputs.x}}"', '"https://a/b"'])
def test_inputs_that_are_not_here(folder: Folder, path: str) -> None:
    found = folder.load("job.yml", JOB.replace("path: in}", f"path: {path}}}"))
    spec = found.require()
    assert spec.inputs == ()
    assert any("INPUT on the command line is what is scored" in note for note in spec.notes)


def test_partition_keys_are_a_setting_or_refused_by_name(folder: Folder) -> None:
    found = loaded(folder, "partition_keys: [user, season]\n")
    if "partition_keys" in BY_FIELD:
        assert found.require().partition_keys == ("user", "season")
    else:
        (problem,) = found.problems
        assert "partition_keys come later" in str(problem)


def test_host_and_guest_mean_the_same_word() -> None:
    assert guest_script.OUTPUT_FOLDER == OUTPUT_FOLDER
