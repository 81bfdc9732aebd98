"""S1 to S19: append_row writes the bytes that Azure's driver writes.

The expected side is not written down: it comes from the pandas and numpy that run the script, called as the driver
calls them. One run gives all vectors, a mini-batch each, with a line before each that says which one follows.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.e2e.azure.deployments import Deployment
from tests.e2e.driver import SCRIPTS, Job
from tests.scripts.vectors import VECTORS

MARK = "--- vector "
SCRIPT = """
    import os
    from vectors import VECTORS

    def run(mini_batch):
        (path,) = mini_batch
        number, kind = os.path.basename(path).split("-")
        name = list(VECTORS)[int(number)]
        return VECTORS[name]() if kind == "vector" else ["--- vector " + name]
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What stands in predictions.csv for each vector."""
    job = Job(tmp_path_factory.mktemp("bytes") / "job")
    deployment = Deployment(job, SCRIPT, mini_batch_size=1, max_concurrency_per_instance=2)
    shutil.copyfile(SCRIPTS / "vectors.py", job.code / "vectors.py")
    deployment.files(*[f"{number:02d}-{kind}" for number in range(len(VECTORS)) for kind in ("mark", "vector")])
    deployment.run().expect(0)
    _, *pieces = job.out.predictions.split(MARK.encode())
    parts = [piece.partition(b"\n") for piece in pieces]
    return {name.decode(): rows for name, _, rows in parts}


def driver_writes(path: Path, result: Any) -> bytes:
    """As Azure's driver appends a result to its temporary file."""
    with path.open("a", encoding="utf-8", newline="") as file:
        if isinstance(result, pd.DataFrame):
            if len(result):
                result.to_csv(file, header=None, index=None, sep=" ", mode="a")
        else:
            file.writelines(f"{element}\n" for element in result)
    return path.read_bytes()


@pytest.mark.parametrize("name", VECTORS)
def test_bytes(written: dict[str, bytes], name: str, tmp_path: Path) -> None:
    assert written[name] == driver_writes(tmp_path / "rows", VECTORS[name]())


def test_s1_to_s18_are_all_there(written: dict[str, bytes]) -> None:
    """Guards the fixture: every vector was looked at, and none is empty that should not be."""
    assert list(written) == list(VECTORS)
    assert [name for name, rows in written.items() if not rows] == [
        "S12 an empty frame",
        "S12 a frame without rows",
    ]
    assert {name.split()[0] for name in VECTORS} == {f"S{number}" for number in range(1, 19)}


def test_s19_lists_and_frames_share_a_file(job: Job) -> None:
    script = """
        import os
        import pandas as pd

        def run(mini_batch):
            names = [os.path.basename(path) for path in mini_batch]
            if "/list/" in mini_batch[0]:
                return [f"{name}: 1" for name in names]
            return pd.DataFrame({"name": names, "cls": [1] * len(names)})
    """
    deployment = Deployment(job, script, mini_batch_size=2, max_concurrency_per_instance=2)
    deployment.files("0/list/a", "0/list/b c", "1/frame/d e", "1/frame/f", "2/list/g", "3/frame/h")
    deployment.run().expect(0)
    assert job.out.predictions == b'a: 1\nb c: 1\n"d e" 1\nf 1\ng: 1\nh 1\n'
