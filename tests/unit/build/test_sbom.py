"""build/sbom.py: CycloneDX that others can read, with every file under its origin, and the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.build.scene import Scene, system_library


@pytest.fixture
def full(scene: Scene) -> Scene:
    """One component of each kind."""
    blas = "numpy.libs/libscipy_openblas64_-1.so"
    core = "numpy/core.so"
    texts = {"LICENSE": "Ours. Bundled: OpenBLAS."}
    headers = (
        "License-Expression: BSD-3-Clause AND MIT\nRequires-Dist: plain>=1\nRequires-Dist: pytest; extra == 'test'\n"
    )
    scene.package("numpy", texts=texts, files={blas: "elf", core: "elf"}, headers=headers)
    scene.package("worded", texts={"LICENSE": "x"}, headers="License: free for all (mostly), see below\n")
    for name in (blas, core):
        scene.collect(f"_internal/{name}", scene.site / name)
    scene.collect("_internal/libssl.so.3", scene.compiled("openssl", "c") / "lib/libssl.so.3")
    scene.collect("_internal/libpython3.11.so.1.0", scene.base / "lib/libpython3.11.so.1.0")
    scene.collect("_internal/python3.11/lib-dynload/math.so", scene.base / "lib/python3.11/lib-dynload/math.so")
    if found := system_library():
        scene.collect(f"_internal/{found[0].name}", found[0])
    return scene


def bom_of(scene: Scene, *flags: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(scene.result("sbom.py", *flags))
    return found


def by_name(bom: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in bom["components"]}


def references(part: Any) -> list[str]:
    """Every bom-ref, however deep."""
    if isinstance(part, list):
        return [ref for each in part for ref in references(each)]
    if isinstance(part, dict):
        own = [part["bom-ref"]] if "bom-ref" in part else []
        return own + [ref for each in part.values() for ref in references(each)]
    return []


def test_the_official_schema(full: Scene) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json", reason="no cyclonedx-python-lib here")
    schema = pytest.importorskip("cyclonedx.schema")
    pytest.importorskip("jsonschema", reason="no cyclonedx-python-lib[json-validation] here")
    text = full.result("sbom.py")
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"library"', '"thing"')) is not None, "a validator that finds nothing"


def test_what_each_component_says(full: Scene) -> None:
    bom = bom_of(full)
    found = by_name(bom)
    about = bom["metadata"]["component"]
    assert (about["name"], about["type"], about["version"]) == ("batchctl", "application", "0.1.0")
    assert bom["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    numpy = found["numpy"]
    assert (numpy["purl"], numpy["type"]) == ("pkg:pypi/numpy@1.0", "library")
    assert numpy["licenses"] == [{"expression": "BSD-3-Clause AND MIT"}]
    assert found["worded"]["licenses"] == [{"license": {"name": "free for all (mostly), see below"}}]
    assert found["CPython"]["type"] == "platform"
    assert found["openssl"]["purl"] == "pkg:deb/debian/openssl@3.0-1?arch=source"
    assert found["zstd"]["version"] == "1.5.7"
    assert {part["name"] for part in numpy["components"]} == {"OpenBLAS", "_internal/numpy/core.so"}


def test_every_collected_file_is_in_it_once(full: Scene) -> None:
    files = re.findall(r'"name": "(_internal/[^"]+)"', full.result("sbom.py"))
    assert sorted(files) == sorted(each["name"] for each in full.collected)


def test_references_are_unique_and_resolve(full: Scene) -> None:
    bom = bom_of(full)
    known = references([bom["metadata"], bom["components"]])
    assert len(known) == len(set(known))
    used = {ref for edge in bom["dependencies"] for ref in (edge["ref"], *edge["dependsOn"])}
    assert used <= set(known)
    edges = {edge["ref"]: edge["dependsOn"] for edge in bom["dependencies"]}
    assert edges["pkg:pypi/numpy@1.0"] == ["pkg:pypi/plain@1.0"]
    assert len(edges["pkg:generic/batchctl@0.1.0"]) == len(bom["components"])


def test_a_library_of_the_system(full: Scene) -> None:
    library = system_library()
    if library is None:
        pytest.skip("no library here that dpkg knows")
    path, package = library
    found = by_name(bom_of(full))[package]
    assert re.fullmatch(
        rf"pkg:deb/\w+/{re.escape(package)}@[A-Za-z0-9.~%-]+\?arch=\w+(&distro=[\w.-]+)?", found["purl"]
    )
    (file,) = found["components"]
    assert file["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}]


def test_files_are_hashed_as_they_are_shipped(full: Scene) -> None:
    tree = full.folder / "tree/batchctl"
    for each in full.collected:
        (tree / each["name"]).parent.mkdir(parents=True, exist_ok=True)
        (tree / each["name"]).write_text("stripped")
    wanted = hashlib.sha256(b"stripped").hexdigest()
    (file,) = by_name(bom_of(full))["openssl"]["components"]
    assert file["hashes"][0]["content"] == wanted
    (tree / "_internal/libssl.so.3").unlink()
    ran = full.run("sbom.py")
    assert ran.returncode == 1
    assert "has no _internal/libssl.so.3" in ran.stderr


def test_the_same_inputs_give_the_same_bytes(full: Scene, tmp_path: Path) -> None:
    first = full.result("sbom.py")
    assert full.result("sbom.py", backwards=True) == first
    assert str(tmp_path) not in first


def test_the_serial_number_follows_the_content(full: Scene) -> None:
    first = bom_of(full)["serialNumber"]
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first)
    full.package("newcomer", texts={"LICENSE": "x"})
    assert bom_of(full)["serialNumber"] != first


def test_a_package_is_known_by_what_its_wheel_brought(full: Scene) -> None:
    """What pip adds when it installs does not count; a file that is another one does."""
    about = full.site / "plain-1.0.dist-info"
    first = by_name(bom_of(full))["plain"]["properties"]
    record = about / "RECORD"
    record.write_text(record.read_text() + f"{about.name}/REQUESTED,sha256=y,0\nplain/__pycache__/a.pyc,,\n")
    assert by_name(bom_of(full))["plain"]["properties"] == first
    record.write_text(record.read_text() + "plain/more.py,sha256=z,1\n")
    assert by_name(bom_of(full))["plain"]["properties"] != first


@pytest.mark.parametrize(
    ("flags", "epoch", "said"),
    [
        pytest.param((), None, "SOURCE_DATE_EPOCH must be set", id="no date"),
        pytest.param((), "today", "SOURCE_DATE_EPOCH must be set", id="a date in words"),
        pytest.param(("--version", "9.9"), "1700000000", "--version 9.9", id="another version"),
    ],
)
def test_refused(full: Scene, flags: tuple[str, ...], epoch: str | None, said: str) -> None:
    ran = full.run("sbom.py", *flags, epoch=epoch)
    assert (ran.returncode, full.out.exists()) == (1, False)
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
