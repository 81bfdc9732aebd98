"""Scripts in batchctl's own Python: what is inside is theirs, what is outside never gets in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.binary.packaged import Packaged
from tests.binary.scoring import Scoring

EMBEDDED = "--batchctl-embedded-python"


def decoy(folder: Path) -> Path:
    """A folder of packages that must not be seen: a numpy that is none, and a package of its own."""
    for name, text in {"numpy": "__version__ = '0.0.decoy'\n", "decoy": "here = True\n"}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(text)
    return folder


IMPORTS = """
    import sys

    def answer():
        import numpy
        try:
            import decoy
            found = True
        except ImportError:
            found = False
        return {"numpy": numpy.__version__, "decoy": found, "path": sys.path, "prefix": sys.prefix}
"""


def test_a_script_needs_nothing_but_the_file(scoring: Scoring) -> None:
    found = scoring.ask("import sys\n\ndef answer():\n    return [sys.version_info[0], sys.prefix]\n", env={"PATH": ""})
    assert found[0] == 3
    assert found[1].startswith(str(scoring.packaged.tree))


def test_pythonpath_is_not_mixed_in(scoring: Scoring, tmp_path: Path) -> None:
    found = scoring.ask(IMPORTS, env={"PYTHONPATH": str(decoy(tmp_path / "packages"))})
    assert found["numpy"] != "0.0.decoy"
    assert found["decoy"] is False
    assert str(tmp_path / "packages") not in found["path"]


def test_a_users_site_folder_is_not_mixed_in(scoring: Scoring) -> None:
    home = scoring.packaged.home
    minor = ".".join(map(str, sys.version_info[:2]))
    decoy(home / ".local" / "lib" / f"python{minor}" / "site-packages")
    found = scoring.ask(IMPORTS)
    assert (found["decoy"], found["numpy"] != "0.0.decoy") == (False, True)


def test_the_current_folder_is_not_mixed_in(scoring: Scoring, tmp_path: Path) -> None:
    """Only the script's folder is the script's; whoever starts a job in /tmp must not load what lies there."""
    decoy(scoring.folder / "elsewhere")
    scoring.script("def run(mini_batch):\n    import numpy\n    return [numpy.__version__]\n")
    scoring.items({"one.txt": "1"})
    job = scoring.folder
    words = ("run", job / "score.py", job / "in", "-o", job / "out", "--workers", "1", "-q")
    scoring.packaged.run(*words, cwd=job / "elsewhere").expect(0)
    assert "decoy" not in (job / "out" / "predictions.csv").read_text()


def test_modules_beside_the_script_are_the_scripts(scoring: Scoring) -> None:
    (scoring.folder / "beside.py").write_text("value = 42\n")
    assert scoring.ask("import beside\n\ndef answer():\n    return beside.value\n") == 42


def fake_environment(folder: Path) -> Path:
    """An environment's folder: a Python to start, and packages that belong to it alone."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    minor = ".".join(map(str, sys.version_info[:2]))
    decoy(folder / "lib" / f"python{minor}" / "site-packages")
    return folder


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_an_active_environment_is_used_as_itself_and_not_mixed(scoring: Scoring, tmp_path: Path, variable: str) -> None:
    place = fake_environment(tmp_path / "env")
    found = scoring.ask(IMPORTS, env={variable: str(place)})
    assert (found["numpy"], found["decoy"], found["prefix"]) == ("0.0.decoy", True, str(place))


def test_an_active_environment_that_is_gone_is_not_mixed_in(scoring: Scoring, tmp_path: Path) -> None:
    found = scoring.ask(IMPORTS, env={"VIRTUAL_ENV": str(tmp_path / "gone")})
    assert found["prefix"].startswith(str(scoring.packaged.tree))


def test_the_script_may_lie_above_the_cache(scoring: Scoring) -> None:
    """As one in the home folder does: what is bundled is then below the script's folder and yet none of its modules."""
    above = scoring.packaged.cache.parent / "score_above.py"
    above.write_text("import numpy, pandas\n\ndef run(mini_batch):\n    return list(mini_batch)\n", encoding="utf-8")
    scoring.items({"one.txt": "1"})
    try:
        scoring.packaged.run("run", above, "in", "-o", "out", "-q", cwd=scoring.folder).expect(0)
    finally:
        above.unlink()


@pytest.mark.parametrize("where", ["import torch_that_is_not_inside", "def f():\n    import torch_that_is_not_inside"])
def test_a_missing_import_is_told_before_anything_runs(scoring: Scoring, where: str) -> None:
    scoring.script(where + "\n\ndef run(mini_batch):\n    return list(mini_batch)\n")
    scoring.items({"one.txt": "1"})
    ran = scoring.run().expect(2, "torch_that_is_not_inside", "--python", "self info --packages")
    assert str(scoring.packaged.tree) not in ran.stderr, "a path that says nothing to the user"
    assert not (scoring.folder / "out").exists()


def test_check_names_the_embedded_interpreter(scoring: Scoring) -> None:
    scoring.script("def run(mini_batch):\n    return list(mini_batch)\n")
    ran = scoring.packaged.run("check", "score.py", cwd=scoring.folder).expect(0)
    assert "batchctl's own Python" in ran.stdout
    assert str(scoring.packaged.tree) not in ran.stdout


def test_a_run_is_resumed_by_another_copy_of_the_file(scoring: Scoring, tmp_path: Path) -> None:
    """Where the tree lies is no part of what a run remembers."""
    scoring.script("def run(mini_batch):\n    return list(mini_batch)\n")
    scoring.items({"one.txt": "1"})
    scoring.run().expect(0)
    text = "".join(
        path.read_text(errors="replace") for path in (scoring.folder / "out").rglob("*.json") if path.is_file()
    )
    assert str(scoring.packaged.tree) not in text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["-c", "print(1 + 1)"], 0, "2\n", id="-c"),
        pytest.param(
            ["-c", "import sys; print(sys.argv)", "a", "-b"], 0, "['-c', 'a', '-b']\n", id="-c with arguments"
        ),
        pytest.param(["-c", "raise SystemExit(7)"], 7, "", id="SystemExit"),
        pytest.param(["-c", "import sys; sys.exit('words')"], 1, "", id="SystemExit with words"),
        pytest.param(["-c", "1/0"], 1, "", id="an exception"),
        pytest.param(["-c", "import os; os._exit(9)"], 9, "", id="os._exit"),
        pytest.param(["-c", "import os; os.abort()"], -6, "", id="abort"),
        pytest.param(["-c", "assert False"], 1, "", id="assert"),
        pytest.param(["/nowhere.py"], 2, "", id="no such file"),
        pytest.param(["-m", "calendar", "2024", "1"], 0, "January 2024", id="-m"),
        pytest.param(["-c", "print(__name__, __debug__)"], 0, "__main__ True\n", id="__main__"),
        pytest.param(["-V"], 0, "Python 3.", id="-V"),
    ],
)
def test_it_is_a_python_interpreter(warm: Packaged, arguments: list[str], code: int, said: str) -> None:
    ran = warm.run(EMBEDDED, *arguments)
    assert ran.code == code, ran
    assert said in ran.stdout, ran


def test_a_script_by_its_file_and_a_zip(warm: Packaged, tmp_path: Path) -> None:
    import zipfile

    text = "import sys, __main__; print(__name__, sys.argv[1:], __main__.__file__)\n"
    (tmp_path / "a.py").write_text(text)
    with zipfile.ZipFile(tmp_path / "a.pyz", "w") as archive:
        archive.writestr("__main__.py", text)
    os.mkdir(tmp_path / "a")
    (tmp_path / "a" / "__main__.py").write_text(text)
    for name in ("a.py", "a.pyz", "a"):
        ran = warm.run(EMBEDDED, name, "x", cwd=tmp_path).expect(0)
        assert ran.stdout.startswith("__main__ ['x'] "), ran
