"""What a build must satisfy before it may be delivered. Each gate returns complaints, in words; none means passed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import elf
import pack
import packages
import starting
import stdlib

MIB = 1 << 20
SIZE, SIZE_QUICK = 60 * MIB, 72 * MIB  # packed: at level 19 and above; at the quick levels of developers and CI
UNPACKED, FILES = 190_000_000, 220
_FEWEST_AT_A_START = 100
_INSTALLER = {"pip"}  # what `python -m venv` brings; the spec excludes it


def environment(lock: Path, site: Path) -> list[str]:
    """The build environment holds the lock's packages in the lock's versions, and nothing else."""
    wanted = packages.locked(lock)
    found = {name: each.version for name, each in packages.installed(site).items() if name not in _INSTALLER}
    different = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    return [
        f"{name}: {found.get(name, 'nothing')} is installed, {wanted.get(name, 'nothing')} is locked"
        for name in different
    ]


def size(file: Path, *, level: int) -> list[str]:
    figures, _ = pack.footer(file.read_bytes())
    ceiling = SIZE if level >= pack.LEVEL else SIZE_QUICK
    checks = [
        ("bytes of the file", file.stat().st_size, ceiling),
        ("bytes unpacked", figures.unpacked, UNPACKED),
        ("files in the tree", figures.entries, FILES),
    ]
    return [f"{what}: {value:,}, and {bound:,} is the most" for what, value, bound in checks if value > bound]


def launcher(file: Path) -> list[str]:
    """A static program runs wherever the kernel does, and nobody's LD_LIBRARY_PATH changes what it is."""
    found = elf.read(file)
    asked = ", ".join(filter(None, [found.interpreter, *found.needed]))
    return [] if found.is_static else [f"the launcher is not static; it asks for {asked}"]


def glibc(files: list[Path], most: tuple[int, ...] | None) -> tuple[tuple[int, ...], list[str]]:
    """The newest glibc version that any ELF file wants, and the files that want a newer one than `most`."""
    wants = {file: elf.read(file).glibc for file in files if not file.is_symlink() and elf.is_elf(file)}
    over = [file for file, version in wants.items() if most is not None and version > most]
    text = ".".join(map(str, most or ()))
    complaints = [
        f"{file}: wants GLIBC_{'.'.join(map(str, wants[file]))}, and {text} is the most" for file in sorted(over)
    ]
    return max(wants.values(), default=()), complaints


def folders(files: list[Path]) -> list[str]:
    """No ELF file makes the loader look for libraries in a folder of the build machine, or in the current one."""
    found = {file: elf.read(file).search for file in files if not file.is_symlink() and elf.is_elf(file)}
    return [
        f"{file}: looks for libraries in {part or 'the current folder'}"
        for file, search in found.items()
        for part in search
        if not part.startswith("$ORIGIN")
    ]


def same(file: Path, tree: Path) -> list[str]:
    """The packed file, read back, holds the tree's very bytes. Raises ValueError where it cannot be read."""
    _, _, files = pack.contents(file.read_bytes())
    there = {
        path.relative_to(tree).as_posix(): path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()
    }
    names = sorted(files.keys() ^ there.keys())
    changed = sorted(name for name in files.keys() & there.keys() if files[name] != there[name].read_bytes())
    return [f"{name}: not in both, the file and the tree" for name in names] + [
        f"{name}: other bytes" for name in changed
    ]


def modules(tree: Path) -> list[str]:
    """Every module of the standard library that belongs inside is inside."""
    inside = set(frozen(tree)) | {name for name, _ in _in_archive(tree / "_internal" / "base_library.zip")}
    inside |= {packages.dotted(path.name) for path in tree.rglob("lib-dynload/*.so")}
    missing = [name for name in stdlib.modules() if name not in inside and name not in stdlib.built_in()]
    return [f"{name}: a module of the standard library that is not inside" for name in missing]


def stored(tree: Path, root: Path) -> list[str]:
    """What a start imports need not be inflated for it."""
    from PyInstaller.archive.readers import CArchiveReader

    archive = CArchiveReader(str(tree / "batchctl")).open_embedded_archive("PYZ.pyz")
    wanted = starting.modules(root) & archive.toc.keys()
    compressed = [name for name in wanted if archive.toc[name][2] < len(archive.extract(name, raw=True) or b"")]
    if len(wanted) < _FEWEST_AT_A_START:
        compressed.append(f"only {len(wanted)} modules")
    return [f"{name}: of what a start imports, and compressed" for name in sorted(compressed)]


def frozen(tree: Path) -> dict[str, bytes]:
    """Code of the modules in the program file (PyInstaller's PYZ), by dotted name."""
    from PyInstaller.archive.readers import CArchiveReader

    program = CArchiveReader(str(tree / "batchctl"))
    archive = program.open_embedded_archive("PYZ.pyz")
    boot = {name: program.extract(name) for name, entry in program.toc.items() if entry[-1] in "mM"}  # struct is there
    return boot | {name: archive.extract(name, raw=True) or b"" for name in archive.toc}


def _in_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        for name in archive.namelist():
            yield name.removesuffix(".pyc").removesuffix("/__init__").replace("/", "."), archive.read(name)


def paths(tree: Path, places: list[Path]) -> list[str]:
    """Folders of the machine that built the tree and that it names, which would make two checkouts differ."""
    needles = [str(place).encode() for place in places]
    found = []
    for name, data in _everything(tree):
        found += [f"{name}: names {needle.decode()}" for needle in needles if needle in data]
    return found


def _everything(tree: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(tree).as_posix(), path.read_bytes()
    for name, code in frozen(tree).items():
        yield f"module {name}", code
    for name, code in _in_archive(tree / "_internal" / "base_library.zip"):
        yield f"module {name}", code
