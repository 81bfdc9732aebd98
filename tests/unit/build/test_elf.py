from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import elf
import gate
import pytest
import strip

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")


def test_the_running_interpreter_wants_a_glibc() -> None:
    found = elf.read(Path(sys.executable).resolve())
    assert found.interpreter.startswith("/lib")
    assert "libc.so.6" in found.needed
    assert (2, 2, 5) <= found.glibc < (3,)
    assert not found.is_static


@needs_gcc
@pytest.mark.parametrize(
    ("options", "static"),
    [
        pytest.param(["-static"], True, id="static"),
        pytest.param(["-static-pie"], True, id="static-pie"),
        pytest.param([], False, id="dynamic"),
        pytest.param(["-s"], False, id="dynamic, stripped"),
    ],
)
def test_a_launcher_must_be_static(tmp_path: Path, options: list[str], static: bool) -> None:
    source = tmp_path / "x.c"
    source.write_text('#include <stdio.h>\nint main(void) { return puts("") < 0; }\n')
    subprocess.run(["gcc", *options, "-o", tmp_path / "x", source], check=True)
    assert elf.read(tmp_path / "x").is_static is static
    assert bool(gate.launcher(tmp_path / "x")) is not static


@needs_gcc
def test_a_file_that_wants_too_new_a_glibc_is_named(tmp_path: Path) -> None:
    source = tmp_path / "x.c"
    source.write_text('#include <stdio.h>\nint main(void) { return puts("") < 0; }\n')
    subprocess.run(["gcc", "-shared", "-Wl,-soname,libx.so.1", "-o", tmp_path / "x.so", source], check=True)
    (tmp_path / "text").write_text("no ELF")
    files = [tmp_path / "x.so", tmp_path / "text"]
    newest, complaints = gate.glibc(files, (2, 1))
    assert newest >= (2, 2, 5)
    assert [line.split(": wants GLIBC_2.")[0] for line in complaints] == [str(tmp_path / "x.so")]
    assert gate.glibc(files, None) == (newest, [])
    assert elf.read(tmp_path / "x.so").soname == "libx.so.1"


@needs_gcc
@pytest.mark.parametrize("tags", ["--enable-new-dtags", "--disable-new-dtags"])
def test_library_folders_of_the_build_machine_are_taken_out(tmp_path: Path, tags: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / "x.c").write_text(
        "#include <math.h>\n#include <stdlib.h>\nint main(int c, char **v) { return (int)floor(atof(v[c - 1])); }\n"
    )
    for name, folder in {"absolute": "/opt/anybody", "beside": "$ORIGIN/lib", "none": ""}.items():
        options = [f"-Wl,{tags},-rpath,{folder}"] if folder else []
        subprocess.run(["gcc", "-O0", *options, "-o", tree / name, tmp_path / "x.c", "-lm"], check=True)
    before = (tree / "beside").read_bytes()
    assert len(gate.folders(sorted(tree.iterdir()))) == 1
    assert strip.forget_folders(tree) == ["absolute"]
    assert gate.folders(sorted(tree.iterdir())) == []
    assert (elf.read(tree / "absolute").search, elf.read(tree / "beside").search) == ((), ("$ORIGIN/lib",))
    assert (tree / "beside").read_bytes() == before
    assert subprocess.run([tree / "absolute", "7.5"], check=False).returncode == 7


@pytest.mark.parametrize("length", [3, 20, 63, 64, 500])
def test_a_file_cut_short_is_an_error(tmp_path: Path, length: int) -> None:
    (tmp_path / "x").write_bytes(Path(sys.executable).resolve().read_bytes()[:length])
    with pytest.raises(ValueError, match="ELF"):
        elf.read(tmp_path / "x")
