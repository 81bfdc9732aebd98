"""Which Python runs the script: asked for, an active environment, our own."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from batchctl import frozen
from batchctl.engine.interpreter import choose_interpreter
from batchctl.errors import UsageError


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Environments, a lone executable, a name on PATH; and a working folder of ours."""
    for name in ("venv", "conda", "only-python"):
        (tmp_path / name / "bin").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for path in ("venv/bin/python3", "venv/bin/python", "conda/bin/python3", "only-python/bin/python", "mypython"):
        (tmp_path / path).symlink_to(sys.executable)
    (tmp_path / "plain").write_text("not executable")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "venv" / "bin"))
    return tmp_path


# name: (requested, environment; @ is the folder) -> (path, reason), or None where it is refused
CHOICES = {
    "nothing at all": (None, {}, (sys.executable, "own Python")),
    "an empty request": ("", {}, (sys.executable, "own Python")),
    "an executable": ("@/mypython", {}, ("@/mypython", "asked for (--python)")),
    "a relative one": ("mypython", {}, ("@/mypython", "asked for")),
    "a relative one, dotted": ("./venv/bin/python", {}, ("@/venv/bin/python", "asked for")),
    "an environment": ("@/venv", {}, ("@/venv/bin/python3", "asked for")),
    "an environment without python3": ("@/only-python", {}, ("@/only-python/bin/python", "asked for")),
    "a relative environment": ("conda", {}, ("@/conda/bin/python3", "asked for")),
    "a name on PATH": ("python3", {}, ("@/venv/bin/python3", "asked for")),
    "asked for beats active": ("mypython", {"VIRTUAL_ENV": "@/venv"}, ("@/mypython", "asked for")),
    "active virtual environment": (None, {"VIRTUAL_ENV": "@/venv"}, ("@/venv/bin/python3", "VIRTUAL_ENV")),
    "active conda environment": (None, {"CONDA_PREFIX": "@/conda"}, ("@/conda/bin/python3", "CONDA_PREFIX")),
    "both": (None, {"CONDA_PREFIX": "@/conda", "VIRTUAL_ENV": "@/venv"}, ("@/venv/bin/python3", "VIRTUAL_ENV")),
    "an active one that is gone": (None, {"VIRTUAL_ENV": "@/gone"}, (sys.executable, "own Python")),
    "gone, conda": (None, {"VIRTUAL_ENV": "@/gone", "CONDA_PREFIX": "@/conda"}, ("@/conda/bin/python3", "CONDA")),
    "no such file": ("@/nowhere", {}, None),
    "not executable": ("@/plain", {}, None),
    "an empty folder": ("@/empty", {}, None),
    "no such name": ("python9.9", {}, None),
    "the home of nobody": ("~nobody-of-this-name", {}, None),
    "in the home of nobody": ("~nobody-of-this-name/venv", {}, None),
    "an active one, in the home of nobody": (None, {"VIRTUAL_ENV": "~nobody-of-this-name"}, (sys.executable, "own")),
    "a name that is too long": ("@/" + "x" * 300, {}, None),
    "an active one whose name is too long": (None, {"VIRTUAL_ENV": "@/" + "x" * 300}, (sys.executable, "own Python")),
    "asked for is never replaced": ("@/nowhere", {"VIRTUAL_ENV": "@/venv"}, None),
}


@pytest.mark.parametrize("case", CHOICES)
def test_choice(places: Path, case: str) -> None:
    requested, environ, expected = CHOICES[case]

    def at(text: str) -> str:
        return text.replace("@", str(places))

    environ = {name: at(value) for name, value in environ.items()}
    requested = at(requested) if requested else requested
    if expected is None:
        with pytest.raises(UsageError) as refused:
            choose_interpreter(requested, environ, source="score.toml:3")
        assert repr(requested) in refused.value.message
        assert (refused.value.where, bool(refused.value.remedy)) == ("score.toml:3", True)
        return
    chosen = choose_interpreter(requested, environ)
    assert chosen.path == at(expected[0])  # symlinks are kept: a venv is known by the path it is called by
    assert expected[1] in chosen.reason


def test_an_environment_that_may_not_be_looked_at_is_not_there() -> None:
    with tempfile.TemporaryDirectory() as scratch:  # not pytest's folder, which is shut to others as a whole
        os.chmod(scratch, 0o755)
        locked = Path(scratch) / "locked"
        (locked / "venv" / "bin").mkdir(parents=True)
        (locked / "venv" / "bin" / "python3").symlink_to(sys.executable)
        locked.chmod(0)
        child = os.fork()
        if child == 0:  # root may look at everything, so the child gives root up
            said = "raised"
            try:
                if os.getuid() == 0:
                    os.setgid(65534)
                    os.setuid(65534)
                found = choose_interpreter(None, dict.fromkeys(("VIRTUAL_ENV", "CONDA_PREFIX"), str(locked / "venv")))
                said = "" if found.path == sys.executable else found.path
            finally:
                os.write(2, said.encode())
                os._exit(bool(said))
        status = os.waitpid(child, 0)[1]
        locked.chmod(0o755)
    assert status == 0


def test_the_packaged_file_is_its_own_python(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", str(places / "_internal"), raising=False)
    chosen = choose_interpreter(None, {})
    assert (chosen.path, chosen.arguments, chosen.embedded) == (sys.executable, (frozen.EMBEDDED,), True)
    assert sys.executable not in (chosen.shown, chosen.reason, chosen.lasting)
    for requested, environ in (("mypython", {}), (None, {"VIRTUAL_ENV": str(places / "venv")})):
        chosen = choose_interpreter(requested, environ)
        assert (chosen.arguments, chosen.embedded) == ((), False)
        assert chosen.shown == chosen.lasting == chosen.path


def test_the_home_folder(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(places))
    assert choose_interpreter("~/venv", {}).path == str(places / "venv" / "bin" / "python3")
