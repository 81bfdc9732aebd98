"""The kill campaign in short; `make crash` is the long form."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.crash.campaign import beside_python, campaign, render
from tests.crash.jobs.job import item_name
from tests.crash.jobs.own_files import BAD, BATCH, BATCHES, TABLES
from tests.crash.jobs.table import LARGE


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_thirty_random_kills_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    found = campaign(kills=30, seed=30, workers=2, batchctl=beside_python(), work=tmp_path, short=True)
    assert found["violations"] == [], render(found)
    assert found["kills"] == 30


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_directory_elsewhere_is_found_again(tmp_path: Path) -> None:
    found = campaign(kills=6, seed=6, workers=2, batchctl=beside_python(), work=tmp_path, short=True, job_name="state")
    assert found["violations"] == [], render(found)
    assert found["kills"] == 6


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("job", ["parquet", "appending"])
def test_every_file_of_the_script_is_there_once_and_whole(job: str, tmp_path: Path) -> None:
    found = campaign(kills=6, seed=12, workers=2, batchctl=beside_python(), work=tmp_path, short=True, job_name=job)
    assert found["violations"] == [], render(found)
    assert found["kills"] == 6
    # Every round ended in the bytes of this one:
    out = tmp_path / "reference-a"
    good = [item_name(item) for item in range(BATCH * BATCHES) if item not in BAD]
    for table in TABLES:
        items = [pq.read_table(path).column("item").to_pylist() for path in sorted((out / table).iterdir())]
        assert sorted({item for names in items for item in names}) == good
        assert sum(map(len, items)) == 50 * len(good)
    if job == "appending":
        lines = (out / "results.jsonl").read_text().splitlines()
        assert [json.loads(line)["item"] for line in lines] == good


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_table_has_every_row_once(tmp_path: Path) -> None:
    found = campaign(kills=6, seed=12, workers=2, batchctl=beside_python(), work=tmp_path, short=True, job_name="table")
    assert found["violations"] == [], render(found)
    assert found["kills"] == 6
    rows = pq.read_table(tmp_path / "reference-a" / "predictions.parquet").to_pylist()
    good = [item for item in range(BATCH * BATCHES) if item not in BAD]
    assert [(row["item"], row["row"]) for row in rows] == [
        (item_name(item), at) for item in good for at in range(1 + item % 30)
    ]
    assert {row["item"] for row in rows if len(row["data"]) > 10_000} == {item_name(item) for item in LARGE}
