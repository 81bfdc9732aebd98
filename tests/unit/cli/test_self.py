"""`batchctl self`, in processes that take themselves for the packaged file, and from source."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from batchctl import frozen
from batchctl.cli.main import main
from batchctl.executable.manifest import digest_of
from tests.unit.executable.pretend import Pretend


@pytest.fixture
def pretend(tmp_path: Path) -> Pretend:
    return Pretend(tmp_path)


def told(pretend: Pretend, *argv: str, code: int = 0) -> dict[str, object]:
    ran = pretend.run("self", *argv, "--json")
    assert ran.returncode == code, ran.stderr
    found = json.loads(ran.stdout)
    assert isinstance(found, dict)
    return found


def other_tree(pretend: Pretend, version: str) -> Path:
    """Of another build: 22 bytes."""
    manifest = f"batchctl-tree 1 {version}\n".encode()
    path = pretend.root / f"{version}-{digest_of(manifest)[:16]}"
    path.mkdir()
    (path / "MANIFEST").write_bytes(manifest)
    return path


# --- info -------------------------------------------------------------------------------------------------------------


def test_info(pretend: Pretend) -> None:
    old = other_tree(pretend, "0.0.9")
    ran = pretend.run("self", "info", "--packages")
    assert (ran.returncode, ran.stderr) == (0, "")
    for words in (
        "build 0.1.0-",
        str(pretend.executable),
        str(pretend.tree),
        "libc         2.30",
        "numpy 2.0",
        "1 tree, 22 B",
    ):
        assert words in ran.stdout
    assert "numpy" not in pretend.run("self", "info").stdout
    found = told(pretend, "info")
    assert (found["packaged"], found["packages"], found["build"]) == (True, {"numpy": "2.0"}, {"libc": "2.30"})
    assert found["other_trees"] == [str(old)]


def test_info_when_the_executable_was_removed_meanwhile(pretend: Pretend) -> None:
    pretend.executable.unlink()
    assert "(gone)" in pretend.run("self", "info").stdout
    assert told(pretend, "info")["executable_bytes"] is None


def test_info_of_a_damaged_build(pretend: Pretend) -> None:
    (pretend.tree / "_internal" / "batchctl" / "build.json").unlink()
    ran = pretend.run("self", "info")
    assert ran.returncode == 70
    assert "build.json" in ran.stderr
    assert "fix: batchctl self clean --all" in ran.stderr


# --- verify -----------------------------------------------------------------------------------------------------------


def test_verify(pretend: Pretend) -> None:
    assert told(pretend, "verify") == {
        "sound": True,
        "executable": str(pretend.executable),
        "tree": str(pretend.tree),
        "problems": [],
        "fix": "",
    }
    ran = pretend.run("self", "verify")
    assert [line.endswith("sound: every byte is what was built") for line in ran.stdout.splitlines()] == [True, True]
    # Started from the tree there is no file around it.
    assert pretend.run("self", "verify", launched=False).stdout.splitlines() == [ran.stdout.splitlines()[1]]


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


# name: (what is damaged, in whose words) ; the executable's parts, then the tree's
DAMAGED = {
    "launcher": (lambda p: flip(p.executable, 1), "batchctl: the launcher"),
    "payload": (lambda p: flip(p.executable, 20), "batchctl: the payload"),
    "footer": (lambda p: flip(p.executable, -1), "this is no batchctl executable"),
    "a file of the tree": (lambda p: flip(p.tree / "_internal" / "batchctl" / "sbom.cdx.json", 3), "json: has other"),
    "the guest is gone": (lambda p: (p.tree / "_internal" / "batchctl" / "guest.pyz").unlink(), "guest.pyz: no such"),
    "a file that does not belong": (lambda p: (p.tree / "_internal" / "x.py").touch(), "x.py: is not part of it"),
    "the manifest is gone": (lambda p: (p.tree / "MANIFEST").unlink(), "the manifest cannot be read"),
    "another build's manifest": (lambda p: flip(p.tree / "MANIFEST", 16), "is not the manifest of this executable"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_verify_names_each_damage_and_the_remedy(pretend: Pretend, case: str) -> None:
    damage, words = DAMAGED[case]
    damage(pretend)
    ran = pretend.run("self", "verify")
    assert (ran.returncode, ran.stderr) == (70, "")
    assert "damaged: 1 problem" in ran.stdout
    assert words in ran.stdout
    assert "fix: batchctl self clean --all, then run it again" in ran.stdout
    found = told(pretend, "verify", code=70)
    assert (found["sound"], len(found["problems"])) == (False, 1)  # type: ignore[arg-type]


def test_verify_of_another_file(pretend: Pretend, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(pretend.executable.read_bytes())
    assert main(["self", "verify", str(copy)]) == 0
    copy.write_bytes(copy.read_bytes()[:-10])
    assert main(["self", "verify", str(copy)]) == 70
    assert "fix: copy the file again" in capsys.readouterr().out
    assert main(["self", "verify", str(tmp_path / "nowhere")]) == 2
    assert pretend.run("self", "verify", str(copy)).returncode == 70


# --- clean ------------------------------------------------------------------------------------------------------------


def test_clean_removes_other_trees_and_half_ones(pretend: Pretend) -> None:
    old, half = other_tree(pretend, "0.0.9"), pretend.root / ".tmp-1-0123456789abcdef"
    (half / "lib").mkdir(parents=True)
    stranger = pretend.root / "notes"
    stranger.mkdir()
    for argv in (("--dry-run",), ("--dry-run", "--all")):
        found = told(pretend, "clean", *argv)
        assert (found["dry_run"], len(found["removed"])) == (True, 2 + len(argv) - 1)  # type: ignore[arg-type]
        assert old.exists()
        assert half.exists()
        assert pretend.tree.exists()
    ran = pretend.run("self", "clean")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "removed 2 trees, 22 B" in ran.stdout
    assert ".tmp-1-0123456789abcdef (0 B, a half tree)" in ran.stdout
    assert sorted(path.name for path in pretend.root.iterdir()) == [".lock", pretend.tree.name, "notes"]
    assert "removed 0 trees" in pretend.run("self", "clean").stdout


def test_clean_leaves_a_users_own_folders(pretend: Pretend) -> None:
    """BATCHCTL_CACHE may name a folder where other things live; a Python project has a MANIFEST too."""
    for name in ("project", "0.0.9-0123456789abcdef", ".tmp-mine", ".tmp-old-7-short"):
        (pretend.root / name).mkdir()
        (pretend.root / name / "MANIFEST").write_text("batchctl-tree 1 0.0.9\n")
    before = sorted(pretend.root.rglob("*"))
    assert told(pretend, "clean")["removed"] == []
    assert sorted(pretend.root.rglob("*")) == sorted([*before, pretend.root / ".lock"])


def test_clean_all_removes_its_own_tree_when_that_is_damaged(pretend: Pretend) -> None:
    (pretend.tree / "MANIFEST").write_text("x")
    assert len(told(pretend, "clean", "--all")["removed"]) == 1  # type: ignore[arg-type]
    assert not pretend.tree.exists()


def test_clean_keeps_what_is_in_use(pretend: Pretend) -> None:
    other_tree(pretend, "0.0.9")
    code = "import sys; print('here', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        pretend.command(frozen.EMBEDDED, "-c", code), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "here\n"
        for argv in (("--all", "--dry-run"), ("--all",)):
            found = told(pretend, "clean", *argv)
            assert found["kept_in_use"] == [str(pretend.tree)]
        assert pretend.run("self", "verify").returncode == 0
        running.communicate()
    ran = pretend.run("self", "clean", "--all")
    assert ran.stdout.startswith(f"removed {pretend.tree}")
    assert [path.name for path in pretend.root.iterdir()] == [".lock"]


def test_clean_where_locks_are_unknown_removes_nothing(pretend: Pretend) -> None:
    old = other_tree(pretend, "0.0.9")
    ran = pretend.run("self", "clean", launched=False)
    assert ran.returncode == 2
    assert "remove the folder by hand" in ran.stderr
    assert old.exists()


# --- licenses, and from source ----------------------------------------------------------------------------------------


def test_licenses(pretend: Pretend) -> None:
    assert pretend.run("self", "licenses").stdout == "the licences\n"
    assert json.loads(pretend.run("self", "licenses", "--sbom").stdout) == {"bomFormat": "CycloneDX"}


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        pytest.param(["info"], 0, "runs from source", id="info"),
        pytest.param(["info", "--packages"], 0, "those that are installed in", id="packages"),
        pytest.param(["verify"], 2, "batchctl self verify FILE", id="verify"),
        pytest.param(["clean"], 2, "nothing is unpacked", id="clean"),
        pytest.param(["licenses"], 2, "is for the packaged file", id="licenses"),
        pytest.param([], 2, "ACTION", id="no action"),
        pytest.param(["destroy"], 2, "invalid choice", id="no such action"),
        pytest.param(["info", "--all"], 2, "--all does not go with `self info`", id="a flag of another action"),
        pytest.param(["clean", "--sbom"], 2, "--sbom does not go with `self clean`", id="--sbom with clean"),
        pytest.param(["clean", "x"], 2, "FILE does not go with `self clean`", id="a file with clean"),
        pytest.param(["info", "--dry-run"], 2, "--dry-run does not", id="--dry-run with info"),
    ],
)
def test_from_source(argv: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["self", *argv]) == code
    captured = capsys.readouterr()
    assert words in captured.out + captured.err


# --- batchctl's own Python --------------------------------------------------------------------------------------------


def test_a_job_in_the_embedded_python(pretend: Pretend, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        (tmp_path / "in" / name).touch()
    (tmp_path / "score.py").write_text(
        "import multiprocessing, os, sys\n"
        "def name(path):\n    return os.path.basename(path)\n"
        "def run(paths):\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n        return pool.map(name, paths)\n"
    )
    ran = pretend.run("run", "score.py", "in", "-o", "out", "--workers", "1")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out" / "predictions.csv").read_text() == "prediction\na\nb\n"
    # Another build with the same Python and libraries lies elsewhere, and must be able to resume.
    assert str(pretend.root) not in (tmp_path / "out" / ".batchctl" / "job.json").read_text()
    (tmp_path / "score.py").write_text("import torch\ndef run(paths):\n    return paths\n")
    for command in (("run", "-o", "other"), ("check",)):
        ran = pretend.run(command[0], "score.py", "in", *command[1:])
        assert ran.returncode == 2
        said = ran.stdout + ran.stderr
        assert "imports torch, which batchctl's own Python (embedded, 3." in said
        assert "--python" in said
        assert str(pretend.root) not in said


def test_a_missing_guest_is_damage(pretend: Pretend, tmp_path: Path) -> None:
    (pretend.tree / "_internal" / "batchctl" / "guest.pyz").unlink()
    (tmp_path / "score.py").write_text("def run(paths):\n    return paths\n")
    ran = pretend.run("run", "score.py", "score.py", "-o", "out")
    assert (ran.returncode, "guest.pyz" in ran.stderr, "self clean --all" in ran.stderr) == (70, True, True)
