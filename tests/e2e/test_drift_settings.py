"""Of the same table: the keys of a spec, interpreters, and other versions of batchctl."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from batchctl import __version__
from batchctl.spec.identity import FIXED, FREE
from tests.e2e.drifting import FLAGS, TOML, Drifting, drifting
from tests.e2e.driver import BINARY, COMMAND, Job

# Specs that differ from batchctl.toml: in the arguments, and by partitions in place of a mini-batch size.
SPECS = {
    "words.toml": TOML + 'arguments = ["--word", "two"]\n',
    "users.toml": TOML.replace("mini_batch_size = 2", 'partition_keys = ["user"]\npartition_format = "{user}.txt"'),
}
SPEC_OF = {
    "dialect": "code/score.py",
    "arguments": "words.toml",
    "partition_keys": "users.toml",
    "partition_format": "users.toml",
}
# Each key of the fingerprint: how another value of it is asked for.
KEYS: dict[str, tuple[str, ...]] = {
    "dialect": ("--model", "model", "--mini-batch-size", "2"),  # of the script itself
    "arguments": (),  # words.toml
    "mini_batch_size": ("--mini-batch-size", "3"),
    "max_batch_bytes": ("--max-batch-bytes", "1M"),
    "grouping": ("--set", "grouping=directory"),
    "include": ("--include", "item00*"),
    "exclude": ("--exclude", "item00*"),
    "partition_keys": (),
    "partition_format": (),
    "output_action": ("--output-action", "summary_only"),
    "output_format": ("--output-format", "jsonl", "--output-file-name", "predictions.csv"),
    "output_file_name": ("--output-file-name", "other.csv"),
    "header": ("--header",),
    "order": ("--order", "completion"),
    "on_collision": ("--on-collision", "last"),
    "own_files": ("--own-files", "direct"),
    "mlflow_chunk_rows": ("--mlflow-chunk-rows", "5"),
}
# What is in OUT already could not be gone on with.
NEVER_ACCEPTED = {"output_action", "output_format", "output_file_name", "on_collision", "own_files", "header"}
FREE_KEYS: dict[str, tuple[tuple[str, ...], object]] = {
    "workers": (("--workers", "2"), 2),
    "threads": (("--threads", "1"), 1),
    "schedule": (("--schedule", "plan"), "plan"),
    "pin": (("--pin", "none"), "none"),
    "mem_reserve": (("--mem-reserve", "64M"), 64 << 20),
    "hint": (("--hint", "out"), "out"),
    "hide_gpus": (("--hide-gpus",), True),
    "timeout": (("--timeout", "99"), 99.0),
    "init_timeout": (("--init-timeout", "98"), 98.0),
    "max_retries": (("--max-retries", "7"), 7),
    "error_threshold": (("--error-threshold", "5%"), "5%"),
    "mini_batch_error_threshold": (("--mini-batch-error-threshold", "3"), 3),
    "allowed_failed_percent": (("--allowed-failed-percent", "50"), 50.0),
    "isolate": (("--no-isolate",), False),
    "input_check": (("--input-check", "always"), "always"),
    "grace": (("--grace", "1"), 1.0),
    "pause_max": (("--pause-max", "9"), 9.0),
    "logging_level": (("--logging-level", "debug"), "debug"),
    "preload": (("--preload", "json"), ["json"]),
}


def test_every_key_has_its_case() -> None:
    assert set(KEYS) == set(FIXED)
    assert set(FREE_KEYS) == set(FREE)


def test_each_key_of_the_fingerprint_is_refused_by_name(job: Job) -> None:
    drift = drifting(job)
    for name, text in SPECS.items():
        job.write(name, text)
    before = job.out.picture(beside=("status.json", "lock", "guest.pyz"))
    for key, flags in KEYS.items():
        spec = SPEC_OF.get(key, "batchctl.toml")
        for accept in ((), ("--accept-changes",)) if key in NEVER_ACCEPTED else ((),):
            ran = drift.resume(*flags, *accept, spec=spec).expect(6)
            ran.names(f"{key} ", "--fresh")
            assert (b"--accept-changes" in ran.stderr) == (key not in NEVER_ACCEPTED), key
    after = job.out.picture(beside=("status.json", "lock", "guest.pyz"))
    assert after == before, "a refusal wrote to the run"
    drift.resume().expect(0)
    assert job.out.rows == drift.rows()


# Keys that form the plan, which stands; partitions exclude the others and have a run of their own.
ACCEPTED = {
    "all that go together": (
        ("arguments", "mini_batch_size", "grouping", "include", "exclude", "order", "mlflow_chunk_rows"),
        {"word": "two"},
    ),
    "partitions": (("partition_keys", "partition_format"), {}),
    "another dialect": (("dialect",), {}),
}


@pytest.mark.parametrize(("keys", "now"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_was_accepted_concerns_what_is_left_and_not_the_plan(
    job: Job, keys: tuple[str, ...], now: dict[str, str]
) -> None:
    drift = drifting(job)
    for name, text in SPECS.items():
        job.write(name, text)
    spec = SPEC_OF.get(keys[0], "batchctl.toml")
    words = [word for key in keys for word in KEYS[key]]
    drift.resume(*words, "--accept-changes", spec=spec).expect(0).names(*(f"accepted: {key} " for key in keys))
    assert job.out.rows == drift.rows(**now)
    assert job.out.summary["batches"] == 12
    job.batchctl("verify", "out").expect(0)


def test_every_other_key_is_taken_and_noted(job: Job) -> None:
    drift = drifting(job)
    (job.folder / "hint").mkdir()
    drift.resume(*(word for words, _ in FREE_KEYS.values() for word in words)).expect(0)
    assert job.out.rows == drift.rows()
    first, second = drift.epochs()
    for key, (_, value) in FREE_KEYS.items():
        noted = second["settings"][key]
        assert noted == (str(job.out.path) if key == "hint" else value), key
        assert first["settings"][key] != noted, f"{key} is no other value"
    assert (first["settings"]["slots"], second["settings"]["slots"]) == (1, 2)


def environment(folder: Path, *, pandas: str = "") -> Path:
    """A Python of another path, which says that it has a pandas of this version."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    claims(folder, pandas)
    return folder / "bin" / "python"


def claims(folder: Path, pandas: str) -> None:
    (packages,) = folder.glob("lib/python*/site-packages")
    for old in packages.glob("pandas-*"):
        (old / "METADATA").unlink()
        old.rmdir()
    if pandas:
        found = packages / f"pandas-{pandas}.dist-info"
        found.mkdir()
        (found / "METADATA").write_text(f"Metadata-Version: 2.1\nName: pandas\nVersion: {pandas}\n")


def test_another_interpreter(job: Job) -> None:
    drift = drifting(job)
    python = environment(job.folder / "venv")
    drift.resume("--python", str(python)).expect(6).names("interpreter: path ", f"-> {python}", "--accept-changes")
    drift.resume("--python", str(python), "--accept-changes").expect(0)
    assert job.out.rows == drift.rows()
    drift.resume("--python", str(python)).expect(0).names("complete")


def test_the_interpreters_pandas(job: Job) -> None:
    python = environment(job.folder / "venv", pandas="1.2.3")
    drift = drifting(job, "--python", str(python))
    claims(job.folder / "venv", "4.5.6")
    drift.resume().expect(6).names("interpreter: pandas 1.2.3 -> 4.5.6", "--accept-changes", "--fresh")
    drift.resume("--accept-changes").expect(0)
    assert job.out.rows == drift.rows()


def another_batchctl(*changes: str) -> tuple[str, ...]:
    """Words before the command that make it another version: `module.NAME=value` each, set before it starts."""
    code = "import importlib, sys\n"
    for change in changes:
        name, _, value = change.partition("=")
        module, _, attribute = name.rpartition(".")
        code += f"importlib.import_module({module!r}).{attribute} = {value}\n"
    code += f"del sys.argv[1:{1 + len(COMMAND)}]\nfrom batchctl.cli.main import main\nsys.exit(main())\n"
    return (sys.executable, "-c", code)


needs_source = pytest.mark.skipif(bool(BINARY), reason="not run: the packaged file has one version only")


def killed_under(job: Job, *changes: str) -> Drifting:
    """Killed midway by this batchctl, then resumed and stopped before it does anything, by another."""
    drift = drifting(job)
    drift.gate.shut()
    words = ("run", "batchctl.toml", "in", "-o", "out", *drift.flags)
    with job.start(*words, prefix=another_batchctl(*changes)) as started:
        drift.gate.wait_reached(started)
        started.kill()
    drift.gate.open()
    return drift


@needs_source
def test_another_batchctl_goes_on(job: Job) -> None:
    drift = killed_under(job, "batchctl.__version__='0.0.7'")
    drift.resume().expect(0).names("batchctl 0.0.7 has worked on this run before", f"this is {__version__}")
    assert job.out.rows == drift.rows()
    assert [epoch["version"] for epoch in drift.epochs()] == [__version__, "0.0.7", __version__]


@needs_source
def test_a_later_format_of_the_log_is_refused_and_left_alone(job: Job) -> None:
    formats = ("batchctl.store.frames.LOG_FORMAT=2", "batchctl.store.payloads.LOG_FORMAT=2")
    later = ("batchctl.__version__='9.9'", *formats)
    drift = killed_under(job, *later)
    with (job.out.run_directory / "checkpoint.log").open("ab") as log:
        log.write(b"a frame of a kind that nobody here knows")
    before = job.out.picture(beside=("status.json", "lock", "guest.pyz"))
    for words in ((), ("--accept-changes",), ("--fresh",)):
        drift.resume(*words).expect(6).names("batchctl 9.9", "log format 2; this one reads 1", "fix: ")
    for words in (("verify", "out"), ("inspect", "out"), ("retry", "out")):
        job.batchctl(*words).expect(6)
    assert job.out.picture(beside=("status.json", "lock", "guest.pyz")) == before
    drift.resume(prefix=another_batchctl(*later)).expect(0)
    assert job.out.rows == drift.rows()


@needs_source
def test_a_later_format_of_job_json_is_refused(job: Job) -> None:
    drift = Drifting.begun(job)
    drift.gate.open()
    later = another_batchctl("batchctl.store.documents.FORMAT=2")
    drift.flags = FLAGS
    drift.resume(prefix=later).expect(0)
    for words in ((), ("--accept-changes",), ("--fresh",)):
        drift.resume(*words).expect(6).names("has format 2, this batchctl reads 1", "choose another OUT")
    assert job.out.rows == drift.rows()
