"""What the file and every ELF inside need of the machine's C library."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.binary.elf import Elf, read_elf
from tests.binary.packaged import Packaged, footer_of

FLOOR = (2, 30)
# The C library itself comes from the machine, always: a second one in the process would be the end of it.
OF_THE_MACHINE = ("libc.so.", "libm.so.", "libpthread.so.", "libdl.so.", "librt.so.", "libutil.so.", "ld-linux")
ALSO_OF_THE_MACHINE = ("libresolv.so.", "libnsl.so.", "libcrypt.so.")


def parts(tree: Path) -> dict[str, Elf]:
    found = {str(path.relative_to(tree)): read_elf(path) for path in sorted(tree.rglob("*")) if path.is_file()}
    return {name: elf for name, elf in found.items() if elf is not None}


def test_the_launcher_is_static(packaged_file: Path, tmp_path: Path) -> None:
    launcher = tmp_path / "launcher"
    launcher.write_bytes(packaged_file.read_bytes()[: footer_of(packaged_file).offset])
    found = read_elf(launcher)
    assert found is not None
    assert (found.interpreter, found.needed, found.versions) == (False, (), frozenset())


def test_every_library_that_is_needed_is_inside_or_belongs_to_the_machine(warm: Packaged) -> None:
    elves = parts(warm.tree)
    assert len(elves) > 50
    inside = {Path(name).name for name in elves} | {path.name for path in warm.tree.rglob("*") if path.is_symlink()}
    machine = (*OF_THE_MACHINE, *ALSO_OF_THE_MACHINE)
    lacking = {
        (name, library)
        for name, elf in elves.items()
        for library in elf.needed
        if library not in inside and not library.startswith(machine)
    }
    assert lacking == set()


def test_no_part_brings_a_c_library(warm: Packaged) -> None:
    assert [name for name in parts(warm.tree) if Path(name).name.startswith(OF_THE_MACHINE)] == []


def test_the_newest_glibc_symbol_of_any_part(warm: Packaged) -> None:
    needed = {name: elf.glibc for name, elf in parts(warm.tree).items()}
    newest = max(needed.values())
    above = sorted(f"{name}: {'.'.join(map(str, version))}" for name, version in needed.items() if version > FLOOR)
    if os.environ.get("BATCHCTL_BINARY_RELEASE", "") in ("", "0") and newest > FLOOR:
        pytest.skip(f"a developers' build, needs glibc {'.'.join(map(str, newest))}: the release's is checked")
    assert above == []
