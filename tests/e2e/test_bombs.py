"""Specs, settings and folders from elsewhere that are made to eat memory, time, or a reader that never returns.

Memory and cpu are bounded by the kernel (ulimit), not by a clock: a case that unfolded its bomb would die of it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.driver import Job, Ran

BOUNDED = ("sh", "-c", 'ulimit -v 1500000 && ulimit -t 20 && exec "$@"', "sh")
GOOD = "name: digits\ntype: model\ncode_configuration:\n  code: code\n  scoring_script: score.py\n"


def laughs(levels: int) -> str:
    return "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, levels)
    )


# name: bytes of deployment.yml -> words of the problem
YAML: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "billion laughs": (laughs(12), ("deployment.yml:", "aliases")),
    "laughs within mappings": (
        "a: &a {k: v}\n" + "".join(f"b{n}: &b{n} {{x: *a, y: *a}}\n" for n in range(30_000)),
        ("deployment.yml:", "aliases"),
    ),
    "one long list, often": ("a: &a [" + "x," * 20_000 + "]\n" + "b: [" + "*a," * 20_000 + "]\n", ("aliases",)),
    "merge of itself": ("a: &a\n  <<: *a\n", ("deployment.yml:2", "alias")),
    "merge of a list of bombs": (laughs(9) + "z: {<<: [*a8]}\n", ("aliases",)),
    "anchors that refer to each other": ("a: &a [*b]\nb: &b [*a]\n", ("alias",)),
    "deep lists": ("a: " + "[" * 100_000, ("nested more than",)),
    "deep mappings": ("".join(f"{' ' * n}k:\n" for n in range(1200)), ("nested more than",)),
    "deep flow mappings": ("a: " + "{a: " * 50_000, ("nested more than",)),
    "a scalar of almost 1 MiB": (f"{GOOD}description: {'x' * 1_000_000}\n", ()),
    "a key of 1 MB": (f"{'x' * 1_000_000}: 1\n", ("deployment.yml:1",)),
    "100,000 keys": ("".join(f"k{n}: 1\n" for n in range(100_000)), ("deployment.yml:",)),
    "100,000 anchors": ("".join(f"- &a{n} x\n" for n in range(60_000)), ("deployment.yml",)),
    "64 MiB": (b"# " + b"x" * (64 << 20) + b"\n", ("larger than 1 MiB",)),
    "object": ("a: !!python/object/new:os.system [touch owned]\n", ("deployment.yml:1", "tag")),
    "name": ("a: !!python/name:os.system\n", ("tag",)),
    "tag of a key": ("!!python/tuple [a]: 1\n", ("tag",)),
    "directive": ("%TAG ! tag:yaml.org,2002:python/\n---\na: !object/apply:os.system [touch owned]\n", ("tag",)),
    "NUL": (b"name: a\0b\n", ("deployment.yml:1:8", "U+0000")),
    "UTF-16 without a mark": ("name: a\n".encode("utf-16-le"), ("U+0000",)),
    "UTF-32": ("name: a\n".encode("utf-32"), ("deployment.yml",)),
    "duplicate keys by way of quotes": ("name: a\n'name': b\n", ("given twice",)),
    "a huge number": (f"{GOOD}settings: {{mini_batch_size: {'9' * 500_000}}}\n", ("mini_batch_size",)),
    "a float beyond all": (f"{GOOD}settings: {{mini_batch_size: 1e999999999}}\n", ("mini_batch_size",)),
}  # fmt: skip
GOOD_TOML = 'script = "code/score.py"\n'
TOML: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "deep lists": ("a = " + "[" * 8000 + "]" * 8000 + "\n", ("batchctl.toml", "deep")),
    "deep lists over lines": ("a = " + "[\n" * 100_000, ("batchctl.toml", "deep")),
    "deep tables": ("[" + ".".join(["a"] * 400) + "]\nb = 1\n", ("batchctl.toml",)),
    "many dots": ("a" + ".a" * 8000 + " = 1\n", ("dots",)),
    "a huge number": (f"workers = {'9' * 10_000}\n", ("batchctl.toml",)),
    "a huge hexadecimal number": (f"workers = 0x{'f' * 10_000}\n", ("batchctl.toml",)),
    "many huge numbers": ("a = [" + ",\n".join(["9" * 4000] * 200) + "]\n", ("batchctl.toml",)),
    "duplicate keys": (f"{GOOD_TOML}workers = 1\nworkers = 2\n", ("given twice: first on line 2, again on line 3",)),
    "100,000 keys": ("".join(f"k{n} = 1\n" for n in range(90_000)), ("batchctl.toml:", "more problems")),
    "20,000 tables": ("".join(f"[t{n}]\n" for n in range(20_000)), ("batchctl.toml:",)),
    "a long string": (f'{GOOD_TOML}name = """{"x" * 1_000_000}"""\n', ("batchctl.toml",)),
}


@pytest.mark.parametrize("case", YAML.values(), ids=YAML)
def test_yaml(job: Job, case: tuple[str | bytes, tuple[str, ...]]) -> None:
    checked(job, "deployment.yml", case)


@pytest.mark.parametrize("case", TOML.values(), ids=TOML)
def test_toml(job: Job, case: tuple[str | bytes, tuple[str, ...]]) -> None:
    checked(job, "batchctl.toml", case)


def checked(job: Job, name: str, case: tuple[str | bytes, tuple[str, ...]]) -> None:
    text, words = case
    job.script()
    job.items(1)
    (job.folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    ran = job.batchctl("check", name, "in", prefix=BOUNDED)
    assert ran.code == (2 if words else 0), ran
    ran.names(*words)
    assert len(ran.stdout) + len(ran.stderr) < 200_000, "the message is a bomb itself"
    assert not (job.folder / "owned").exists()


def azure_job(job: Job) -> Path:
    """A deployment whose script answers; its settings file."""
    job.write("deployment.yml", GOOD)
    job.script()
    job.items(2)
    return job.code / "parallel_run_step.settings.json"


def run(job: Job) -> Ran:
    return job.batchctl("run", "deployment.yml", "in", "-o", "out", "--workers", "1", "--init-timeout", "600", limit=30)


SETTINGS: dict[str, tuple[str, ...]] = {
    "pipe": ("is not a regular file",),
    "folder": (),
    "dangling": (),
    "huge": ("larger than 1 MiB",),
    "deep": (),
    "a list": ("append_row",),
    "not UTF-8": (),
    "a huge number": (),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_the_settings_file_of_the_code_folder(job: Job, what: str) -> None:
    """A pipe there blocked the worker until init_timeout."""
    path = azure_job(job)
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "dangling":
        path.symlink_to("nowhere")
    else:
        texts = {
            "huge": b'{"append_row": "' + b"x" * (8 << 20) + b'"}',
            "deep": b"[" * 200_000,
            "a list": b'{"append_row": [1]}',
            "not UTF-8": b'{"append_row": "\xff"}',
            "a huge number": b'{"append_row": ' + b"9" * 500_000 + b"}",
        }
        path.write_bytes(texts[what])
    ran = run(job)
    if what == "dangling":
        ran.expect(0)  # there is no such file
    else:
        ran.expect(2).names(path.name, *SETTINGS[what])
        ran.remedied()


@pytest.mark.parametrize("where", ["code", "model", "in"])
def test_pipes_and_loops_in_folders_that_are_read(job: Job, where: str) -> None:
    """The fingerprint, the staging of the model and the listing look at every file; none of them waits for one."""
    azure_job(job)
    job.write("model/weights", "w")
    with (job.folder / "deployment.yml").open("a") as file:
        file.write("model:\n  path: model\n")
    folder = job.folder / where
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "module.py")
    (folder / "loop").symlink_to(".")
    (folder / "dangling").symlink_to("nowhere")
    ran = run(job)
    assert ran.code in (0, 2), ran
    if ran.code == 0:
        assert len(job.out.rows) == 2


def test_documents_of_a_run_that_nest_or_grow_without_end(job: Job) -> None:
    """job.json, status.json and learned.json from elsewhere: refused or passed over, within bounds."""
    job.script()
    job.items(2)
    job.run().expect(0)
    directory = job.out.run_directory
    for name, codes in (("job.json", (7,)), ("status.json", (0,)), ("summary.json", (0,)), ("learned.json", (0,))):
        good = (directory / name).read_bytes() if (directory / name).exists() else b""
        for text in (b"[" * 200_000, b"null"):
            (directory / name).write_bytes(text)
            assert job.run(prefix=BOUNDED).code in codes, (name, text[:9])
            if name == "status.json":
                assert job.batchctl("status", "out", prefix=BOUNDED).code in (0, 7)
            (directory / name).write_bytes(good)
