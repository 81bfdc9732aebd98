"""Models of MLflow's without a script: real models in an environment that has mlflow, scored by the real command."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.azure.test_deployments import DEPLOYMENTS, kill_and_resume, tree
from tests.e2e.driver import Job, Out, Ran
from tests.user_environments import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true"}
FOUR = "sepal length (cm),sepal width (cm),petal length (cm),petal width (cm)\n"


class Kitchen:
    """The interpreter that has mlflow, and models and inputs that were made with it."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python = python
        self.folder = folder

    def run(self, job: Job, spec: str | Path, *flags: str, out: str = "out") -> Ran:
        words = ("run", spec, "in", "-o", out, "--python", self.python, "--workers", "1", *flags)
        return job.batchctl(*words, limit=300)

    def tell(self, job: Job, kind: str, *flags: str, out: str = "out") -> Ran:
        return self.run(job, self.folder / f"tell-{kind}", *flags, out=out)

    def deployment(self, job: Job, name: str) -> str:
        """A copy of a deployment folder with its model; the name of its deployment.yml."""
        shutil.copytree(self.folder / name, job.folder / "deployment")
        return "deployment/deployment.yml"


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    python = environment("mlflow")
    folder = tmp_path_factory.mktemp("mlflow")
    made = [[Path(__file__).with_name("mlflow_models.py"), folder]]
    for name in ("mlflow-csv", "mlflow-images"):
        shutil.copytree(DEPLOYMENTS / name, folder / name)
        made.append([folder / name / "make_model.py"])
    for words in made:
        # Old versions of mlflow leave a folder where they are called.
        given = {"env": {**os.environ, **_QUIET}, "cwd": folder, "capture_output": True, "text": True}
        done = subprocess.run([python, *words], check=False, **given)
        assert done.returncode == 0, done.stderr
    return Kitchen(python, folder)


def table(job: Job, name: str, rows: Sequence[str], *, head: str = "x\n") -> Path:
    return job.write(f"in/{name}", head + "".join(f"{row}\n" for row in rows))


def read(out: Out) -> list[list[str]]:
    return list(csv.reader(out.predictions.decode().splitlines()))


def causes(out: Out) -> str:
    """What was said of the files that failed."""
    return "\n".join(cause["message"] for cause in out.summary["causes"])


def counts(out: Out) -> tuple[int, int, int]:
    summary = out.summary
    return summary["items_succeeded"], summary["items_failed"], summary["rows"]


def test_m1_a_row_is_row_prediction_and_file_name_with_commas_and_without_header(job: Job, kitchen: Kitchen) -> None:
    spec = kitchen.deployment(job, "mlflow-csv")
    flowers = (kitchen.folder / "iris" / "flowers.csv").read_text().splitlines()[1:]
    table(job, "a.csv", flowers[:2] + flowers[50:51], head=FOUR)
    table(job, "deep/c, d.csv", flowers[100:102], head=FOUR)
    kitchen.run(job, spec).expect(0)
    assert job.out.predictions == b'0,0,a.csv\n1,0,a.csv\n2,1,a.csv\n0,2,"c, d.csv"\n1,2,"c, d.csv"\n'
    assert counts(job.out) == (2, 0, 5)
    job.batchctl("verify", "out").expect(0)


def test_m2_every_format_of_a_table_gives_the_same_predictions(job: Job, kitchen: Kitchen) -> None:
    for path in (kitchen.folder / "iris").iterdir():
        shutil.copy(path, job.inputs / path.name.upper() if path.suffix == ".pqt" else job.inputs)
    spec = kitchen.deployment(job, "mlflow-csv")
    kitchen.run(job, spec).expect(0)
    kinds = ["0"] * 50 + ["1"] * 50 + ["2"] * 50
    by_file: dict[str, list[list[str]]] = {}
    for row in read(job.out):
        by_file.setdefault(row[2], []).append(row[:2])
    expected = [[str(number), kind] for number, kind in enumerate(kinds)]
    names = [
        "FLOWERS.PQT",
        "flowers.csv",
        "flowers.json",
        "flowers.jsonl",
        "flowers.parquet",
        "named.json",
        "split.json",
    ]
    assert sorted(by_file) == names
    assert [name for name, rows in by_file.items() if rows != expected] == []


def test_m3_images_are_arrays_in_the_shape_of_the_signature(job: Job, kitchen: Kitchen) -> None:
    spec = kitchen.deployment(job, "mlflow-images")
    for path in sorted((kitchen.folder / "digits").iterdir())[:12]:
        shutil.copy(path, job.inputs)
    job.write("in/9-damaged.png", "no picture")
    kitchen.run(job, spec).expect(0)
    rows = read(job.out)
    assert [row[2] for row in rows] == sorted(path.name for path in job.inputs.iterdir())[:-1]
    assert [(row[0], row[1]) for row in rows] == [("0", row[2][0]) for row in rows]
    assert counts(job.out) == (12, 1, 12)


PICTURES = """
import sys
from PIL import Image
folder = sys.argv[1]
grey, rgb = Image.new("L", (3, 2), 7), Image.new("RGB", (3, 2), (9, 8, 7))
for name in ("a.png", "b.tif", "c.TIFF", "d.bmp"):
    grey.save(f"{folder}/{name}")
for name in ("e.png", "f.jpg", "g.JPEG"):
    rgb.save(f"{folder}/{name}", quality=100)
rgb.quantize(4).save(f"{folder}/h.gif")
Image.new("1", (3, 2), 1).save(f"{folder}/i.png")
Image.new("I;16", (3, 2), 1000).save(f"{folder}/j.png")
rgb.convert("RGBA").save(f"{folder}/k.png")
"""
SEEN = {
    **dict.fromkeys(("a.png", "b.tif", "c.TIFF", "d.bmp"), "uint8 (2, 3) 7"),
    **dict.fromkeys(("e.png", "f.jpg", "g.JPEG", "h.gif"), "uint8 (2, 3, 3) 9"),
    "i.png": "uint8 (2, 3) 255",
    "j.png": "uint16 (2, 3) 1000",
    "k.png": "uint8 (2, 3, 4) 9",
}


def test_m3_images_without_a_signature_are_what_their_files_hold(job: Job, kitchen: Kitchen) -> None:
    subprocess.run([kitchen.python, "-c", PICTURES, job.inputs], check=True)
    kitchen.tell(job, "image").expect(0)
    assert {row[2]: row[1] for row in read(job.out)} == SEEN
    kitchen.tell(job, "tensor", out="named").expect(0)  # float32, (-1, 2, 3, 3), by name
    named = Out(job.folder / "named")
    assert {row[-1] for row in read(named)} == {"e.png", "f.jpg", "g.JPEG", "h.gif"}
    assert {tuple(row[:6]) for row in read(named)} == {("0", "4.0", "1.0", "2.0", "3.0", "3.0")}
    assert counts(named) == (4, 7, 4)
    assert "an image of shape (2, 3) does not fit a tensor of (-1, 2, 3, 3)" in causes(named)


def test_m4_the_signature_is_enforced_while_reading(job: Job, kitchen: Kitchen) -> None:
    head = "t,n,d,x,b,more\n"
    table(job, "good.csv", ["007,1,2024-01-02,3,True,z"], head=head)
    job.write("in/good.jsonl", '{"n": 1, "x": 3, "t": "007", "b": true, "d": "2024-01-02"}\n')
    table(job, "missing.csv", ["7,1,3,True"], head="t,n,x,b\n")
    table(job, "word.csv", ["7,one,2024-01-02,3,True,z"], head=head)
    table(job, "no-day.csv", ["7,1,someday,3,True,z"], head=head)
    job.write("in/half.json", '[{"n": 1.5, "x": 3, "t": "007", "b": true, "d": "2024-01-02"}]')
    kitchen.tell(job, "types").expect(0)
    seen = "n=i x=f t=O b=b d=M"
    assert read(job.out) == [["0", seen, "1", "02.01.", f"good.{kind}"] for kind in ("csv", "jsonl")]
    assert counts(job.out) == (2, 4, 2)
    said = causes(job.out)
    for words in (
        "Failed to enforce schema: Model is missing inputs ['d']",
        "invalid literal for int",
        "Can not safely convert float64 to int32",
    ):
        assert words in said, words
    assert "word.csv': invalid literal for int() with base 10: 'one'" in said


def test_m5_a_file_is_one_predict_and_a_long_table_is_as_if_it_were(job: Job, kitchen: Kitchen) -> None:
    told = job.folder / "told"
    job.environment["TOLD"] = str(told)
    table(job, "a.csv", ["1", "2", "3"])
    table(job, "b.csv", ["4", "5"])
    kitchen.tell(job, "rows").expect(0)
    assert [row[1] for row in read(job.out)] == ["3", "3", "3", "2", "2"]
    assert told.read_text() == "3\n2\n"

    # Columns whose type shows late: in pieces of four rows as in one.
    table(job, "late.csv", [f"{n},{n % 3},t{n},{n}" for n in range(9)] + ["9.5,,,True"], head="x,n,t,m\n")
    told.unlink()
    kitchen.tell(job, "echo", "--mlflow-chunk-rows", "0", out="whole").expect(0)
    assert told.read_text() == "3\n2\n10\n"
    told.unlink()
    kitchen.tell(job, "echo", "--mlflow-chunk-rows", "4", out="pieces").expect(0)
    assert told.read_text() == "3\n2\n4\n4\n2\n"
    whole, pieces = Out(job.folder / "whole"), Out(job.folder / "pieces")
    assert whole.predictions == pieces.predictions
    assert "0,0.0,0.0,t0,0,late.csv" in whole.predictions.decode()

    # A model that shows that it does not go row by row gets all of a file.
    kitchen.tell(job, "last", "--mlflow-chunk-rows", "4", out="last").expect(0)
    assert read(Out(job.folder / "last")) == [["0", "3.0", "a.csv"], ["0", "5.0", "b.csv"], ["0", "9.5", "late.csv"]]


def test_m5_parquet_in_pieces_is_as_in_one(job: Job, kitchen: Kitchen) -> None:
    code = """
        import sys, pandas as pd
        gap = [None if n == 17 else n for n in range(20)]
        frame = pd.DataFrame({"n": pd.array(gap, dtype="Int64"), "x": range(20), "t": [f"t{n}" for n in range(20)]})
        import pyarrow as pa, pyarrow.parquet as pq
        plain = pa.table({"n": pa.array(gap, pa.int64()), "b": pa.array([None if v is None else v > 3 for v in gap]),
                          "x": pa.array(range(20)), "t": pa.array([f"t{n}" for n in range(20)])})
        pq.write_table(plain, sys.argv[1] + "/plain.parquet", row_group_size=6)
        frame.to_parquet(sys.argv[1] + "/nullable.parquet", row_group_size=6)
        frame.astype({"t": "category"}).to_parquet(sys.argv[1] + "/category.parquet", row_group_size=6)
    """
    code = "\n".join(line[8:] for line in code.splitlines())
    subprocess.run([kitchen.python, "-c", code, job.inputs], check=True)
    for rows in ("0", "4"):
        kitchen.tell(job, "echo", "--mlflow-chunk-rows", rows, out=rows).expect(0)
    assert Out(job.folder / "4").predictions == Out(job.folder / "0").predictions
    assert b"0,0.0,False,0,t0,plain.parquet\n" in Out(job.folder / "0").predictions
    kitchen.tell(job, "last", "--mlflow-chunk-rows", "10", out="last").expect(0)  # no piece is of ten rows
    assert [row[:2] for row in read(Out(job.folder / "last"))] == [["0", "19.0"]] * 3


def test_m6_a_bad_file_costs_itself_and_the_others_are_predicted_once(job: Job, kitchen: Kitchen) -> None:
    told = job.folder / "told"
    job.environment["TOLD"] = str(told)
    for number in range(8):
        table(job, f"good{number}.csv", [str(n) for n in range(number + 1)])
    table(job, "good3-empty.csv", [])
    job.write("in/good2.txt", "1\n")
    job.write("in/good4-nothing.csv", "")
    job.write("in/good5.parquet", "no parquet")
    kitchen.tell(job, "rows", "--mini-batch-size", "100", "--max-retries", "0").expect(0)
    assert counts(job.out) == (9, 3, 36)
    assert [row[2] for row in read(job.out)] == [f"good{number}.csv" for number in range(8) for _ in range(number + 1)]
    assert sorted(map(int, told.read_text().split())) == [1, 2, 3, 4, 5, 6, 7, 8]
    said = causes(job.out)
    assert "good2.txt': File type 'txt' is not supported" in said
    assert "good4-nothing.csv': No columns to parse from file" in said
    assert "Error processing input file" in said
    job.batchctl("verify", "out").expect(0)


def test_m6_a_run_in_which_every_file_is_bad_fails(job: Job, kitchen: Kitchen) -> None:
    job.write("in/a.txt", "1\n")
    kitchen.tell(job, "rows").expect(3).names("File type 'txt' is not supported")


# kind: the columns, and the rows of a file that holds 1 and 3
SHAPES = {
    "frame": ("label,p", ['"say ""hi"", x",0.5', "a b,1.5"]),
    "series": ("score", ["1", "3"]),
    "matrix": ("prediction_0,prediction_1", ["1,2", "3,6"]),
    "dict": ("half,pair_0,pair_1", ["0.5,1,2", "1.5,3,6"]),
    "list": ("label", ["", "big"]),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_m7_the_columns_of_a_prediction_stand_between_row_and_file_name(job: Job, kitchen: Kitchen, kind: str) -> None:
    table(job, "a.csv", ["1", "3"])
    columns, rows = SHAPES[kind]
    lines = [f"{number},{row},a.csv\n" for number, row in enumerate(rows)]
    kitchen.tell(job, kind, "--output-format", "csv").expect(0)
    assert job.out.predictions.decode() == f"row,{columns},file_name\n" + "".join(lines)


def test_m7_no_prediction_fails_its_file_and_too_few_are_noted(job: Job, kitchen: Kitchen) -> None:
    table(job, "a.csv", ["1", "3"])
    kitchen.tell(job, "none", out="none").expect(3).names("predict returned None (is a return statement missing?)")
    kitchen.tell(job, "few").expect(0).names("'a.csv': rows: 2, predictions: 1")
    assert job.out.predictions == b"0,3,a.csv\n"


def test_m7_the_azure_format_has_no_header_and_jsonl_has_names(job: Job, kitchen: Kitchen) -> None:
    table(job, "a.csv", ["1"])
    kitchen.tell(job, "frame", out="azure").expect(0)
    assert Out(job.folder / "azure").predictions == b'0,"say ""hi"", x",0.5,a.csv\n'
    kitchen.tell(job, "dict", "--output-format", "jsonl").expect(0)
    found = (job.out.path / "predictions.jsonl").read_text()
    assert found == '{"row":0,"half":0.5,"pair_0":1,"pair_1":2,"file_name":"a.csv"}\n'


def test_m8_an_interpreter_without_mlflow_is_named_before_anything_runs(job: Job, kitchen: Kitchen) -> None:
    table(job, "a.csv", ["1"])
    spec = kitchen.folder / "tell-rows"
    for words in (("check", spec), ("run", spec, "in", "-o", "out")):
        job.batchctl(*words).expect(2).names("MLmodel: takes mlflow, which", "--python")
    assert not job.out.path.exists()
    job.batchctl("check", spec, "--python", kitchen.python).expect(0)


def test_m8_a_model_without_a_pyfunc_flavour_is_refused_by_its_flavours(job: Job) -> None:
    job.write("model/MLmodel", "flavors:\n  spark: {}\n")
    job.write(
        "deployment.yml", "name: d\ntype: model\nmodel: {path: model, type: mlflow_model}\ncompute: c\nsettings: {}\n"
    )
    for words in (("check", "deployment.yml"), ("run", "deployment.yml", "in", "-o", "out")):
        job.batchctl(*words).expect(2).names("no python_function flavour", 'the flavours there are: "spark"')


def test_a_model_that_cannot_be_loaded_is_told_with_its_traceback(job: Job, kitchen: Kitchen) -> None:
    shutil.copytree(kitchen.folder / "mlflow-csv" / "model", job.folder / "model")
    (job.folder / "model" / "model.pkl").write_bytes(b"damaged")
    table(job, "a.csv", ["1"])
    kitchen.run(job, "model").expect(4).names("UnpicklingError")


def test_a_model_that_changed_is_another_request(job: Job, kitchen: Kitchen) -> None:
    shutil.copytree(kitchen.folder / "tell-rows", job.folder / "model")
    table(job, "a.csv", ["1"])
    kitchen.run(job, "model").expect(0)
    with (job.folder / "model" / "MLmodel").open("a") as file:
        file.write("# changed\n")
    kitchen.run(job, "model").expect(6).names("model/MLmodel changed")


@pytest.mark.parametrize("name", ["mlflow-csv", "mlflow-images"])
def test_a_killed_run_resumes_to_the_same_bytes(job: Job, kitchen: Kitchen, name: str) -> None:
    spec = kitchen.deployment(job, name)
    if name == "mlflow-images":
        shutil.copytree(kitchen.folder / "digits", job.inputs, dirs_exist_ok=True)
    else:
        flowers = (kitchen.folder / "iris" / "flowers.csv").read_text().splitlines()[1:]
        for number in range(50):
            table(job, f"flowers{number:02d}.csv", flowers[number::50], head=FOUR)
    command = ("run", spec, "in", "--python", str(kitchen.python), "-o")
    job.batchctl(*command, "whole", limit=300).expect(0)
    whole = Out(job.folder / "whole")
    assert whole.summary["items_failed"] == 0
    killed = kill_and_resume(job, command, whole)
    assert tree(killed) == tree(whole)
    job.batchctl("verify", killed.path).expect(0)
