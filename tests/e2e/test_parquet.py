"""output_format = parquet: one file, the same after kills and retries; what cannot be in it fails where it is."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e.driver import Job, Out, wait_for
from tests.e2e.halting import Gate

FLAGS = ("--output-format", "parquet", "--mini-batch-size", "5", "--workers", "2", "--max-retries", "0")
ITEMS = 102


def result(out: Out) -> bytes:
    return (out.path / "predictions.parquet").read_bytes()


def numbers(out: Out) -> list[int]:
    return [int(name[4:7]) for name in pq.read_table(io.BytesIO(result(out))).column("file").to_pylist()]


def put(job: Job, number: int, text: str = "") -> None:
    name = f"item{number:03d}.txt"
    (job.inputs / name).write_text(text or f"content of {name}\n")


@pytest.fixture
def tables(job: Job) -> Job:
    job.script("tables")
    job.items(ITEMS)
    return job


def sound(job: Job, *, rows: int) -> None:
    told = job.batchctl("verify", "out", "--json").expect(0).json
    assert (told["sound"], told["finished"], told["n_rows"]) == (True, True, rows), told


def undisturbed(job: Job, *flags: str) -> bytes:
    job.run(*FLAGS, *flags, out="reference").expect(0)
    return result(Out(job.folder / "reference"))


def test_one_file_in_plan_order(tables: Job) -> None:
    told = tables.run(*FLAGS, "--json").expect(0).json
    assert (told["rows"], told["output"]) == (ITEMS, str(tables.out.path / "predictions.parquet"))
    expected = [
        {"file": f"item{n:03d}.txt", "number": n, "tags": ["t"] * (n % 3), "rare": "x" if n == 99 else None}
        for n in range(ITEMS)
    ]
    found = pq.read_table(io.BytesIO(result(tables.out)))
    assert found.to_pylist() == expected
    assert [str(field.type) for field in found.schema] == ["string", "int64", "list<element: string>", "string"]
    sound(tables, rows=ITEMS)
    assert sorted(path.name for path in tables.out.path.iterdir()) == [".batchctl", "predictions.parquet"]
    lines = tables.batchctl("inspect", "out").expect(0).lines
    assert [line for line in lines if line["type"] == "TYPES"][-1]["types"][-1] == ["rare", "string"]
    assert next(line for line in lines if line["type"] == "DONE")["arrangement"] == "table_by_item"
    tables.run(*FLAGS).expect(0).names("complete")
    tables.run("--output-format", "csv", *FLAGS[2:]).expect(6).names("output_file_name", "output_format")
    # How many mini-batches and workers there were does not show.
    flags = ("--output-format", "parquet", "--mini-batch-size", "17", "--workers", "1", "--output-file-name", "x.pq")
    tables.run(*flags, out="other").expect(0)
    assert (tables.folder / "other" / "x.pq").read_bytes() == result(tables.out)


def test_killed_and_resumed_it_is_the_same(tables: Job) -> None:
    reference = undisturbed(tables)
    gate = Gate(tables.folder / "gate")
    tables.environment["GATE"] = str(tables.folder / "gate")
    put(tables, 50, "gated")
    partial = tables.out.path / "predictions.parquet.partial"
    with tables.start("run", "code/score.py", "in", "-o", "out", *FLAGS) as started:
        gate.wait_reached(started)
        wait_for(lambda: partial.exists() and b"item005" in partial.read_bytes(), "rows in .partial")
        started.signal(signal.SIGKILL)
        started.end()
    told = tables.batchctl("verify", "out", "--json").expect(0).json
    assert (told["sound"], told["finished"]) == (True, False)
    gate.open()
    tables.run(*FLAGS).expect(0)
    assert result(tables.out) == reference
    sound(tables, rows=ITEMS)
    assert tables.out.leftovers() == []


def test_another_type_fails_its_file_and_names_the_column(tables: Job) -> None:
    put(tables, 77, "drift")
    tables.run(*FLAGS, "--workers", "1", "--schedule", "plan").expect(0)
    assert numbers(tables.out) == [number for number in range(ITEMS) if number != 77]
    [line] = (tables.out.run_directory / "quarantine.jsonl").read_text().splitlines()
    told = json.loads(line)
    assert (Path(told["path"]).name, told["class"]) == ("item077.txt", "ColumnsChanged")
    assert [word for word in ("'number'", "string", "int64", "astype") if word not in told["message"]] == []


@pytest.mark.parametrize("short", [False, True], ids=["given up", "short"])
def test_a_retry_comes_to_what_never_failed(tables: Job, short: bool) -> None:
    reference = undisturbed(tables)
    for number in (17, 58, 99):
        put(tables, number, "short" if short else "broken")
    tables.run(*FLAGS, "--error-threshold", "-1").expect(0)
    assert len(numbers(tables.out)) == ITEMS - 3
    for number in (58, 99):
        put(tables, number)
    retry = ("retry", "out", *(["--short"] if short else []))
    tables.batchctl(*retry).expect(0)
    assert len(numbers(tables.out)) == ITEMS - 1
    sound(tables, rows=ITEMS - 1)
    put(tables, 17)
    tables.batchctl(*retry).expect(0)
    assert result(tables.out) == reference
    sound(tables, rows=ITEMS)
    tables.batchctl(*retry).expect(0).names("nothing to retry")


def test_damage_is_found(tables: Job) -> None:
    put(tables, 17, "broken")
    tables.run(*FLAGS).expect(0)
    put(tables, 17)
    path = tables.out.path / "predictions.parquet"
    good = path.read_bytes()
    for at in (0, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        tables.batchctl("verify", "out").expect(7)
        ran = tables.batchctl("retry", "out") if at == len(good) // 2 else None
        assert ran is None or ran.code == 7  # the old rows are read anew: not without a look at their digest
    path.write_bytes(good)
    tables.batchctl("retry", "out").expect(0)
    sound(tables, rows=ITEMS)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter without pyarrow."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


def test_an_interpreter_without_pyarrow_is_refused_before_anything_is_made(job: Job, bare: Path) -> None:
    job.script("score")
    job.items(3)
    asked = ("--python", bare, "--output-format", "parquet")
    job.run(*asked).expect(2).names("pyarrow", str(bare), "pip install", "--python", "csv")
    assert not job.out.path.exists()
    job.batchctl("check", "code/score.py", *asked).expect(2).names("pyarrow", str(bare))
    job.batchctl("plan", "code/score.py", "in", *asked).expect(2).names("pyarrow", str(bare))
    job.run(*asked, "--output-action", "summary_only").expect(0)
    job.run(*asked[:2], out="csv").expect(0)
    job.run("--output-format", "parquet", out="here").expect(0)
    assert pq.read_table(job.folder / "here" / "predictions.parquet").schema.names == ["prediction"]


DEPLOYMENT = """\
name: d
endpoint_name: e
type: model
compute: azureml:c
code_configuration: {code: code, scoring_script: score.py}
settings: {mini_batch_size: 3}
"""


def test_an_azure_deployment_takes_it_by_the_flag(tables: Job) -> None:
    tables.write("deployment.yml", DEPLOYMENT)
    flags = ("--output-format", "parquet", "--header")
    tables.batchctl("run", "deployment.yml", "in", "-o", "out", *flags).expect(0).names("--header", "not used")
    assert numbers(tables.out) == [*range(ITEMS)]


def test_lists_and_a_header_that_is_not_used(job: Job) -> None:
    job.script("score")
    rows = job.items(5)
    job.run("--output-format", "parquet").expect(0)
    assert pq.read_table(io.BytesIO(result(job.out))).to_pylist() == [{"prediction": row} for row in rows]
