"""Acceptance 5, specs and arguments: what is wrong is said with file, key and remedy, and nothing is started."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import pytest

from tests.e2e.driver import Job

GOOD_YAML = """
name: digits
type: model
code_configuration:
  code: code
  scoring_script: score.py
settings:
  mini_batch_size: 5
"""


@dataclass(frozen=True)
class BadSpec:
    """A spec and the key that its problem is to name ("" where it has none); `words` have to be in the message too."""

    text: str | bytes
    key: str = ""
    words: tuple[str, ...] = ()


def yaml(old: str, new: str, key: str = "", *words: str) -> BadSpec:
    assert old in GOOD_YAML
    return BadSpec(GOOD_YAML.replace(old, new), key, words)


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
BAD_YAML = {
    "no code_configuration": BadSpec("name: digits\ntype: model\n", "code_configuration", ("scoring_script",)),
    "no scoring_script": yaml("  scoring_script: score.py\n", "", "code_configuration", "scoring_script"),
    "scoring_script is missing": yaml("score.py", "scores.py", "code_configuration.scoring_script", "score.py"),
    "scoring_script outside code": yaml("score.py", "../other.py", "code_configuration.scoring_script"),
    "scoring_script is a folder": yaml("score.py", ".", "code_configuration.scoring_script"),
    "code is missing": yaml("code: code", "code: cod", "code_configuration.code", '"code"'),
    "code is a file": yaml("code: code", "code: code/score.py", "code_configuration.code"),
    "a list for a number": yaml("5", "[5]", "settings.mini_batch_size"),
    "a word for a number": yaml("5", "five", "settings.mini_batch_size"),
    "a size in bytes": yaml("5", "10kb", "settings.mini_batch_size"),
    "an octal number": yaml("5", "017", "settings.mini_batch_size"),
    "zero": yaml("5", "0", "settings.mini_batch_size"),
    "a number beyond all bounds": yaml("5", "9" * 400, "settings.mini_batch_size"),
    "a mapping for a word": yaml("name: digits", "name: {a: b}", "name"),
    "unknown root key": yaml("name: digits", "name: digits\nmini_batchsize: 3", "mini_batchsize", "mini_batch_size"),
    "unknown key in settings": yaml(
        "mini_batch_size", "mini_batch_sise", "settings.mini_batch_sise", "mini_batch_size"
    ),
    "unknown key in code_configuration": yaml("  code: code", "  code: code\n  x: 1", "code_configuration.x"),
    "unknown key of ours": yaml("name: digits", "name: digits\ninclude: '*.png'", "include", "--include"),
    "duplicate key": yaml("name: digits", "name: digits\nname: again", "name"),
    "duplicate key in settings": yaml("5", "5\n  mini_batch_size: 6", "settings.mini_batch_size"),
    "settings without anything": yaml("\n  mini_batch_size: 5", "", "settings"),
    "settings is a list": yaml("\n  mini_batch_size: 5", " [1, 2]", "settings"),
    "bad duration": yaml("5", "5\n  retry_settings:\n    timeout: soon", "settings.retry_settings.timeout"),
    "negative timeout": yaml("5", "5\n  retry_settings:\n    timeout: -3", "settings.retry_settings.timeout"),
    "bad output_action": yaml("5", "5\n  output_action: AppendRow", "settings.output_action", "append_row"),
    "output name with a slash": yaml("5", "5\n  output_file_name: a/b.csv", "settings.output_file_name"),
    "output name of ours": yaml("5", "5\n  output_file_name: .batchctl", "settings.output_file_name"),
    "variables are a list": yaml("5", "5\n  environment_variables: [A]", "settings.environment_variables"),
    "registered model": yaml("name: digits", "name: digits\nmodel: azureml:mnist:1", "model", "--model"),
    "bare model path": yaml("name: digits", "name: digits\nmodel: code", "model", "path"),
    "model is missing": yaml("name: digits", "name: digits\nmodel:\n  path: gone", "model.path"),
    "pipeline deployment": yaml("type: model", "type: pipeline", "type"),
    "endpoint": BadSpec("name: e\nauth_mode: aad_token\n", "auth_mode"),
    "bomb of aliases": BadSpec(BOMB, "", ("alias",)),
    "bomb of merges": BadSpec("a: &a {k: v}\n" + "".join(f"b{n}: {{<<: *a}}\n" for n in range(60_000))),
    "alias to itself": BadSpec("a: &a [*a]\n"),
    "nested too deep": BadSpec("a: " + "[" * 5000 + "]" * 5000),
    "a tag that would run code": BadSpec("name: !!python/object/apply:os.system ['touch owned']\n", "", ("tag",)),
    "a tab": BadSpec("name: a\nsettings:\n\tmini_batch_size: 3\n", "", ("tab",)),
    "not closed": BadSpec('name: "digits\n', ""),
    "a list at the root": BadSpec("- name\n"),
    "a word at the root": BadSpec("digits\n"),
    "empty": BadSpec(""),
    "two documents": BadSpec("name: a\n---\nname: b\n"),
    "UTF-16": BadSpec("name: a\n".encode("utf-16"), "", ("UTF-8",)),
    "not UTF-8": BadSpec(b"name: caf\xe9\n", "", ("UTF-8",)),
    "NUL": BadSpec(b"name: a\x00b\n"),
    "ESC": BadSpec(b"name: a\x1b[31mb\n"),
    "2 MiB": BadSpec("# " + "x" * (2 << 20) + "\n"),
}


@pytest.mark.parametrize("case", BAD_YAML.values(), ids=BAD_YAML)
def test_bad_deployments(job: Job, case: BadSpec) -> None:
    spec_is_refused(job, "deployment.yml", case)


GOOD_TOML = 'script = "code/score.py"\nmini_batch_size = 5\n'


def toml(line: str, key: str = "", *words: str) -> BadSpec:
    return BadSpec(f"{line}\n{GOOD_TOML}", key, words)


BAD_TOML = {
    "no script": BadSpec("workers = 2\n", "script"),
    "script is missing": BadSpec('script = "scor.py"\n', "script"),
    "script is no .py": BadSpec('script = "batchctl.toml"\n', "script", (".py",)),
    "unknown key": toml("worker = 2", "worker", "workers"),
    "a key of Azure's": toml("max_concurrency_per_instance = 2", "max_concurrency_per_instance", "workers"),
    "duplicate key": toml("mini_batch_size = 3", "mini_batch_size"),
    "list for a number": toml("timeout = [1]", "timeout"),
    "bad duration": toml('timeout = "1 fortnight"', "timeout"),
    "zero workers": toml("workers = 0", "workers"),
    "negative retries": toml("max_retries = -1", "max_retries"),
    "percentage above all": toml('error_threshold = "101%"', "error_threshold"),
    "bad choice": toml('order = "random"', "order", "plan", "completion"),
    "env is no table": toml('env = "A=1"', "env"),
    "URL as input": toml('input = "https://example.com/x"', "input"),
    "interpreter is missing": toml('python = "no/python"', "python"),
    "syntax": toml("workers == 2"),
    "a table twice": BadSpec(f"{GOOD_TOML}[env]\nA = 1\n[env]\nB = 2\n"),
    "empty": BadSpec("", "script"),
    "not UTF-8": BadSpec(b'name = "caf\xe9"\n', "", ("UTF-8",)),
}


@pytest.mark.parametrize("case", BAD_TOML.values(), ids=BAD_TOML)
def test_bad_tomls(job: Job, case: BadSpec) -> None:
    spec_is_refused(job, "batchctl.toml", case)


def spec_is_refused(job: Job, name: str, case: BadSpec) -> None:
    job.script()
    job.items(1)
    job.write("other.py", "def run(mini_batch):\n    return mini_batch\n")
    data = case.text if isinstance(case.text, bytes) else case.text.encode()
    (job.folder / name).write_bytes(data)
    inputs = () if case.key == "input" else ("in",)
    ran = job.batchctl("check", name, *inputs, "--json").expect(2)
    problems = ran.json["problems"]
    assert problems
    assert all(problem["where"].startswith(name) for problem in problems), problems
    mine = [problem for problem in problems if problem["key"] == case.key] if case.key else problems
    assert mine, f"no problem names {case.key!r}: {problems}"
    assert all(problem["remedy"] for problem in mine), f"no remedy: {mine}"
    told = " ".join(problem["text"] for problem in mine)
    assert all(word in told for word in (name, *case.words, case.key)), told
    assert not (job.folder / "owned").exists(), "a tag was executed"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("deployment.yml", k) for k in ("no scoring_script", "unknown root key", "bomb of aliases", "ESC")),
        *(("batchctl.toml", k) for k in ("no script", "bad duration", "syntax")),
    ],
)
def test_run_refuses_a_bad_spec_as_check_does(job: Job, name: str, kind: str) -> None:
    job.script()
    job.items(1)
    case = (BAD_YAML if name.endswith(".yml") else BAD_TOML)[kind]
    (job.folder / name).write_bytes(case.text if isinstance(case.text, bytes) else case.text.encode())
    ran = job.batchctl("run", name, "in", "-o", "out").expect(2)
    ran.names(name, *case.words, case.key)
    assert ran.stdout == b""
    assert not job.out.path.exists()


def test_every_problem_is_told_at_once(job: Job) -> None:
    job.script()
    text = GOOD_YAML.replace("5", "many").replace("score.py", "scores.py") + "nonsense: 1\nerror_threshold: lots\n"
    job.write("deployment.yml", text)
    problems = job.batchctl("check", "deployment.yml", "in", "--json").expect(2).json["problems"]
    keys = {problem["key"] for problem in problems}
    assert keys == {
        *("settings.mini_batch_size", "code_configuration.scoring_script"),
        *("nonsense", "error_threshold"),
    }


# --- the command line -------------------------------------------------------------------------------------------------

GOOD = ("run", "code/score.py", "in", "-o", "out")
ARGUMENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "no command": ((), ("batchctl COMMAND",)),
    "unknown command": (("score", "x"), ("score", "run")),
    "no SPEC": (("run", "-o", "out"), ("SPEC",)),
    "SPEC is missing": (("run", "scores.py", "in", "-o", "out"), ("scores.py",)),
    "SPEC is misspelt": (("run", "code/scor.py", "in", "-o", "out"), ("scor.py", "score.py")),
    "SPEC is an empty folder": (("run", "nothing", "in", "-o", "out"), ("nothing", "score.py")),
    "SPEC has another suffix": (("run", "spec.json", "in", "-o", "out"), ("spec.json", ".yml")),
    "SPEC is a FIFO": (("run", "fifo.yml", "in", "-o", "out"), ("fifo.yml",)),
    "SPEC is empty text": (("run", "", "in", "-o", "out"), ("SPEC",)),
    "no OUT": (("run", "code/score.py", "in"), ("-o",)),
    "no INPUT": (("run", "code/score.py", "-o", "out"), ("INPUT",)),
    "INPUT is missing": (("run", "code/score.py", "inn", "-o", "out"), ("inn",)),
    "INPUT is a FIFO": (("run", "code/score.py", "fifo.yml", "-o", "out"), ("fifo.yml",)),
    "INPUT is a dangling link": (("run", "code/score.py", "dangling", "-o", "out"), ("dangling",)),
    "INPUT is a loop of links": (("run", "code/score.py", "loop", "-o", "out"), ("loop",)),
    "INPUT has a name too long": (("run", "code/score.py", "n" * 300, "-o", "out"), ("nnnn",)),
    "glob matches nothing": (("run", "code/score.py", "in/*.jpg", "-o", "out"), ("in/*.jpg",)),
    "list is missing": (("run", "code/score.py", "@list", "-o", "out"), ("@list",)),
    "list names a missing file": (("run", "code/score.py", "@bad-list", "-o", "out"), ("gone.txt", "@bad-list")),
    "list names a folder": (("run", "code/score.py", "@folder-list", "-o", "out"), ("in", "@folder-list")),
    "filters turn all away": ((*GOOD, "--include", "*.jpg"), ("*.jpg", "in")),
    "unknown flag": ((*GOOD, "--worker", "2"), ("--worker",)),
    "flag without value": ((*GOOD, "--workers"), ("--workers",)),
    "no workers": ((*GOOD, "--workers", "0"), ("--workers", "0")),
    "workers are a word": ((*GOOD, "--workers", "many"), ("--workers", "many", "auto")),
    "negative timeout": ((*GOOD, "--timeout", "-1"), ("--timeout",)),
    "negative timeout with =": ((*GOOD, "--timeout=-1"), ("--timeout", "-1")),
    "timeout is a word": ((*GOOD, "--timeout", "soon"), ("--timeout", "soon", "90s")),
    "timeout in parsecs": ((*GOOD, "--timeout", "3pc"), ("--timeout", "3pc")),
    "timeout is not a number": ((*GOOD, "--timeout", "nan"), ("--timeout", "nan")),
    "grace of a year": ((*GOOD, "--grace", "365d"), ("--grace", "365d")),
    "threshold above all": ((*GOOD, "--error-threshold", "101%"), ("--error-threshold", "101%")),
    "threshold of nothing": ((*GOOD, "--error-threshold", "%"), ("--error-threshold",)),
    "empty mini-batches": ((*GOOD, "--mini-batch-size", "0"), ("--mini-batch-size",)),
    "half a file": ((*GOOD, "--mini-batch-size", "2.5"), ("--mini-batch-size", "2.5")),
    "unknown format": ((*GOOD, "--output-format", "xml"), ("--output-format", "xml", "jsonl")),
    "unknown order": ((*GOOD, "--order", "by-name"), ("--order", "by-name", "completion")),
    "output name with a slash": ((*GOOD, "--output-file-name", "../x.csv"), ("--output-file-name",)),
    "--env without =": ((*GOOD, "--env", "NAME"), ("--env", "NAME=value")),
    "--set without =": ((*GOOD, "--set", "workers"), ("--set", "workers")),
    "--set of an unknown key": ((*GOOD, "--set", "worker=2"), ("--set", "worker", "workers")),
    "--set of a wrong value": ((*GOOD, "--set", "workers=none"), ("--set", "workers", "none")),
    "model is missing": ((*GOOD, "--model", "no-model"), ("--model", "no-model")),
    "interpreter is missing": ((*GOOD, "--python", "./no-python"), ("--python", "no-python")),
    "interpreter is no program": ((*GOOD, "--python", "code/score.py"), ("score.py", "--python")),
    "interpreter is not Python": ((*GOOD, "--python", "/bin/true"), ("/bin/true", "--python")),
    "bad glob": ((*GOOD, "--include", "[z-a]"), ("[z-a]",)),
}


@pytest.mark.parametrize("case", ARGUMENTS.values(), ids=ARGUMENTS)
def test_bad_arguments(job: Job, case: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    argv, words = case
    job.script()
    job.items(2)
    (job.folder / "nothing").mkdir()
    job.write("spec.json", "{}")
    job.write("bad-list", "in/item000.txt\nin/gone.txt\n")
    job.write("folder-list", "in\n")
    os.mkfifo(job.folder / "fifo.yml")
    (job.folder / "dangling").symlink_to("nowhere")
    (job.folder / "loop").symlink_to("loop")
    ran = job.batchctl(*argv, limit=20).expect(2)
    ran.names(*words)
    if argv:
        ran.remedied()
    assert ran.stdout == b""
    assert not (job.out.path / "predictions.csv").exists()
    assert not job.out.path.exists() or not job.out.run_directory.exists(), "a wrong argument left a run behind"


def test_a_bad_variable_is_named(job: Job) -> None:
    job.script()
    job.items(1)
    job.run(env={"BATCHCTL_WORKERS": "several"}).expect(2).names("BATCHCTL_WORKERS", "several")


def test_json_errors_are_not_on_standard_output(job: Job) -> None:
    ran = job.batchctl("run", "gone.py", "in", "-o", "out", "--json").expect(2)
    assert ran.stdout == b"" or json.loads(ran.stdout)
    ran.names("gone.py")


def test_a_help_for_whoever_types_nothing_useful(job: Job) -> None:
    assert job.batchctl("--help").expect(0).stdout
