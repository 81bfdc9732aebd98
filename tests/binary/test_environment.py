"""What children are given: the caller's own environment and descriptors, and nothing of the packaged file's."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.binary.packaged import Packaged
from tests.binary.scoring import Scoring

LOOKS = """
    import os, subprocess, sys

    def environ_of(pid):
        with open("/proc/%s/environ" % pid, "rb") as file:
            text = file.read().decode()
        return dict(part.split("=", 1) for part in text.split("\\0") if part)

    def open_files(pid):
        folder = "/proc/%s/fd" % pid
        found = {}
        for number in os.listdir(folder):
            try:
                found[number] = os.readlink(folder + "/" + number)
            except OSError:
                pass
        return found

    def answer():
        child = subprocess.run(["env", "-0"], capture_output=True, check=True).stdout.decode()
        files = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, check=True, close_fds=False).stdout
        return {
            "worker": dict(os.environ),
            "worker at its start": environ_of("self"),
            "fork server": environ_of(os.getppid()),
            "child": dict(part.split("=", 1) for part in child.split("\\0") if part),
            "worker's files": open_files("self"),
            "child's files": [line.rpartition(" -> ")[2] for line in files.decode().splitlines() if " -> " in line],
            "executable": sys.executable,
        }
"""
OURS = ("_PYI_", "_MEIPASS", "PYINSTALLER_", "_BATCHCTL_", "LD_LIBRARY_PATH_ORIG", "PYTHONHOME")

PYTHONS = [
    pytest.param((), id="embedded"),
    pytest.param(("--python", sys.executable), id="the user's"),
]


def seen_by(python: tuple[str, ...]) -> tuple[str, ...]:
    """Whose environments are to be clean. What /proc shows of a process is what it was started with: where that is the
    boot loader of our own Python, its variables are there for good, whatever os.environ holds by now."""
    return ("worker", "child", "fork server", "worker at its start") if python else ("worker", "child")


def tree_in(where: dict[str, str], tree: Path) -> list[str]:
    """Names of variables that lead into the tree."""
    return [name for name, value in where.items() if str(tree) in value]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("given", "found"),
    [
        pytest.param(None, None, id="unset"),
        pytest.param("/opt/cuda/lib64:/opt/x", "/opt/cuda/lib64:/opt/x", id="the user's own"),
        # To the loader an empty one is none, and PyInstaller's boot loader passes it on as none.
        pytest.param("", "", id="empty"),
        pytest.param("/a:/a::/b/", "/a:/a::/b/", id="odd, and left as it is"),
    ],
)
def test_the_library_path_is_the_callers(
    scoring: Scoring, python: tuple[str, ...], given: str | None, found: str | None
) -> None:
    said = scoring.ask(LOOKS, *python, env={"LD_LIBRARY_PATH": given})
    who = seen_by(python)
    assert {each: said[each].get("LD_LIBRARY_PATH") or found for each in who} == dict.fromkeys(who, found)
    assert not tree_in(said["child"], scoring.packaged.tree)


@pytest.mark.parametrize("python", PYTHONS)
def test_nothing_of_ours_is_in_any_environment(scoring: Scoring, python: tuple[str, ...]) -> None:
    said = scoring.ask(LOOKS, *python, env={"MARK": "the user's", "PYTHONPATH": "/nowhere"})
    for who in seen_by(python):
        where = said[who]
        assert [name for name in where if name.startswith(OURS)] == [], who
        assert tree_in(where, scoring.packaged.tree) == [], who
        assert (where["MARK"], where["PYTHONPATH"]) == ("the user's", "/nowhere"), who


def test_a_users_interpreter_never_saw_the_tree(scoring: Scoring) -> None:
    said = scoring.ask(LOOKS, "--python", sys.executable)
    at_start = said["worker at its start"]
    assert [name for name in at_start if name.startswith(OURS)] == []
    assert tree_in(at_start, scoring.packaged.tree) == []
    assert at_start.get("LD_LIBRARY_PATH") is None
    opened = said["worker's files"].values()
    assert [path for path in opened if str(scoring.packaged.cache) in path] == [], "the lock is not for workers"


@pytest.mark.parametrize("python", PYTHONS)
def test_a_child_of_the_script_inherits_no_descriptor(scoring: Scoring, python: tuple[str, ...]) -> None:
    said = scoring.ask(LOOKS, *python)
    files: list[str] = said["child's files"]
    beyond = [path for path in files if not path.startswith(("/dev/null", "pipe:", "/proc/"))]
    # `ls` opens the folder that it lists; beyond that there are 0, 1 and 2.
    assert beyond == [path for path in beyond if path.endswith((".log", ".txt"))], files
    assert len(files) <= 4, files


def test_sys_executable_of_the_users_interpreter_is_the_users(scoring: Scoring) -> None:
    assert scoring.ask(LOOKS, "--python", sys.executable)["executable"] == sys.executable


@pytest.fixture
def hostile(warm: Packaged) -> Iterator[dict[str, str | None]]:
    """A caller's environment that imitates what the packaged file uses itself."""
    yield {
        "_BATCHCTL_LAUNCHER": "0 /etc/passwd",
        "_PYI_ARCHIVE_FILE": "/etc/passwd",
        "_PYI_APPLICATION_HOME_DIR": "/nowhere",
        "_PYI_PARENT_PROCESS_LEVEL": "1",
        "_MEIPASS2": "/nowhere",
        "LD_LIBRARY_PATH_ORIG": "/somewhere",
        "PYTHONHOME": "/nowhere",
        "PYTHONPATH": "/nowhere",
        "PYTHONSTARTUP": "/nowhere",
        "PYTHONINSPECT": "1",
        "PYTHONOPTIMIZE": "2",
    }


def test_variables_that_imitate_ours_do_no_harm(warm: Packaged, hostile: dict[str, str | None]) -> None:
    plain = warm.run("--version").expect(0)
    said = warm.run("--version", env=hostile).expect(0)
    assert (said.stdout, said.stderr) == (plain.stdout, plain.stderr)
    info = warm.run("self", "info", "--json", env=hostile).expect(0)
    assert str(warm.path) in info.stdout


def test_a_scoring_run_with_such_variables(scoring: Scoring, hostile: dict[str, str | None]) -> None:
    said: Any = scoring.ask(LOOKS, env=hostile)
    left = [name for name in said["child"] if name.startswith(OURS)]
    assert left == []


def test_other_programs_work_as_children(scoring: Scoring) -> None:
    """Each would load our older libraries if the loader's path leaked."""
    programs = [name for name in ("git", "curl", "openssl", "python3", "bash", "xz", "zstd") if shutil.which(name)]
    (scoring.folder / "programs").write_text("\n".join(programs))
    failed = scoring.ask(
        """
        import subprocess, os

        def answer():
            names = open(os.path.join(os.path.dirname(__file__), "programs")).read().split()
            calls = [[name, "version" if name == "openssl" else "--version"] for name in names]
            calls.append(["/usr/bin/env", "python3", "-c", "import sqlite3, ssl, lzma, bz2, ctypes"])
            found = []
            for call in calls:
                done = subprocess.run(call, capture_output=True, text=True)
                if done.returncode:
                    found.append([call, done.stderr])
            return found
    """,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert failed == []
