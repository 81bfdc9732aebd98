"""Arguments, variables and the model's folder, as the host lays them out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batchctl.errors import StorageError
from batchctl.guest import script as guest_script
from batchctl.model.job import OUTPUT_FOLDER, Dialect, ErrorThreshold, OutputAction
from batchctl.model.node import Sizing, Slot
from batchctl.run.model_folder import stage_model
from batchctl.run.request import layout_for
from batchctl.run.surroundings import script_arguments, script_environment
from tests.unit.run.stage import job


def options(words: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(words[::2], words[1::2], strict=True))


def test_arguments_of_a_deployment(tmp_path: Path) -> None:
    spec = job(tmp_path)._replace(
        dialect=Dialect.AZURE,
        script=tmp_path / "code/sub/score.py",
        code=tmp_path / "code",
        arguments=("--logging_level", "mine"),
        mini_batch_size=7,
        timeout=1.5,
        max_retries=2,
        error_threshold=ErrorThreshold(5),
        logging_level="warning",
    )
    words = script_arguments(spec, workers=3)
    assert words[-4:] == ("--logging_level", "WARNING", "--logging_level", "mine")
    found = options(words[:-2])
    assert found.pop("--client_sdk_version")
    assert found == {
        "--output": OUTPUT_FOLDER,
        "--scoring_module_name": "sub/score.py",
        "--mini_batch_size": "7",
        "--run_invocation_timeout": "2",
        "--run_max_try": "3",
        "--process_count_per_node": "3",
        "--output_action": "append_row",
        "--append_row_file_name": "predictions.csv",
        "--append_row_dataframe_header": "False",
        "--error_threshold": "5",
        "--logging_level": "WARNING",
    }
    assert guest_script.OUTPUT_FOLDER == OUTPUT_FOLDER
    summary = options(script_arguments(spec._replace(output_action=OutputAction.SUMMARY_ONLY), workers=3))
    assert not {"--append_row_file_name", "--append_row_dataframe_header"} & set(summary)
    percent = options(script_arguments(spec._replace(error_threshold=ErrorThreshold(None, 3.0)), workers=3))
    assert "--error_threshold" not in percent


@pytest.mark.parametrize("dialect", [Dialect.NATIVE, Dialect.SCRIPT])
def test_arguments_of_other_dialects(tmp_path: Path, dialect: Dialect) -> None:
    spec = job(tmp_path)._replace(dialect=dialect, arguments=("--x", ""))
    assert script_arguments(spec, workers=1) == ("--logging_level", "INFO", "--x", "")


def environment(tmp_path: Path, dialect: Dialect, *, hide: bool = False, **given: str) -> dict[str, str]:
    spec = job(tmp_path)._replace(dialect=dialect, environment=given, model=tmp_path / "m", hide_gpus=hide)
    sizing = Sizing((Slot(0, (0,), 1, "GPU-a"),), (), gpus=2)
    return script_environment(spec, layout_for(spec), run_id="ab", sizing=sizing)


def test_variables(tmp_path: Path) -> None:
    found = environment(tmp_path, Dialect.AZURE, MINE="x", AZUREML_RUN_ID="theirs")
    model = found.pop("AZUREML_MODEL_DIR")
    assert model.endswith("/.batchctl/model")
    expected = {"MINE": "x", "AZUREML_RUN_ID": "theirs", "AZUREML_NODE_COUNT": "1", "AZ_BATCHAI_GPU_COUNT_FOUND": "2"}
    assert found == expected
    assert environment(tmp_path, Dialect.NATIVE, MINE="x") == {"MINE": "x", "AZUREML_MODEL_DIR": model}


def test_variables_that_say_where_the_worker_is_are_not_the_specs(tmp_path: Path) -> None:
    given = {"AZUREML_BI_OUTPUT_PATH": "/elsewhere", "BATCHCTL_RUN_ID": "other", "CUDA_VISIBLE_DEVICES": "1"}
    found = environment(tmp_path, Dialect.NATIVE, hide=True, **given)
    assert not {"AZUREML_BI_OUTPUT_PATH", "BATCHCTL_RUN_ID"} & set(found)
    assert found["CUDA_VISIBLE_DEVICES"] == ""


def tree(folder: Path) -> dict[str, str]:
    """Where each file below leads, by a walk that goes into no link."""
    return {
        os.path.relpath(os.path.join(place, name), folder): os.path.realpath(os.path.join(place, name))
        for place, _folders, names in os.walk(folder)
        for name in names
    }


def test_a_model_folder_is_staged_file_by_file(tmp_path: Path) -> None:
    model, stage = tmp_path / "m", tmp_path / "stage"
    (model / "deep" / "er").mkdir(parents=True)
    (model / "empty").mkdir()
    for name in ("a.pt", "deep/er/b.pt"):
        (model / name).write_text(name)
    (model / "link").symlink_to(model / "deep")
    (model / "dangling").symlink_to("nowhere")
    for _ in range(2):  # a second time over what is there, and what a script left in it
        stage_model(stage, model, outside=())
        assert os.listdir(stage) == ["m"]
        assert tree(stage) == {f"m/{name}": str(model / name) for name in ("a.pt", "deep/er/b.pt")} | {
            "m/dangling": str(model / "nowhere"),
        }
        assert sorted(os.listdir(stage / "m")) == ["a.pt", "dangling", "deep", "empty", "link"]
        assert (stage / "m/link/er/b.pt").read_text() == "deep/er/b.pt"
        (stage / "m/deep/__pycache__").mkdir()
        (stage / "stray").touch()
    assert not (model / "deep/__pycache__").exists()


def test_a_model_file_is_staged_in_place_of_what_was(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new.bin").write_text("w")
    stage_model(tmp_path / "stage", tmp_path / "old", outside=())
    stage_model(tmp_path / "stage", tmp_path / "new.bin", outside=())
    assert os.listdir(tmp_path / "stage") == ["new.bin"]
    assert (tmp_path / "stage/new.bin").read_text() == "w"


def test_a_model_that_cannot_be_staged_is_named(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "stage").write_text("in the way")
    with pytest.raises(StorageError, match="cannot stage the model"):
        stage_model(tmp_path / "stage", tmp_path / "m", outside=())
