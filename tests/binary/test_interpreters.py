"""The packaged file runs scripts in the user's Python: every CPython here, with packages of the user's own."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.binary.packaged import FULL, REPO
from tests.binary.scoring import Scoring
from tests.guest.driver import interpreters

FOUND = interpreters()
# Environments take minutes to make and are kept: .build/ is scratch that `make clean` removes.
ENVIRONMENTS = REPO / ".build" / "user-environments"
WANTED = ("numpy", "pandas")
WITH_PACKAGES = 2
TELLS = """
    import sys

    def answer():
        return {
            "version": "%d.%d" % sys.version_info[:2],
            "executable": sys.executable,
            "prefix": sys.prefix,
            "modules": sorted(name for name in ("numpy", "pandas", "pyarrow") if name in sys.modules),
        }
"""
FRAMES = """
    import numpy
    import pandas

    def answer():
        frame = pandas.DataFrame({"x": numpy.arange(4.0)})
        found = numpy.linalg.solve(numpy.eye(4) * 2, frame["x"])
        return {
            "sum": float(found.sum()),
            "files": [numpy.__file__, pandas.__file__],
            "versions": [numpy.__version__, pandas.__version__],
        }
"""


def test_there_are_interpreters_of_several_minor_versions() -> None:
    if len(FOUND) < WITH_PACKAGES:
        pytest.skip(f"only {', '.join(FOUND) or 'no'} CPython on this machine")


@pytest.mark.parametrize("version", FOUND)
def test_a_script_runs_in_the_users_interpreter(scoring: Scoring, version: str) -> None:
    found = scoring.ask(TELLS, "--python", FOUND[version])
    assert (found["version"], found["executable"]) == (version, FOUND[version])
    assert not found["prefix"].startswith(str(scoring.packaged.tree))
    assert found["modules"] == []


@pytest.mark.parametrize("version", FOUND)
def test_check_tells_its_version(scoring: Scoring, version: str) -> None:
    scoring.script("def run(mini_batch):\n    return list(mini_batch)\n")
    ran = scoring.packaged.run("check", "score.py", "--python", FOUND[version], cwd=scoring.folder).expect(0)
    assert FOUND[version] in ran.stdout
    assert version + "." in ran.stdout


def environment(version: str) -> Path:
    """A virtual environment of that version with numpy and pandas, made once, by the long form of the suite.

    Skips where there is none yet and this is the short form, and where pip gets nothing.
    """
    folder = ENVIRONMENTS / version
    stamp, said = folder / ".made", ENVIRONMENTS / f"{version}.log"
    if not FULL and not stamp.exists():
        pytest.skip(f"no environment with {' and '.join(WANTED)} was made yet (make test-binary)")
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with (ENVIRONMENTS / f".{version}.lock").open("w") as lock, said.open("w") as log:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists():
            return folder
        subprocess.run([FOUND[version], "-m", "venv", "--clear", str(folder)], check=True, stdout=log, stderr=log)
        pip = [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "-q",
            "--prefer-binary",
            "--only-binary",
            ":all:",
        ]
        done = subprocess.run([*pip, *WANTED], stdout=log, stderr=log, check=False)
        if done.returncode == 0:
            stamp.touch()
            return folder
    pytest.skip(f"pip installs no {' and '.join(WANTED)} for Python {version} here")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("version", FOUND if FULL else [*FOUND][-WITH_PACKAGES:])
def test_packages_are_the_users_own(scoring: Scoring, version: str) -> None:
    place = environment(version)
    for flags, env in (
        (("--python", str(place / "bin" / "python")), {}),
        (("--python", str(place)), {}),
        ((), {"VIRTUAL_ENV": str(place)}),
    ):
        found = scoring.ask(FRAMES, *flags, env=env)
        assert found["sum"] == 3.0
        assert all(file.startswith(str(place)) for file in found["files"]), found
        ask = "import numpy, pandas; print(numpy.__version__, pandas.__version__)"
        alone = subprocess.check_output([str(place / "bin" / "python"), "-c", ask], text=True)
        assert found["versions"] == alone.split()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_data_frame_of_the_users_pandas_becomes_rows(scoring: Scoring) -> None:
    ours = ".".join(map(str, sys.version_info[:2]))
    other = next((each for each in reversed(FOUND) if each != ours), "")
    if not other:
        pytest.skip("no CPython of another minor version here")
    place = environment(other)
    scoring.script("import pandas as pd\n\ndef run(mini_batch):\n    return pd.DataFrame({'n': [1.5], 't': ['a,b']})\n")
    scoring.items({"one.txt": "1"})
    words = ("run", "score.py", "in", "-o", "out", "--python", str(place))
    scoring.packaged.run(*words, cwd=scoring.folder).expect(0)
    assert (scoring.folder / "out" / "predictions.csv").read_text() == 'n,t\n1.5,"a,b"\n'
