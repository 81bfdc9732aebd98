"""E1 to E6: which files `run()` is given, and how they are grouped."""

from __future__ import annotations

import csv
import os

from tests.e2e.azure.deployments import Deployment, names
from tests.e2e.driver import Job

LISTS = """
    import os
    from witness import tell

    def run(mini_batch):
        tell("run", type=type(mini_batch).__name__, of=sorted({type(p).__name__ for p in mini_batch}), paths=mini_batch)
        return [os.path.basename(path) for path in mini_batch]
"""
SIZES = """
    import os
    import pandas as pd

    def run(mini_batch):
        root = os.environ["ROOT"]
        return pd.DataFrame({
            "file": [os.path.relpath(path, root) for path in mini_batch],
            "size": [os.path.getsize(path) for path in mini_batch],
        })
"""


def test_e1_100_files_are_10_lists_of_10_absolute_paths(job: Job) -> None:
    deployment = Deployment(job, LISTS, mini_batch_size=10)
    deployment.files(*names(100))
    deployment.run().expect(0)
    calls = deployment.told("run")
    assert [(call["type"], call["of"], len(call["paths"])) for call in calls] == [("list", ["str"], 10)] * 10
    assert sorted(path for call in calls for path in call["paths"]) == [str(job.inputs / name) for name in names(100)]
    assert all(os.path.isabs(path) for call in calls for path in call["paths"])


def test_e2_the_last_mini_batch_is_short(job: Job) -> None:
    deployment = Deployment(job, LISTS, mini_batch_size=10)
    deployment.files(*names(25))
    deployment.run().expect(0)
    assert [len(call["paths"]) for call in deployment.told("run")] == [10, 10, 5]


def two_folders(job: Job) -> Deployment:
    deployment = Deployment(job, LISTS, mini_batch_size=5)
    deployment.files(*names(7, folder="a/"), *names(6, folder="b/"))
    return deployment


def test_e3_mini_batches_of_a_deployment_do_not_span_folders(job: Job) -> None:
    deployment = two_folders(job)
    deployment.run().expect(0)
    calls = deployment.told("run")
    assert [len(call["paths"]) for call in calls] == [5, 2, 5, 1]
    assert all(len({os.path.dirname(path) for path in call["paths"]}) == 1 for call in calls)


def test_e3_mini_batches_of_a_native_spec_may(job: Job) -> None:
    deployment = two_folders(job)
    job.write(
        "batchctl.toml",
        f'script = "code/score.py"\nmini_batch_size = 5\nworkers = 1\n[env]\nWITNESS = "{job.folder / "told.jsonl"}"\n',
    )
    job.batchctl("run", "batchctl.toml", "in", "-o", "out").expect(0)
    assert [len(call["paths"]) for call in deployment.told("run")] == [5, 5, 3]


def test_e4_no_file_is_left_out_and_every_name_comes_back(job: Job) -> None:
    deployment = Deployment(job, SIZES, mini_batch_size=3, environment_variables={"ROOT": str(job.inputs)})
    plain = [".hidden", "_SUCCESS", "a name with spaces.txt", 'he said "hi".txt', "中文 ünïcode.txt", "sub/.keep"]
    deployment.files(*plain)
    (job.inputs / "empty").touch()
    job.write("elsewhere/linked file.txt", "four")
    (job.inputs / "linked folder").symlink_to(job.folder / "elsewhere")
    (job.inputs / "linked.txt").symlink_to(job.folder / "elsewhere" / "linked file.txt")
    (job.inputs / "sub" / "loop").symlink_to(job.inputs)
    ran = deployment.run().expect(0)
    ran.names("loop")  # a folder that leads back into itself is passed over, and said so
    expected = {name: len(name.encode()) for name in plain}
    expected |= {"empty": 0, "linked folder/linked file.txt": 4, "linked.txt": 4}
    with (job.out.path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        found = {name: int(size) for name, size in csv.reader(file, delimiter=" ")}
    assert found == expected
    assert deployment.counts("items", "rows") == (len(expected), len(expected))


def test_e5_a_single_file_is_one_call_with_one_path(job: Job) -> None:
    deployment = Deployment(job, LISTS, mini_batch_size=10)
    deployment.files("only.csv", "another.csv")
    deployment.run(inputs="in/only.csv").expect(0)
    assert [call["paths"] for call in deployment.told("run")] == [[str(job.inputs / "only.csv")]]


def test_e6_an_empty_folder_is_refused_at_once(job: Job) -> None:
    deployment = Deployment(job, LISTS, mini_batch_size=10)
    ran = deployment.run().expect(2)
    ran.names("no input items", "in")
    ran.remedied()
    assert deployment.told("run") == []
    assert not (job.out.path / "predictions.csv").exists()
