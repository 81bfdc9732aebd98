"""The file was built on one distribution and runs on another: its libraries are its own, and its children have theirs.

What is tested depends on the machine: a file that was built here cannot show the fault of a leaking library path, which
`test_the_children_would_break` says aloud. BATCHCTL_ROOTS names root folders of other distributions, by colons; the
root of the release build is one where it is there. docs/building.md tells how to make more.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.binary.packaged import REPO, Packaged
from tests.binary.scoring import Scoring
from tests.guest.driver import interpreters

# Each broke, or had the means to, when a prototype's library path reached it.
TOOLS = [
    ["gdb", "--version"],
    ["apt-cache", "--version"],
    ["sqlite3", "--version"],
    ["git", "--version"],
    ["curl", "--version"],
    ["openssl", "version"],
    ["xz", "--version"],
    ["gcc", "--version"],
    ["cmake", "--version"],
]
HERE = [tool for tool in TOOLS if shutil.which(tool[0], path="/usr/bin:/bin")]
LIBRARIES = "import bz2, ctypes, hashlib, lzma, sqlite3, ssl, zlib; sqlite3.connect(':memory:').execute('select 1')"
SYSTEM = {"system": "/usr/bin/python3"} if Path("/usr/bin/python3").exists() else {}
PYTHONS = {**SYSTEM, **interpreters()}
# In the worker itself, in a Python that it starts, in the tools that it starts. Modules that an interpreter never had
# are not our doing: it is asked by itself first.
BODY = f"""
    import os, subprocess, sys

    def answer():
        here = None
        try:
            exec({LIBRARIES!r}, {{}})
        except Exception as error:
            here = repr(error)
        calls = [["/usr/bin/env", "python3", "-c", {LIBRARIES!r}], *{HERE!r}]
        broken = []
        for call in calls:
            done = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if done.returncode:
                broken.append([call[0], done.stderr.decode(errors="replace")])
        return {{"here": here, "broken": broken, "path": os.environ.get("LD_LIBRARY_PATH")}}
"""
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def works(python: str) -> bool:
    """Has this interpreter, by itself, the modules that are asked for?"""
    return subprocess.run([python, "-c", LIBRARIES], env=ENVIRONMENT, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", PYTHONS)
def test_children_have_the_libraries_of_this_machine(scoring: Scoring, name: str) -> None:
    python = PYTHONS[name]
    if not works(python):
        pytest.skip(f"{python} lacks sqlite3, ssl or another of the modules even by itself")
    said = scoring.ask(BODY, "--python", python, env=ENVIRONMENT)
    assert said == {"here": None, "broken": [], "path": None}


def test_children_of_the_embedded_interpreter_too(scoring: Scoring) -> None:
    assert scoring.ask(BODY, env=ENVIRONMENT) == {"here": None, "broken": [], "path": None}


def test_the_children_would_break(warm: Packaged) -> None:
    """The tests above can fail here: with the tree on the loader's path, some program of this machine does not work."""
    leaking = {**ENVIRONMENT, "LD_LIBRARY_PATH": str(warm.tree / "_internal")}
    calls = [["/usr/bin/python3", "-c", LIBRARIES], *HERE]
    broken = [
        call[0]
        for call in calls
        if shutil.which(call[0]) and subprocess.run(call, env=leaking, capture_output=True, check=False).returncode != 0
    ]
    if not broken:
        pytest.skip("this file was built on a distribution like this one: a leak would break nothing here")


SCORES = """
import numpy, pandas, pyarrow, sqlite3, ssl

def run(mini_batch):
    return pandas.DataFrame({"n": [numpy.float64(1.5)], "ssl": [ssl.OPENSSL_VERSION_INFO[0]]})
"""


def named_roots() -> list[Path]:
    """Root folders of other distributions that this machine has."""
    named = [Path(name) for name in os.environ.get("BATCHCTL_ROOTS", "").split(":") if name]
    release = REPO / ".build" / "release" / "root"
    return [*named, *([release] if (release / "stamp").exists() and release not in named else [])]


def inside(root: Path, place: Path, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """A command in the root, with /proc, in namespaces of its own, in an empty environment; `place` is its /mnt."""
    steps = 'mount --bind "$1" "$2/mnt" && shift && exec chroot "$1" /usr/bin/env -i HOME=/root "${@:2}"'
    own = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", f"--mount-proc={root}/proc"]
    return subprocess.run(
        [*own, "/bin/bash", "-c", steps, "inside", str(place), str(root), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.mark.parametrize("root", named_roots() or [None], ids=lambda root: root.name if root else "none")
def test_it_runs_in_a_root_of_another_distribution(packaged_file: Path, tmp_path: Path, root: Path | None) -> None:
    if root is None:
        pytest.skip("no root of another distribution (BATCHCTL_ROOTS, or make release)")
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no right to make namespaces here")
    shutil.copy(packaged_file, tmp_path / "batchctl")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one.txt").write_text("1", encoding="utf-8")
    (tmp_path / "score.py").write_text(SCORES, encoding="utf-8")
    said = inside(root, tmp_path, ["/mnt/batchctl", "--version"])
    if "GLIBC_" in said.stderr and os.environ.get("BATCHCTL_BINARY_RELEASE", "") in ("", "0"):
        pytest.skip(f"a developers' build, too new for {root.name}: the release file is what has to run there")
    assert (said.returncode, said.stderr) == (0, ""), said
    words = ["/mnt/batchctl", "run", "/mnt/score.py", "/mnt/in", "-o", "/mnt/out", "--workers", "1", "-q"]
    ran = inside(root, tmp_path, [*words, "--output-format", "jsonl"])
    assert ran.returncode == 0, ran
    rows = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert rows == [{"n": 1.5, "ssl": 3}]
