"""Whatever is in a file, on the command line or in the environment: a spec or printable problems; never a crash."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchctl.spec.azure_keys import IGNORED, METADATA, STRANGERS
from batchctl.spec.check import as_json, as_text
from batchctl.spec.fields import SETTINGS
from batchctl.spec.native import KEYS
from batchctl.spec.parallel import KNOWN
from batchctl.spec.parallel_keys import TASK_KEYS
from batchctl.spec.resolve import Loaded
from tests.unit.spec.conftest import Folder

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def shared() -> Iterator[Folder]:
    with tempfile.TemporaryDirectory() as name:
        yield Folder(Path(name).resolve())


def judged(loaded: Loaded) -> None:
    assert (loaded.spec is None) == bool(loaded.problems)
    for line in (*map(str, loaded.problems), *loaded.notes, *as_text(loaded)):
        assert line.isprintable()
    json.dumps(as_json(loaded))


@FUZZ
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
@pytest.mark.parametrize("name", ["d.yml", "d.toml"])
def test_any_bytes(shared: Folder, name: str, data: bytes) -> None:
    judged(shared.load(name, data))


PIECES = st.sampled_from(
    ["a", "settings", "model", ":", ": ", "\n", "\n  ", "- ", "[", "]", "{", "}", ",", "&x", "*x", "<<", "!!str ", "'",
     '"', "|", ">", "#", "\t", "~", "---\n", "...", "%YAML 1.1\n",
     "?", "=", " = ", ".", "'''", '"""', "1", "\\", "\u2028"]
)  # fmt: skip


@FUZZ
@given(pieces=st.lists(PIECES, max_size=40))
@pytest.mark.parametrize("name", ["d.yml", "d.toml"])
def test_almost_files(shared: Folder, name: str, pieces: list[str]) -> None:
    judged(shared.load(name, "".join(pieces)))


SCALARS = st.sampled_from(
    ["", "~", "5", "-1", "3%", "2m", "on", "code", "score.py", "model", "azureml:m:1", "a b", "\x1b"]
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3), max_leaves=6
)
AZURE_KEYS = st.sampled_from(
    sorted(
        {
            *(key.split(".")[0] for key in IGNORED),
            *METADATA,
            *STRANGERS,
            *(setting.azure.split(".")[0] for setting in SETTINGS if setting.azure),
            *("settings", "code_configuration", "model", "environment_variables", "retry_settings", "name"),
        }
    )
)
BELOW = st.sampled_from(
    ["code", "scoring_script", "path", "type", "max_retries", "timeout", "mini_batch_size", "conda_file"]
)


@FUZZ
@given(tree=st.dictionaries(AZURE_KEYS, VALUES | st.dictionaries(BELOW, VALUES, max_size=4), max_size=6))
def test_any_deployment(shared: Folder, tree: dict[str, object]) -> None:
    judged(shared.load("d.yml", json.dumps(tree)))  # JSON is YAML
    judged(shared.load("d.yml", json.dumps(tree), strict_azure=True))


BOUND = SCALARS | st.sampled_from(
    ["${{inputs.a}}", "${{ outputs.a }}", "$[[--a ${{inputs.b}}]]", "${{parent.x}}", "mltable", "uri_file", "in/a.csv",
     "--error_threshold 2.5", "--error_threshold ${{inputs.a}}", "--rank_mini_batch_count 9", "--nice", "'", "10kb"]
)  # fmt: skip
SIDE = st.dictionaries(
    st.sampled_from("abc"),
    BOUND | st.dictionaries(st.sampled_from(["type", "path", "default", "mode", "x"]), BOUND | VALUES, max_size=3),
    max_size=3,
)
TASK = st.dictionaries(st.sampled_from([*TASK_KEYS, "x"]), BOUND | VALUES, max_size=7)


@FUZZ
@given(
    tree=st.dictionaries(
        st.sampled_from(sorted({*KNOWN, "x"} - {"type", "task", "inputs", "outputs"})), BOUND | VALUES, max_size=5
    ),
    sides=st.fixed_dictionaries({"inputs": SIDE | VALUES, "outputs": SIDE | VALUES, "task": TASK | VALUES}),
    sets=st.lists(st.builds("{}={}".format, st.sampled_from(["inputs.a.path", "task.code"]), BOUND), max_size=2),
)
def test_any_parallel_job(shared: Folder, tree: dict[str, object], sides: dict[str, object], sets: list[str]) -> None:
    judged(shared.load("p.yml", json.dumps({"type": "parallel", **sides, **tree}), sets=tuple(sets)))


@pytest.mark.parametrize("text", ["${{ ", "$[[", "${{inputs.a", "x", "'", "9.9"])
def test_long_arguments_are_judged_at_once(shared: Folder, text: str) -> None:
    """A quadratic search would take minutes for these: the time limit of the tests is the judge."""
    for length in (60_000, 900_000):
        job = {"type": "parallel", "task": {"program_arguments": text * (length // len(text))}}
        judged(shared.load("p.yml", json.dumps(job)))


def toml(value: object) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value)


@FUZZ
@given(tree=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_native_spec(shared: Folder, tree: dict[str, object]) -> None:
    judged(shared.load("d.toml", "".join(f"{key} = {toml(value)}\n" for key, value in tree.items())))


@FUZZ
@given(
    flags=st.dictionaries(st.sampled_from([setting.field for setting in SETTINGS]), st.text(max_size=9) | SCALARS),
    environ=st.dictionaries(
        st.sampled_from([setting.variable for setting in SETTINGS if setting.flag]), st.text(max_size=9)
    ),
    sets=st.lists(st.text(max_size=12) | st.builds("{}={}".format, st.sampled_from(KEYS), SCALARS), max_size=3),
)
def test_any_flags_variables_and_sets(
    shared: Folder, flags: dict[str, str], environ: dict[str, str], sets: list[str]
) -> None:
    judged(shared.load("score.py", flags=flags, environ=environ, sets=tuple(sets)))
