"""Complete deployment folders in published shapes: each scored, killed at random, resumed; equal bytes, equal files."""

from __future__ import annotations

import csv
import importlib.util
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.driver import LIMIT_S, REPO, Job, Out, wait_for

DEPLOYMENTS = REPO / "tests" / "deployments"
KILLS = 3
_WORDS = ["amber", "birch", "cedar", "dune", "ember", "fjord", "grove", "heath", "inlet", "jetty"]


def texts(folder: Path) -> None:
    dice = random.Random(1)
    for number in range(120):
        part = folder / f"part{number % 3}"
        part.mkdir(parents=True, exist_ok=True)
        (part / f"text {number:03d}.txt").write_text(" ".join(dice.choices(_WORDS, k=dice.randint(3, 40))))


def points(folder: Path) -> None:
    dice = random.Random(2)
    for number in range(150):
        (folder / f"p{number:03d}.csv").write_text(",".join(f"{dice.uniform(-2, 2):.3f}" for _ in range(3)))


def fours(folder: Path) -> None:
    dice = random.Random(3)
    for number in range(60):
        (folder / f"x{number:02d}.csv").write_text(",".join(f"{dice.gauss(0, 1):.4f}" for _ in range(4)))


def articles(folder: Path) -> None:
    dice = random.Random(4)
    for number in range(40):
        with (folder / f"articles{number:02d}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text"])
            for line in range(dice.randint(1, 9)):
                first = f'"{dice.choice(_WORDS)}", she said;\n{number}'
                writer.writerow([line, f"{first}. {' '.join(dice.choices(_WORDS, k=30))}"])


def tables(folder: Path) -> None:
    dice = random.Random(5)
    for number in range(48):
        lines = [f"{line},{dice.uniform(0, 9):.3f}" for line in range(20)]
        (folder / f"t{number:02d}.csv").write_text("id,value\n" + "\n".join(lines) + "\n")


@dataclass(frozen=True)
class Shape:
    """A deployment folder: how its inputs are made, what OUT then holds, and what its model needs."""

    inputs: Callable[[Path], None]
    check: Callable[[Out, Path], None]
    flags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    make: str = ""


def _names(inputs: Path) -> list[str]:
    return [path.name for path in sorted(inputs.rglob("*")) if path.is_file()]


def frames(out: Out, inputs: Path) -> None:
    read = list(csv.reader(out.predictions.decode().splitlines(), delimiter=" "))
    assert [row[0] for row in read] == _names(inputs)
    assert {row[1] for row in read} == {"long", "short"}


def lines_by_name(out: Out, inputs: Path) -> None:
    assert [line.split(": ")[0] for line in out.predictions.decode().splitlines()] == _names(inputs)


def elements(out: Out, inputs: Path) -> None:
    expected = []
    for path in sorted(inputs.iterdir()):
        with path.open(newline="") as file:
            expected += [row["text"].split(". ")[0] + "\n" for row in csv.DictReader(file)]
    assert out.predictions.decode() == "".join(expected)
    assert out.summary["rows"] == len(expected) > out.summary["items"]


def parquets(out: Out, inputs: Path) -> None:
    import pyarrow.parquet as pq

    assert sorted(tree(out)) == [name.replace(".csv", ".parquet") for name in _names(inputs)]
    for name, data in tree(out).items():
        assert len(data) > 100, name
        assert pq.read_table(out.path / name).column_names == ["id", "value", "prediction"]


def one_log(out: Out, inputs: Path) -> None:
    assert list(tree(out)) == ["completions.jsonl"]
    read = [json.loads(line) for line in (out.path / "completions.jsonl").read_text().splitlines()]
    assert [line["file"] for line in read] == _names(inputs)


def classes(out: Out, inputs: Path) -> None:
    assert [line.split(" ")[0] for line in out.predictions.decode().splitlines()] == _names(inputs)


def tones(out: Out, inputs: Path) -> None:
    stems = [name.removesuffix(".txt") for name in _names(inputs)]
    assert [line.split(": ")[0] for line in (out.path / "tones.csv").read_text().splitlines()] == stems
    assert sorted(tree(out)) == sorted(["tones.csv", *(f"{stem}.json" for stem in stems)])


SHAPES: Mapping[str, Shape] = {
    "dataframe-per-file": Shape(texts, frames, needs=("pandas",)),
    "numpy-batch": Shape(points, lines_by_name, needs=("numpy",)),
    "long-text": Shape(articles, elements, needs=("pandas",)),
    "parquet-files": Shape(tables, parquets, needs=("pandas", "pyarrow")),
    "jsonl-append": Shape(texts, one_log, flags=("--on-collision", "append")),
    "parallel-job": Shape(texts, tones),
    "torch-glob": Shape(fours, classes, needs=("torch", "pandas"), make="make_model.py"),
}


def tree(out: Out) -> dict[str, bytes]:
    """Every file of OUT that is the user's."""
    found = (path for path in sorted(out.path.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(out.path)): path.read_bytes() for path in found if out.run_directory not in path.parents
    }


@pytest.mark.parametrize("name", SHAPES)
def test_a_published_shape_runs_as_it_is(job: Job, name: str) -> None:
    shape = SHAPES[name]
    missing = [module for module in shape.needs if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"not run: {', '.join(missing)} is not installed here")
    folder = job.folder / "deployment"
    shutil.copytree(DEPLOYMENTS / name, folder)
    if shape.make:
        subprocess.run([sys.executable, folder / shape.make], check=True, capture_output=True)
    shape.inputs(job.inputs)
    untouched = picture(folder)

    command = ("run", "deployment/deployment.yml", "in", *shape.flags, "-o")
    job.batchctl(*command, "whole").expect(0)
    whole = Out(job.folder / "whole")
    shape.check(whole, job.inputs)
    assert whole.summary["items_failed"] == 0

    killed = kill_and_resume(job, command, whole)
    assert tree(killed) == tree(whole)
    assert killed.leftovers() == []
    job.batchctl("verify", killed.path).expect(0)
    assert picture(folder) == untouched


def kill_and_resume(job: Job, command: tuple[str, ...], whole: Out) -> Out:
    """The same job into another folder, its coordinator killed at random moments and the command typed again."""
    out = Out(job.folder / "killed")
    log = out.run_directory / "checkpoint.log"
    end = (whole.run_directory / "checkpoint.log").stat().st_size
    dice, kills = random.Random(str(command)), 0
    for _ in range(5):  # this process may be kept waiting for longer than a whole run takes: then from the start
        shutil.rmtree(out.path, ignore_errors=True)
        for target in sorted(dice.randint(0, end * 2 // 3) for _ in range(KILLS)):
            fresh = not log.exists() or log.stat().st_size < target
            with job.start(*command, "killed") as started:
                wait_for(
                    lambda far=target: (log.exists() and log.stat().st_size >= far) or not started.alive(),
                    "the log to grow",
                    seconds=LIMIT_S,
                )
                kills += fresh and started.alive()
                started.kill()
        if kills:
            break
    assert kills, "every kill came too late"
    job.batchctl(*command, "killed").expect(0)
    return out


def picture(folder: Path) -> dict[str, bytes]:
    """What the deployment holds; Python's caches are the interpreter's own."""
    return {
        str(path): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
