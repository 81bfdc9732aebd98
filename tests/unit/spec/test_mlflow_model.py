"""Models of MLflow's as specs, or in deployments without a script: how they resolve, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchctl.model.job import Dialect, Grouping, OutputFormat, Scorer
from tests.unit.spec.conftest import Folder

PYFUNC = """\
flavors:
  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}
  sklearn: {pickled_model: model.pkl}
mlflow_version: 3.0.0
signature:
  inputs: '[{"type": "double", "name": "x", "required": true}]'
"""
# name: (the spec, what is in it, what is given beside it)
WAYS: dict[str, tuple[str, str, dict[str, object]]] = {
    "the folder": ("iris", "", {}),
    "the file": ("iris/MLmodel", "", {}),
    "a deployment": ("d.yml", "name: d\nmodel: {path: iris, type: mlflow_model}\n", {}),
    "a deployment that names no type": ("d.yml", "name: d\nmodel: {path: iris}\n", {}),
    "a deployment that names the file": ("d.yml", "name: d\nmodel: {path: iris/MLmodel}\n", {}),
    "a registered model, a copy given": ("d.yml", "name: d\nmodel: azureml:iris:1\n", {"model": "iris"}),
    "no model, one given": ("d.yml", "name: d\n", {"model": "iris"}),
    "a model of another kind, one given": ("d.yml", "name: d\nmodel: {path: model}\n", {"model": "iris"}),
    "a batchctl.toml": ("b.toml", 'model = "iris"\n', {}),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_model_needs_no_script(folder: Folder, name: str) -> None:
    file = folder.write("iris/MLmodel", PYFUNC)
    spec, text, flags = WAYS[name]
    if text:
        folder.write(spec, text)
    found = folder.load(spec, flags=flags).require()
    assert found.scorer is Scorer.MLFLOW
    assert (found.script, found.code, found.model) == (file, file.parent, file.parent)
    assert any("no scoring script, so the MLflow model is scored as it is" in note for note in found.notes)


def test_a_model_as_the_spec_has_defaults_of_its_own(folder: Folder) -> None:
    folder.write("iris/MLmodel", PYFUNC)
    spec = folder.load("iris", sets=("mini_batch_size=3",)).require()
    assert (spec.dialect, spec.name, spec.mini_batch_size) == (Dialect.MLFLOW, "iris", 3)
    assert (spec.output_format, spec.grouping, spec.timeout) == (OutputFormat.AZURE, Grouping.PATH, 3600.0)
    assert spec.mlflow_chunk_rows == 10_000


def test_a_script_beside_a_model_of_mlflow_wins(folder: Folder) -> None:
    folder.write("iris/MLmodel", PYFUNC)
    spec = folder.azure("model: {path: iris, type: mlflow_model}\n").require()
    assert (spec.scorer, spec.script) == (Scorer.SCRIPT, folder.root / "code/score.py")


# name: (MLmodel, what is said of it)
DAMAGED: dict[str, tuple[str | None, str]] = {
    "no pyfunc": (
        "flavors: {sklearn: {}, spark: {}}\n",
        (
            "MLmodel:flavors: no python_function flavour, which scoring without a script takes; "
            'the flavours there are: "sklearn", "spark". Save the model with that flavour, or add a scoring script'
        ),
    ),
    "no flavours": ("run_id: x\n", "the flavours there are: none"),
    "flavours a list": ("flavors: [python_function]\n", "the flavours there are: none"),
    "empty": (" \n", "MLmodel: is empty"),
    "no YAML": ("flavors: {\n", "MLmodel:2"),
    "missing": (None, 'd.yml:1 model.path: there is no scoring script, and "iris" holds no MLmodel file of MLflow\'s'),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_one_line_says_what_is_wrong(folder: Folder, name: str) -> None:
    text, expected = DAMAGED[name]
    (folder.root / "iris").mkdir()
    if text is not None:
        folder.write("iris/MLmodel", text)
    loaded = folder.load("d.yml", "model: {path: iris}\n")
    (said,) = map(str, loaded.problems)
    assert expected in said


def test_the_folder_above_a_model_is_refused_by_the_model_s_name(folder: Folder) -> None:
    """Downloaded models often come with a folder around them."""
    folder.write("outer/model/MLmodel", PYFUNC)
    (said,) = map(str, folder.load("d.yml", "model: {path: outer}\n").problems)
    assert '"outer" holds no MLmodel file of MLflow\'s. "model" in it does: give "outer/model"' in said
    (said,) = map(str, folder.load("outer").problems)
    assert 'outer: is no model of MLflow\'s itself, but "model" in it is. Give outer/model' in said
    folder.write("outer/other/MLmodel", PYFUNC)
    (said,) = map(str, folder.load("outer").problems)
    assert "holds none of batchctl.toml, deployment.yml, deployment.yaml, score.py, MLmodel" in said


def test_a_model_that_is_the_spec_takes_neither_script_nor_other_model(folder: Folder) -> None:
    folder.write("iris/MLmodel", PYFUNC)
    folder.write("other/MLmodel", PYFUNC)
    for flags, sets, expected in (
        ({"model": "other"}, (), "--model: the spec is an MLflow model itself. Give the other model as SPEC"),
        ({}, ("script=score.py",), "--set:script: the spec is an MLflow model, which needs none"),
    ):
        (said,) = map(str, folder.load("iris", flags=flags, sets=sets).problems)
        assert expected in said


def test_a_script_in_the_folder_is_taken_before_the_model(folder: Folder) -> None:
    folder.write("iris/MLmodel", PYFUNC)
    folder.write("iris/score.py", "def run(mini_batch):\n    return mini_batch\n")
    spec = folder.load("iris").require()
    assert (spec.dialect, Path(spec.script).name) == (Dialect.SCRIPT, "score.py")
