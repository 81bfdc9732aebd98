"""What `check` shows, what belongs to a run for good, and that the docs name every setting."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from batchctl.model.job import JobSpec
from batchctl.spec import parallel_keys
from batchctl.spec.azure_keys import CODE_KEYS, IGNORED, METADATA, RETRY_KEYS
from batchctl.spec.check import as_json, as_text, rows
from batchctl.spec.fields import SETTINGS
from batchctl.spec.identity import FIXED, FREE, NEITHER, environment_digest, fixed_part, free_part
from batchctl.spec.native import KEYS
from batchctl.spec.parallel_keys import OWN_SETTINGS, SETTING_KEYS, TASK_KEYS
from batchctl.spec.program_arguments import DROPPED, RANK, USED
from batchctl.spec.resolve import COMMAND_SWITCHES
from tests.unit.spec.conftest import Folder

ROOT = Path(__file__).resolve().parents[3]
FIELDS = set(JobSpec._fields)


def test_check_shows_every_field_with_its_source(folder: Folder) -> None:
    loaded = folder.azure("compute: x\nsettings: {environment_variables: {TOKEN: hunter2}}\n", flags={"workers": "3"})
    by_field = {row.field: row for row in rows(loaded)}
    unshown = {"spec_path", "out", "environment", "sources", "notes"}
    assert FIELDS - unshown <= set(by_field)
    assert (by_field["workers"].value, by_field["workers"].source) == (3, "--workers")
    assert by_field["environment.TOKEN"].value == "(set)"
    text = "\n".join(as_text(loaded))
    assert "deployment.yml:3:compute: ignored" in text
    assert "hunter2" not in text + json.dumps(as_json(loaded))
    assert as_json(loaded)["ok"] is True


def test_check_shows_problems_beside_what_is_right(folder: Folder) -> None:
    loaded = folder.azure("mini_batch_size: 0\nsettings: {error_threshold: 4}\n")
    text = as_text(loaded)
    assert text[-2:] == ["1 problem:", f"  {loaded.problems[0]}"]
    data = as_json(loaded)
    assert data["ok"] is False
    (problem,) = data["problems"]  # type: ignore[misc]
    assert problem["where"] == "deployment.yml:3"
    assert problem["key"] == "mini_batch_size"
    assert problem["remedy"]
    by_field = {row.field: row for row in rows(loaded)}
    assert (by_field["error_threshold"].value, by_field["mini_batch_size"].source) == ("4", "see problems")


def test_check_of_what_is_no_spec(folder: Folder) -> None:
    loaded = folder.load("gone.yml")
    assert rows(loaded) == ()
    assert as_text(loaded)[-1].startswith("  gone.yml: is missing")
    json.dumps(as_json(loaded))


def test_every_field_is_fixed_or_free_or_neither() -> None:
    assert sorted((*FIXED, *FREE, *NEITHER)) == sorted(FIELDS)


def test_parts_are_json_and_the_digest_is_salted(folder: Folder) -> None:
    spec = folder.toml('workers = 2\nerror_threshold = "3%"\n[env]\nA = "hunter2"\n').require()
    text = json.dumps([fixed_part(spec), free_part(spec)])
    assert "hunter2" not in text
    assert free_part(spec)["error_threshold"] == "3%"
    assert fixed_part(spec)["output_format"] == "csv"
    digest = environment_digest(spec, b"salt")
    assert digest == environment_digest(spec, b"salt")
    assert digest != environment_digest(spec, b"other")
    others = ({"A": "hunter"}, {"A": "hunter2", "B": ""}, {"Ah": "unter2"}, {})
    assert all(environment_digest(spec._replace(environment=other), b"salt") != digest for other in others)


def test_settings_are_fields_of_the_spec_with_its_defaults() -> None:
    defaults = JobSpec._field_defaults
    for setting in SETTINGS:
        assert setting.field in FIELDS
        assert setting.help
        # The native timeout is the one default that differs from the record's, which is Azure's.
        if setting.field not in ("name", "environment", "timeout"):
            assert setting.default == defaults[setting.field], setting.field


@pytest.mark.parametrize("where", ["native", "flags", "azure", "parallel"])
def test_the_docs_name_every_key_flag_and_variable(where: str) -> None:
    text = (ROOT / "docs" / "spec.md").read_text()
    if where == "native":
        words = [*KEYS]
    elif where == "flags":
        words = [word for setting in SETTINGS if setting.flag for word in (setting.flag, setting.variable)]
        words += ["--set", *(f"BATCHCTL_{name.upper()}" for name in COMMAND_SWITCHES)]
    elif where == "parallel":
        words = [*(f"task.{key}" for key in TASK_KEYS), *OWN_SETTINGS, *parallel_keys.METADATA, *parallel_keys.IGNORED]
        words += [*SETTING_KEYS, *parallel_keys.USED_AT_ROOT, *USED, *DROPPED, RANK]
    else:
        words = [*IGNORED, *METADATA, *(f"code_configuration.{key}" for key in CODE_KEYS)]
        words += [setting.azure for setting in SETTINGS if setting.azure]
        words += [f"retry_settings.{key}" for key in RETRY_KEYS] + [
            "model.path",
            "model.type",
            "environment.conda_file",
        ]
    missing = [word for word in words if f"`{word}" not in text]
    assert not missing


def test_yaml_is_imported_only_to_read_yaml() -> None:
    code = "import sys, batchctl.spec.resolve, batchctl.spec.check; print('yaml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"
