from __future__ import annotations

from pathlib import Path

import pytest

from batchctl.cli.recorded import recorded_job
from batchctl.errors import UsageError
from batchctl.run.document import RecordedRequest


def request(*words: str) -> RecordedRequest:
    return RecordedRequest(("batchctl", "run", *words), "/work")


@pytest.mark.parametrize(
    ("words", "given", "expected"),
    [
        pytest.param(("--timeout", "5"), {}, {"timeout": "5"}, id="recorded"),
        pytest.param(("--timeout", "5"), {"timeout": "9"}, {"timeout": "9"}, id="typed again"),
        pytest.param((), {"workers": "3"}, {"workers": "3"}, id="new"),
        pytest.param(("--no-isolate",), {}, {"isolate": False}, id="switch"),
        pytest.param(("--no-isolate",), {"isolate": True}, {"isolate": True}, id="switched back"),
        pytest.param(("--env", "A=***"), {"environment": ["A=1"]}, {"environment": ["A=1"]}, id="masked, given again"),
        pytest.param(("--include", "*.a"), {"include": ["*.b"]}, {"include": ["*.a", "*.b"]}, id="repeatable"),
        pytest.param(
            ("--fresh", "--json", "-q"), {}, {"json": False, "quiet": False}, id="how it was told is not kept"
        ),
        pytest.param((), {"json": True}, {"json": True}, id="how it is told now"),
    ],
)
def test_settings_are_those_of_the_run_and_what_is_typed_now(
    words: tuple[str, ...], given: dict[str, object], expected: dict[str, object]
) -> None:
    found = vars(recorded_job(request("s.py", "in", "-o", "out", *words), given, out="/elsewhere"))
    assert {name: found[name] for name in expected} == expected
    assert (found["spec"], found["out"]) == ("s.py", "/elsewhere")


def test_paths_typed_now_are_meant_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    begun = request("s.py", "in", "-o", "out", "--model", "m1", "--python", "env/bin/python")
    for given, expected in (
        ({}, ("m1", "env/bin/python")),
        ({"model": "m2", "python": "python3.9"}, (f"{tmp_path}/m2", "python3.9")),
        ({"model": "/m3", "python": "new/bin/python"}, ("/m3", f"{tmp_path}/new/bin/python")),
    ):
        found = recorded_job(begun, given, out="out")
        assert (found.model, found.python) == expected


def test_out_says_where_the_state_is_unless_it_is_typed_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    begun = request("s.py", "in", "-o", "out", "--state-dir", "begun", "--hint", "earlier", "--accept-storage")
    found = vars(recorded_job(begun, {}, out="out"))
    assert "state_dir" not in found
    assert (found["hint"], found["accept_storage"]) == ("earlier", True)
    found = vars(recorded_job(begun, {"state_dir": "moved", "hint": "other"}, out="out"))
    assert (found["state_dir"], found["hint"]) == (f"{tmp_path}/moved", f"{tmp_path}/other")


def test_inputs_become_absolute() -> None:
    found = recorded_job(request("s.py", "-o", "out", "in", "/a/*.png", "@list", "-"), {}, out="out")
    assert found.inputs == ["/work/in", "/a/*.png", "@/work/list", "-"]


@pytest.mark.parametrize(
    "words",
    [("--env", "A=***"), ("--env=A=***",), ("--set", "env.A=***"), ("--env", "A=***", "--env", "B=***")],
    ids=" ".join,
)
def test_a_value_that_is_not_recorded_must_be_given_again(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        recorded_job(request("s.py", "in", "-o", "out", *words), {"environment": ["B=2"]}, out="out")
    assert "A=..." in caught.value.message
    assert "B=..." not in caught.value.message
    assert "batchctl retry OUT" in caught.value.remedy


def test_a_command_line_of_another_version_is_an_error_not_an_exit() -> None:
    with pytest.raises(UsageError):
        recorded_job(request("s.py", "-o", "out", "--no-such-flag"), {}, out="out")
