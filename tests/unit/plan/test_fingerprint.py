"""What a resume may not change, and how the difference is said."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from batchctl.errors import UsageError
from batchctl.plan import manifest
from batchctl.plan.fingerprint import Fingerprint, FingerprintRequest, differences, take_fingerprint
from tests.unit.plan.trees import grow


@pytest.fixture
def request_(tmp_path: Path) -> FingerprintRequest:
    grow(tmp_path / "code", "score.py", "helper.py", "pkg/mod.py", "__pycache__/x.pyc", ".git/HEAD", "old.pyc")
    grow(tmp_path / "model", "weights.bin", "sub/conf", content=b"w")
    return FingerprintRequest(
        script=tmp_path / "code" / "score.py",
        code=tmp_path / "code",
        model=tmp_path / "model",
        environment={"THRESHOLD": "0.5", "TOKEN": "secret-value"},
        fields={"mini_batch_size": 10, "include": ("*.png",), "order": "plan"},
        interpreter={"python": "3.11.7", "pandas": "2.2.0"},
        inputs=("in",),
    )


def write(path: str, content: str = "changed") -> Callable[[FingerprintRequest, Path], FingerprintRequest]:
    def change(request: FingerprintRequest, root: Path) -> FingerprintRequest:
        grow(root, path, content=content.encode())
        return request

    return change


def asked(**new: object) -> Callable[[FingerprintRequest, Path], FingerprintRequest]:
    return lambda request, root: request._replace(**new)  # type: ignore[arg-type]


def removed(request: FingerprintRequest, root: Path) -> FingerprintRequest:
    (root / "code" / "helper.py").unlink()
    return request


def touched(request: FingerprintRequest, root: Path) -> FingerprintRequest:
    for path in (root / "code" / "score.py", root / "model" / "weights.bin"):
        os.utime(path, ns=(1, 1))
    return request


CASES: dict[str, tuple[Callable[[FingerprintRequest, Path], FingerprintRequest], list[str]]] = {
    "nothing": (asked(), []),
    "times alone": (touched, []),
    "caches": (write("code/__pycache__/y.pyc"), []),
    "git": (write("code/.git/index"), []),
    "script": (write("code/score.py"), ["score.py changed (sha256 e3b0c442.. -> d67e2e94..)"]),
    "helper": (write("code/pkg/mod.py"), ["code/pkg/mod.py changed"]),
    "helper added": (write("code/new.py"), ["code/new.py added"]),
    "helper removed": (removed, ["code/helper.py removed"]),
    "model": (write("model/weights.bin"), ["model/weights.bin changed"]),
    "field": (
        asked(fields={"mini_batch_size": 20, "include": ("*.png",), "order": "plan"}),
        ["mini_batch_size 10 -> 20"],
    ),
    "filters": (
        asked(fields={"mini_batch_size": 10, "include": ("*.jpg",), "order": "plan"}),
        ["include ['*.png'] -> ['*.jpg']"],
    ),
    "environment": (
        asked(environment={"THRESHOLD": "0.7", "NEW": "1"}),
        [
            "environment variable NEW added",
            "environment variable THRESHOLD changed",
            "environment variable TOKEN removed",
        ],
    ),
    "interpreter": (
        asked(interpreter={"python": "3.11.7", "pandas": ""}),
        ["interpreter: pandas 2.2.0 -> (none)"],
    ),
    "inputs": (
        asked(inputs=("in", "more")),
        ["inputs: in -> in more (accepted or not, the planned files are read where they were)"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_differences(request_: FingerprintRequest, tmp_path: Path, case: str) -> None:
    change, expected = CASES[case]
    before = take_fingerprint(request_)
    # Through JSON, as a resume meets it.
    before = Fingerprint.from_dict(json.loads(json.dumps(before.to_dict())))
    after = take_fingerprint(change(request_, tmp_path), old=before)
    assert list(differences(before, after)) == expected


def test_values_are_never_recorded(request_: FingerprintRequest) -> None:
    first, second = take_fingerprint(request_), take_fingerprint(request_)
    text = json.dumps(first.to_dict())
    assert "secret-value" not in text
    assert "0.5" not in text
    assert first.environment != second.environment  # another salt
    assert [d.path for d in first.code] == ["helper.py", "pkg/mod.py"]
    assert [d.path for d in first.model] == ["sub/conf", "weights.bin"]


def test_unchanged_files_are_not_read_again(request_: FingerprintRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    before = take_fingerprint(request_)
    read: list[str] = []
    monkeypatch.setattr(manifest, "_sha256", lambda path: read.append(path) or "0" * 64)
    assert take_fingerprint(request_, old=before) == before
    assert read == []


def test_model_may_be_a_file_or_absent(request_: FingerprintRequest, tmp_path: Path) -> None:
    file = tmp_path / "model" / "weights.bin"
    found = take_fingerprint(request_._replace(model=file))
    assert [d.path for d in found.model] == ["weights.bin"]
    assert take_fingerprint(request_._replace(model=None)).model == ()
    with pytest.raises(UsageError, match="No such file"):
        take_fingerprint(request_._replace(model=tmp_path / "none"))


def test_out_input_and_model_within_code_are_not_code(request_: FingerprintRequest, tmp_path: Path) -> None:
    code = grow(tmp_path / "code", "out/predictions.csv", "data/1.png", "model/w")
    skip = (code / "out", code / "data")
    found = take_fingerprint(request_._replace(model=code / "model", skip=skip))
    assert [d.path for d in found.code] == ["helper.py", "pkg/mod.py"]


def test_a_script_among_its_inputs(request_: FingerprintRequest, tmp_path: Path) -> None:
    code = grow(tmp_path / "code", "1.png", "data/2.png")
    found = take_fingerprint(request_._replace(skip=(code,)))
    assert [d.path for d in found.code] == ["helper.py", "pkg/mod.py"]


MODULES = ("score.py", "helper.py", "pkg/__init__.py", "pkg/mod.py", "pkg/sub/__init__.py", "pkg/sub/deep.py")
NO_MODULES = ("notes.txt", "data/1.png", "data/tool.py", "pkg/table.csv", "pkg/data/x.py", ".git/__init__.py")


def test_modules_only_lists_no_other_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = grow(tmp_path / "home", *MODULES, *NO_MODULES, "out/__init__.py", "out/rows.py")
    os.symlink("..", home / "pkg" / "loop")
    os.symlink(".", home / "pkg" / "round")
    os.symlink("circle.py", home / "circle.py")
    os.symlink("nowhere", home / "dangling")
    os.mkfifo(home / "pipe.py")
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(os.path.relpath(path, home)) or scandir(path))
    request = FingerprintRequest(home / "score.py", home, skip=(home / "out",), modules_only=True)
    found = take_fingerprint(request)
    assert [d.path for d in found.code] == sorted(set(MODULES) - {"score.py"})
    assert sorted(listed) == [".", "pkg", "pkg/sub"]
    among = take_fingerprint(request._replace(skip=(home / "out", home)))  # the folder is an INPUT too
    assert among.code == found.code


def test_modules_only_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot list folder"):
        take_fingerprint(FingerprintRequest(None, tmp_path / "none", modules_only=True))


def test_loops_and_odd_files_in_code(request_: FingerprintRequest, tmp_path: Path) -> None:
    code = grow(tmp_path / "code", b"\xff.txt")
    os.symlink(".", code / "loop")
    os.symlink("nowhere", code / "dangling")
    os.mkfifo(code / "pipe")
    found = take_fingerprint(request_)
    assert [d.path for d in found.code] == ["\\xff.txt", "helper.py", "pkg/mod.py"]
    json.dumps(found.to_dict(), ensure_ascii=False).encode()
