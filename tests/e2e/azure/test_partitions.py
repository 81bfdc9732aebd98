"""partition_keys over files, through the real command: what each call of run() gets, and that no partition is split."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from itertools import groupby
from typing import Any

import pytest

from tests.e2e.driver import REPO, Job, Out, wait_for
from tests.e2e.halting import Gate

DEPLOYMENT = REPO / "tests" / "deployments" / "partitions"


def spec(job: Job, text: str) -> str:
    """A batchctl.toml with the script of these tests."""
    job.script("partitions")
    job.write("batchctl.toml", f'script = "code/score.py"\ninput = "in"\nworkers = 2\n{text}\n')
    return "batchctl.toml"


def plant(job: Job, *names: str | bytes) -> None:
    for name in names:
        path = os.path.join(os.fsencode(job.inputs), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")


def told(out: Out) -> list[tuple[dict[str, str], list[str]]]:
    """(partition_key_value, files) of each mini-batch, in the order of the result."""
    with (out.path / "predictions.csv").open(newline="") as file:
        rows: list[Any] = [json.loads(line[0]) for line in list(csv.reader(file))[1:]]
    found = [
        (index, values, [row[2] for row in group]) for (index, values), group in groupby(rows, lambda row: row[:2])
    ]
    indices = [index for index, _, _ in found]
    assert indices == sorted(set(indices))  # the rows of a mini-batch are together
    return [(values, names) for _, values, names in found]


KEYS = 'partition_keys = ["user", "season"]'
FORMS: dict[str, tuple[str, tuple[str, ...], list[str | bytes], list[tuple[dict[str, str], list[str]]]]] = {
    "folders by position": (
        KEYS, (), ["a/x/1", "a/x/2", "a/y/1", "b/x/deep/1"],
        [({"user": "a", "season": "x"}, ["a/x/1", "a/x/2"]), ({"user": "a", "season": "y"}, ["a/y/1"]),
         ({"user": "b", "season": "x"}, ["b/x/deep/1"])],
    ),
    "folders key=value": (
        KEYS, (), ["2020/season=x/user=a/1", "2020/season=y/user=a/1", "2021/season=x/user=a/1"],
        [({"user": "a", "season": "x"}, ["2020/season=x/user=a/1", "2021/season=x/user=a/1"]),
         ({"user": "a", "season": "y"}, ["2020/season=y/user=a/1"])],
    ),
    "a template": (
        'partition_keys = ["day"]\npartition_format = "{user}/{day}-*.csv"', (),
        ["a/1-p.csv", "a/1-q.csv", "a/2-p.csv", "b/1-p.csv"],
        [({"day": "1"}, ["a/1-p.csv", "a/1-q.csv", "b/1-p.csv"]), ({"day": "2"}, ["a/2-p.csv"])],
    ),
    "a template by flag, keys by --set": (
        "", ("--partition-format", "{user}_*", "--set", "partition_keys=user"), ["a_1", "a_2", "b_1"],
        [({"user": "a"}, ["a_1", "a_2"]), ({"user": "b"}, ["b_1"])],
    ),
    "odd values": (
        'partition_keys = ["käy"]', (), ["a b/1", "a=b/1", "k%20/1", "ünï/1", b"\xff\xfe/1"],
        [({"käy": value}, [f"{value}/1"]) for value in ("a b", "a=b", "k%20", "ünï", "\udcff\udcfe")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_each_mini_batch_is_a_partition(job: Job, form: str) -> None:
    text, flags, names, expected = FORMS[form]
    plant(job, *names)
    job.batchctl("run", spec(job, text), "-o", "out", *flags).expect(0)
    assert told(job.out) == expected


@pytest.mark.parametrize("at", ["3.csv", "30.csv"])
def test_killed_and_resumed_with_equal_bytes(job: Job, at: str) -> None:
    plant(job, *(f"{part}/u{number % 40}/{number}.csv" for part in "abc" for number in range(120)))
    toml = spec(job, 'partition_keys = ["user"]\npartition_format = "*/u{user}/*"')
    job.batchctl("run", toml, "-o", "calm").expect(0)
    gate = Gate(job.folder / "gate")
    env = {"GATE": str(job.folder / "gate"), "GATE_AT": at}
    for number in (signal.SIGKILL, signal.SIGTERM):
        with job.start("run", toml, "-o", "out", env=env) as started:
            gate.wait_reached(started)
            started.signal(number)
            if number == signal.SIGTERM:
                wait_for(lambda: job.out.state == "draining" or not started.alive(), "the run to drain")
                gate.open()
            started.end()
        gate.shut()
    assert not (job.out.path / "predictions.csv").exists()
    gate.open()
    job.batchctl("run", toml, "-o", "out", env=env).expect(0)
    assert job.out.predictions == Out(job.folder / "calm").predictions
    assert [len(names) for _, names in told(job.out)] == [9] * 40


# The same exception twice ends the retrying early, a death does not; a mini-batch by size would then be halved.
@pytest.mark.parametrize(("guilty", "charged"), [("bad", [("failed", 4, 5)] * 2), ("deadly", [("lost", 4, 5)] * 3)])
def test_a_partition_is_given_up_as_a_whole(job: Job, guilty: str, charged: list[tuple[str, int, int]]) -> None:
    plant(job, *(f"{user}/{number}" for user in "abc" for number in range(4)), f"b/{guilty}")
    toml = spec(job, 'partition_keys = ["user"]\nmax_retries = 2\nisolate = true')
    job.batchctl("run", toml, "-o", "out").expect(0)
    assert job.out.charged() == charged
    assert [values for values, _ in told(job.out)] == [{"user": "a"}, {"user": "c"}]
    assert (job.out.summary["items_quarantined"], job.out.summary["items_succeeded"]) == (5, 8)


def test_other_keys_are_another_run(job: Job) -> None:
    plant(job, "a/x/1", "b/x/1")
    job.batchctl("run", spec(job, 'partition_keys = ["user"]'), "-o", "out").expect(0)
    changed = job.batchctl("run", spec(job, 'partition_keys = ["user", "season"]'), "-o", "out")
    changed.expect(6).names("partition_keys", "season")


def test_plan_tells_how_many_and_the_largest(job: Job) -> None:
    plant(job, "a/1", "b/1", "b/2", "c/1")
    toml = spec(job, 'partition_keys = ["user"]')
    job.batchctl("plan", toml).expect(0).names("3 partitions by user", "the largest has 2 items: user=b")
    found = job.batchctl("plan", toml, "--json").expect(0).json
    assert (found["batches"], found["largest_partition"], found["largest_partition_items"]) == (3, "user=b", 2)
    assert found["partition_keys"] == ["user"]


REFUSED = {
    "a file without a folder": (KEYS, ["a/x/1", "a/2"], ("in/a/2", "season", "partition_format")),
    "a file without a named folder": (KEYS, ["user=a/season=x/1", "user=b/1"], ("in/user=b/1", "`season=...`")),
    "a file that the template does not fit": (
        'partition_keys = ["u"]\npartition_format = "{u}/*.csv"', ["a/1.csv", "a/1.txt"], ("in/a/1.txt", "{u}/*.csv"),
    ),
    "keys and a size": (f"{KEYS}\nmini_batch_size = 5", ["a/x/1"], ("mini_batch_size", "exclude each other")),
    "a template without keys": ('partition_format = "{u}/*"', ["a/1"], ("batchctl.toml:4", "partition_keys")),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(job: Job, case: str) -> None:
    text, names, words = REFUSED[case]
    plant(job, *names)
    ran = job.batchctl("run", spec(job, text), "-o", "out").expect(2)
    ran.names(*words)
    ran.remedied()
    assert not job.out.path.exists()


def test_the_deployment_folder(job: Job) -> None:
    folder = job.folder / "deployment"
    shutil.copytree(DEPLOYMENT, folder)
    job.batchctl("run", "deployment", "-o", "out").expect(0)
    rows = [json.loads(line) for line in (job.out.path / "shares.jsonl").read_text().splitlines()]
    assert [(row["store"], row["brand"], row["week"], row["share"]) for row in rows] == [
        ("2", "dominicks", "week1", 0.25),
        ("2", "dominicks", "week2", 0.75),
        ("2", "tropicana", "week1", 0.5),
        ("2", "tropicana", "week2", 0.5),
        ("5", "dominicks", "week1", 1.0),
    ]
