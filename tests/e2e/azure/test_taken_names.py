"""Files that can never be published cost no attempts for nothing; what a script does to its folder stops no run."""

from __future__ import annotations

import json

import pytest

from tests.e2e.driver import Job
from tests.e2e.test_bad_input import without_override

HEAD = "import os\nOUT = os.environ['AZUREML_BI_OUTPUT_PATH']\n"
FIXED = "def run(b):\n    open(os.path.join(OUT, 'same'), 'w').write('x')\n    return b\n"
OF_ITEMS = """
def run(b):
    for path in b:
        name = os.path.basename(path)
        open(os.path.join(OUT, 'item000.txt' if name == 'item013.txt' else name), 'w').write('x')
    return b
"""
SHUT = """
def run(b):
    folder = os.path.join(OUT, os.path.basename(b[0]) + ".d")
    os.makedirs(folder, exist_ok=True)
    for name in ("x", "y"):
        open(os.path.join(folder, name), "w").write(name)
    os.chmod(os.path.join(folder, "y"), 0)
    os.chmod(folder, 0o500)
    if "item013.txt" in b[0]:
        raise ValueError("bad")
    return b
"""
DIES = """
def run(b):
    if "item00" in b[0]:
        open(os.path.join(OUT, "half"), "w").write("x")
        os._exit(7)
    return [" ".join(os.listdir(os.path.dirname(os.path.dirname(OUT))))]
"""


def test_a_name_that_every_mini_batch_writes_is_given_up_soon(job: Job) -> None:
    job.write("code/score.py", HEAD + FIXED)
    job.items(64)
    ran = job.run("--mini-batch-size", "32", "--workers", "1", "--json").expect(0).json
    assert (ran["items_succeeded"], ran["items_quarantined"]) == (32, 32)
    assert len(job.out.charged()) <= 5  # the whole, two halves, and the parts of the first
    lines = (job.out.run_directory / "quarantine.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert {one["class"] for one in found} == {"FilesRefused"}
    told = found[0]["message"]
    assert "mini-batch 0" in told and "mini-batch 1" in told and "on_collision" in told, told
    assert job.out.leftovers() == []


def test_a_name_that_one_item_brought_up_costs_that_item(job: Job) -> None:
    job.write("code/score.py", HEAD + OF_ITEMS)
    job.items(16)
    ran = job.run("--mini-batch-size", "8", "--workers", "1", "--json").expect(0).json
    assert (ran["items_succeeded"], ran["items_quarantined"]) == (15, 1)
    assert job.out.charged() == [("failed", 8, 8), ("failed", 12, 4), ("failed", 12, 2), ("failed", 13, 1)]
    job.batchctl("failures", "out", "--paths").expect(0).names("item013.txt")


def test_modes_that_a_script_sets_stop_neither_publication_nor_the_end(job: Job) -> None:
    job.write("code/score.py", HEAD + SHUT)
    job.items(16)
    prefix = without_override()
    job.run("--mini-batch-size", "1", "--workers", "2", "--error-threshold", "1", prefix=prefix).expect(0)
    assert len(list(job.out.path.glob("*.d/[xy]"))) == 30
    assert not (job.out.run_directory / "stage").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_dead_workers_left_does_not_fill_the_disk(job: Job, workers: str) -> None:
    job.write("code/score.py", HEAD + DIES)
    job.items(12)
    job.run("--mini-batch-size", "1", "--workers", workers, "--max-retries", "0").expect(0)
    assert len(job.out.charged()) == 10
    homes = [[name for name in line.split() if name.startswith("worker-")] for line in job.out.rows]
    assert max(map(len, homes)) <= int(workers), homes
