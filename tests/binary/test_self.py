"""`batchctl self`: what the file says of itself."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from batchctl.executable.manifest import digest_of
from tests.binary.packaged import Packaged, footer_of, parse_manifest, trees

REPO = Path(__file__).resolve().parents[2]


def test_info_tells_where_everything_is(warm: Packaged) -> None:
    said = json.loads(warm.run("self", "info", "--json").expect(0).stdout)
    footer = footer_of(warm.path)
    assert (said["packaged"], said["build_id"]) == (True, footer.build_id)
    assert (said["executable"], said["executable_bytes"]) == (str(warm.path), warm.path.stat().st_size)
    assert (said["tree"], said["tree_files"]) == (str(warm.tree), footer.entries)
    text = warm.run("self", "info").expect(0).stdout
    assert all(word in text for word in (footer.build_id, str(warm.path), str(warm.tree), said["python"]))


def test_info_names_the_packages_of_the_lock_and_no_others(warm: Packaged) -> None:
    said = json.loads(warm.run("self", "info", "--packages", "--json").expect(0).stdout)["packages"]
    lock = (REPO / "requirements.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^\s;]+)", lock, flags=re.MULTILINE))
    assert {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in said.items()} == locked
    text = warm.run("self", "info", "--packages").expect(0).stdout
    assert all(f"{name} {version}" in text for name, version in said.items())


def test_what_is_said_of_packages_is_what_imports(warm: Packaged) -> None:
    said = json.loads(warm.run("self", "info", "--packages", "--json").expect(0).stdout)["packages"]
    code = "import numpy, pandas, pyarrow; print(numpy.__version__, pandas.__version__, pyarrow.__version__)"
    found = warm.run("--batchctl-embedded-python", "-c", code).expect(0).stdout.split()
    assert found == [said[name] for name in ("numpy", "pandas", "pyarrow")]


def test_a_machine_without_gpus_is_told_of_no_driver(warm: Packaged) -> None:
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has an NVIDIA driver")
    notes = json.loads(warm.run("probe", "--json").expect(0).stdout)["node"]["notes"]
    assert [note for note in notes if "NVIDIA" in note] == []


def test_verify_reads_every_byte(warm: Packaged) -> None:
    said = json.loads(warm.run("self", "verify", "--json").expect(0).stdout)
    assert (said["sound"], said["problems"]) == (True, [])
    assert (said["executable"], said["tree"]) == (str(warm.path), str(warm.tree))


@pytest.mark.parametrize("place", ["launcher", "payload", "footer"])
def test_verify_finds_one_byte_of_another_file(warm: Packaged, tmp_path: Path, place: str) -> None:
    copy = tmp_path / "copy"
    shutil.copy2(warm.path, copy)
    footer = footer_of(copy)
    offset = {"launcher": footer.offset // 2, "payload": footer.offset + footer.length // 2, "footer": -100}[place]
    with copy.open("r+b") as file:
        file.seek(offset, 2 if offset < 0 else 0)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    ran = warm.run("self", "verify", copy)
    assert ran.code == 70, ran
    assert str(copy) in ran.stdout + ran.stderr


def test_licences_and_the_bill_of_materials_are_inside(warm: Packaged) -> None:
    licences = warm.run("self", "licenses").expect(0).stdout
    for name in ("pandas", "numpy", "pyarrow", "psutil", "tomli", "PyYAML", "rich", "nvidia-ml-py", "OpenSSL", "zstd"):
        assert name.lower() in licences.lower(), name
    for words in ("Apache License", "Permission is hereby granted", "PYTHON SOFTWARE FOUNDATION LICENSE"):
        assert words.lower() in licences.lower(), words
    bill = json.loads(warm.run("self", "licenses", "--sbom").expect(0).stdout)
    assert bill["bomFormat"] == "CycloneDX"
    named = {component["name"].lower() for component in bill["components"]}
    assert {"pandas", "numpy", "pyarrow", "tomli"} <= named


def test_clean_removes_other_builds_and_keeps_its_own(cold: Packaged) -> None:
    cold.run("--version").expect(0)
    manifest = b"batchctl-tree 1 0.0.1\n"
    old = cold.cache / f"0.0.1-{digest_of(manifest)[:16]}"
    old.mkdir()
    (old / "MANIFEST").write_bytes(manifest)
    half = cold.cache / ".tmp-99999-0123456789abcdef"
    half.mkdir()
    cold.run("self", "clean", "--dry-run").expect(0)
    assert (old.exists(), half.exists()) == (True, True)
    cold.run("self", "clean").expect(0)
    assert trees(cold.cache) == [cold.tree.name]
    cold.run("self", "clean", "--all").expect(0)
    assert trees(cold.cache) == []
    cold.run("--version").expect(0)


def test_the_manifest_holds_the_licences(warm: Packaged) -> None:
    paths = [entry.path for entry in parse_manifest((warm.tree / "MANIFEST").read_text(encoding="ascii"))]
    assert any("licen" in path.lower() for path in paths), "licence texts travel inside"
    assert any("sbom" in path.lower() or "cdx" in path.lower() for path in paths)
