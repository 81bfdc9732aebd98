"""build/licences.py: every component has its texts, each text is there once, and nothing is listed by guess."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.build.scene import PERMISSION, REPOSITORY, Scene, system_library


def contents(text: str) -> str:
    """The table at the head."""
    return text.partition("=" * 20)[0]


def test_everything_inside_is_listed_with_its_text(scene: Scene) -> None:
    said = scene.result("licences.py")
    for line in (
        "  batchctl 0.1.0 (Apache-2.0) [1]",
        "  plain 1.0 ",
        "  pyinstaller 1.0 (GPL-2.0-or-later WITH Bootloader-exception) ",
        "  CPython 3.11.2 (PSF-2.0) ",
        "  zstd 1.5.7 (BSD-3-Clause OR GPL-2.0-only) ",
    ):
        assert line in contents(said)
    own = (REPOSITORY / "LICENSE").read_text().strip("\n").splitlines()
    assert "\n".join(line.rstrip() for line in own) in said
    for text in (PERMISSION, "The licence of an interpreter.", "The boot loader may be shipped.", "of a compressor."):
        assert said.count(text.strip()) == 1


def test_batchctl_comes_first(scene: Scene) -> None:
    said = scene.result("licences.py")
    assert said.index("[1] batchctl") < said.index("[2] ")


def test_a_text_that_two_share_is_printed_once_under_both_names(scene: Scene) -> None:
    scene.package("another", texts={"LICENSE": PERMISSION.replace("\n", "  \r\n")})
    said = scene.result("licences.py")
    assert said.count(PERMISSION.strip()) == 1
    heads = [
        line
        for line in said.splitlines()
        if line.endswith((" plain 1.0: licenses/LICENSE", " another 1.0: licenses/LICENSE"))
    ]
    assert len({head.partition(" ")[0] for head in heads}) == 1
    assert len(heads) == 2


def test_undeclared_texts_are_found_by_their_names(scene: Scene) -> None:
    about = scene.package("old", texts={})
    (about / "COPYING").write_text("As it was done before.\n")
    record = about / "RECORD"
    record.write_text(record.read_text() + f"{about.name}/COPYING,sha256=x,1\n")
    assert "As it was done before." in scene.result("licences.py")


def test_a_text_in_a_modules_head(scene: Scene) -> None:
    head = "#####\n# Copyright of somebody.\n#\n# Redistribution is permitted.\n#####\n\nimport os  # and code\n"
    scene.package("nvidia-ml-py", texts={}, files={"pynvml.py": head})
    said = scene.result("licences.py")
    assert "Copyright of somebody.\n\nRedistribution is permitted.\n" in said
    assert "and code" not in said


def test_foreign_libraries_of_a_wheel_are_listed_beside_it(scene: Scene) -> None:
    name = "numpy.libs/libscipy_openblas64_-1.so"
    scene.package("numpy", texts={"LICENSE": "Ours. Bundled: OpenBLAS.", "OTHER": "Others."}, files={name: "elf"})
    scene.collect(f"_internal/{name}", scene.site / name)
    table = contents(scene.result("licences.py"))
    ours, both = (
        next(line for line in table.splitlines() if line.startswith(f"  {head}"))
        for head in ("OpenBLAS in numpy", "numpy 1.0")
    )
    assert ours.startswith("  OpenBLAS in numpy (BSD-3-Clause) [")
    assert (ours.count("["), both.count("[")) == (1, 2)


def test_what_we_compiled_ourselves(scene: Scene) -> None:
    prefix = scene.compiled("openssl", "The licence of a cipher.\n")
    scene.collect("_internal/libssl.so.3", prefix / "lib/libssl.so.3")
    scene.collect("_internal/libcrypto.so.3", prefix / "lib/libcrypto.so.3")
    said = scene.result("licences.py")
    assert contents(said).count("openssl 3.0-1 (Apache-2.0)") == 1
    assert said.count("The licence of a cipher.") == 1


def test_an_interpreter_that_we_compiled_ourselves(scene: Scene) -> None:
    prefix = scene.compiled("python3.11", "The licence and what it incorporates.\n")
    (scene.env / "pyvenv.cfg").write_text(f"home = {prefix}/bin\nversion = 3.11.2\n")
    scene.collect("_internal/libpython3.11.so.1.0", prefix / "lib/libpython3.11.so.1.0")
    said = scene.result("licences.py")
    assert "The interpreter\n  python3.11 3.0-1 (PSF-2.0)" in contents(said) or "  python3.11 3.0-1 " in contents(said)
    assert "CPython" not in contents(said)


def test_a_library_of_the_system_and_the_licences_that_it_refers_to(scene: Scene) -> None:
    found = system_library()
    if found is None:
        pytest.skip("no library here that dpkg knows")
    if not Path("/usr/share/doc", found[1], "copyright").exists():
        pytest.skip("this system came without documentation")
    scene.collect(f"_internal/{found[0].name}", found[0])
    said = scene.result("licences.py")
    assert f"  {found[1]} " in contents(said)
    assert f"{found[1]}/copyright\n" in said
    # libc6-dev, which the launcher contains, refers to it.
    assert said.count("GNU LESSER GENERAL PUBLIC LICENSE\n                       Version 2.1") == 1


def test_the_order_of_the_list_does_not_matter(scene: Scene) -> None:
    prefix = scene.compiled("openssl", "The licence of a cipher.\n")
    for name in ("libssl.so.3", "libcrypto.so.3", "liba.so"):
        scene.collect(f"_internal/{name}", prefix / "lib" / name)
    assert scene.result("licences.py") == scene.result("licences.py", backwards=True)


def without_a_text(scene: Scene) -> str:
    scene.package("silent", texts={})
    return "no licence text found for silent"


def unowned(scene: Scene) -> str:
    scene.collect("_internal/stray.so", scene.folder / "stray.so")
    return "_internal/stray.so, from"


def in_no_record(scene: Scene) -> str:
    scene.collect("_internal/plain/extra.so", scene.site / "plain/extra.so")
    return "_internal/plain/extra.so, from"


def unknown_foreign(scene: Scene) -> str:
    scene.package("wheel-of-fortune", texts={"LICENSE": "x"}, files={"fortune.libs/libluck.so": "elf"})
    scene.collect("_internal/fortune.libs/libluck.so", scene.site / "fortune.libs/libluck.so")
    return "an unknown foreign library inside wheel-of-fortune"


def foreign_without_a_text(scene: Scene) -> str:
    scene.package("numpy", texts={"LICENSE": "Ours alone."}, files={"numpy.libs/libgfortran-1.so": "elf"})
    scene.collect("_internal/numpy.libs/libgfortran-1.so", scene.site / "numpy.libs/libgfortran-1.so")
    return "do not speak of libgfortran"


def not_installed(scene: Scene) -> str:
    scene.locked.append(f"absent==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    return "not installed in"


def no_compressor(scene: Scene) -> str:
    (scene.zstd / "LICENSE").unlink()
    return "name it with --zstd"


def no_interpreter_text(scene: Scene) -> str:
    (scene.env / "pyvenv.cfg").write_text(f"home = {scene.folder}/elsewhere/bin\nversion = 3.99.0\n")
    return "no licence text found for CPython"


@pytest.mark.parametrize("script", ["licences.py", "sbom.py"])
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(without_a_text, id="a package without a text"),
        pytest.param(unowned, id="a file that nobody owns"),
        pytest.param(in_no_record, id="a file that no package recorded"),
        pytest.param(unknown_foreign, id="an unknown library in a wheel"),
        pytest.param(foreign_without_a_text, id="a library whose wheel has no text of it"),
        pytest.param(not_installed, id="a locked package that is not installed"),
        pytest.param(no_compressor, id="no text of zstd"),
        pytest.param(no_interpreter_text, id="no text of the interpreter"),
    ],
)
def test_it_is_refused_and_named(scene: Scene, spoil: Callable[[Scene], str], script: str) -> None:
    expected = spoil(scene)
    ran = scene.run(script)
    assert (ran.returncode, scene.out.exists()) == (1, False)
    assert expected in ran.stderr
    assert "Traceback" not in ran.stderr


def test_leniency_is_for_libraries_of_the_system_only(scene: Scene) -> None:
    unowned(scene)
    assert "  stray.so" in contents(scene.result("licences.py", "--lenient"))
    without_a_text(scene)
    assert scene.run("licences.py", "--lenient").returncode == 1
