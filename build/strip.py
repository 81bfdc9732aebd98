"""Symbols that nothing needs at run time are taken out, file by file, and so are library folders of the build machine.

Symbols only of files where that is known to work: the interpreter's library and extensions, and pyarrow's libraries.
numpy's own libraries are left alone: they no longer load when stripped (the tool that made the wheel moved their
segments).
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import elf

_STRIPPED = re.compile(r"_internal/(libpython[^/]*|python[0-9.]+/lib-dynload/[^/]+|pyarrow/[^/]+)\.so(\.[0-9.]+)?")


def wanted(path: str) -> bool:
    """Whether this file of the tree is stripped."""
    return bool(_STRIPPED.fullmatch(path))


def strip(tree: Path, *, tool: str = "strip") -> int:
    """Strip in place; the bytes saved. Raises CalledProcessError where the tool fails."""
    files = sorted(path for path in tree.rglob("*.so*") if path.is_file() and not path.is_symlink())
    files = [path for path in files if wanted(path.relative_to(tree).as_posix()) and elf.is_elf(path)]
    before = sum(path.stat().st_size for path in files)
    for path in files:
        subprocess.run(
            [tool, "--strip-unneeded", "--preserve-dates", "--enable-deterministic-archives", path], check=True
        )
    return before - sum(path.stat().st_size for path in files)


def forget_folders(tree: Path) -> list[str]:
    """Take absolute library folders out of the ELF files, in place; the paths of the files that had any.

    An interpreter names the folder that it was installed in, and the loader looks there for libm before it asks the
    system: on another machine that folder may be anybody's. What is meant relative to the file ($ORIGIN) is kept.
    """
    changed = []
    for path in sorted(tree.rglob("*")):
        if path.is_symlink() or not path.is_file() or not elf.is_elf(path):
            continue
        search = elf.read(path).search
        if not any(part.startswith("/") for part in search):
            continue
        if any(part.startswith("$ORIGIN") for part in search):
            raise ValueError(
                f"{path}: looks for libraries both beside itself and in {search}; nothing here can mend that"
            )
        path.write_bytes(elf.without_search(path.read_bytes()))
        changed.append(path.relative_to(tree).as_posix())
    return changed
